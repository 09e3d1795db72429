"""Results of `benchmarks.contextual` as the section Contextual string embeddings of `benchmarks/README.md`.

    python -m benchmarks.contextual_report results/contextual.jsonl --readme benchmarks/README.md

Without `--readme` the table goes to stdout. A later line replaces an earlier one of the same recipe.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.contextual import PAIRS
from benchmarks.report import command, provenance
from benchmarks.tagging_report import merge, table

BEGIN, END = "<!-- contextual:begin -->", "<!-- contextual:end -->"
NOTE = (
    "From the exported int8 bundles, as `gatework evaluate` scores; recipes were chosen on dev, test was looked at "
    "once. With states the bundle holds the language model too. Words a second on one thread, from Python."
)

Record = dict[str, Any]


def scores(results: dict[tuple[str, str], Record]) -> list[str]:
    """A row for each recipe, the one with states below the one without."""
    head = ["set, %", "states", "dev", "test", "95 %", "MB", "training, min", "words/s, 32 a call", "one a call"]
    rows = []
    for pair in PAIRS:
        for name, states in ((pair.plain, "-"), (pair.contextual, pair.language_model.removesuffix(".gw"))):
            if (record := results.get(("gatework", name))) is None:
                continue
            ends, seconds = record["test"]["interval"], record.get("train_seconds")
            rows.append([
                pair.title, states, *(f"{100 * record[part]['value']:.2f}" for part in ("dev", "test")),
                "–".join(f"{100 * end:.2f}" for end in ends) if ends else "", f"{record['bytes'] / 1e6:.2f}",
                f"{seconds / 60:.1f}" if seconds is not None else "",
                *(f"{record[rate]:,.0f}" for rate in ("batch_rate", "single_rate")),
            ])  # fmt: skip
    return table(head, rows, left=2)


def render(results: dict[tuple[str, str], Record]) -> str:
    """The table and where its figures come from."""
    lines = [NOTE, "", *scores(results), "### Where the figures of contextual embeddings come from", ""]
    return "\n".join([*lines, *provenance(results)])


def main() -> int:
    return command(__doc__, merge, render, BEGIN, END)


if __name__ == "__main__":
    sys.exit(main())
