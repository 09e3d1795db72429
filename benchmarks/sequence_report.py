"""Results of sequence to sequence as the section Sequence to sequence of `benchmarks/README.md`.

    python -m benchmarks.sequence_report results/sequence.jsonl --readme benchmarks/README.md

Without `--readme` the tables go to stdout. A later line replaces an earlier one of the same system and set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.report import command, provenance
from benchmarks.sequence_sets import SETS, Figure, SequenceSet
from benchmarks.tagging_report import merge, table

BEGIN, END = "<!-- sequence:begin -->", "<!-- sequence:end -->"
OURS = "gatework"
TITLES = {
    "no-attention": "without attention",
    "no-copy": "without copying",
    "copy": "with copying",
    "transformer": "Transformer of about the size",
    "risk": "then minimum risk",
}
"""Of variants."""

Record = dict[str, Any]
Results = dict[tuple[str, str], Record]


def quality(results: Results) -> list[str]:
    """Scores of the recipes beside what is published and what was set out for; size and training time."""
    head = ["set", "metric", "published", "floor", "target", "Gatework", "reached", "95 %", "MB", "limit",
            "training, min", "limit"]  # fmt: skip
    rows = []
    for one, record in _of(results, OURS):
        for number, figure in enumerate(one.figures):
            value = figure.of(record)
            if value is None:
                continue
            last = _costs(one, record) if not number else ["", "", "", ""]
            goals = [f"{goal:g}" if goal is not None else "" for goal in (figure.floor, figure.target)]
            rows.append([
                one.title if not number else "", figure.shown, figure.published, *goals, f"{value:.2f}",
                reached(value, figure), _interval(record, figure), *last,
            ])  # fmt: skip
    return table(head, rows, left=3)


def variants(results: Results) -> list[str]:
    """Every changed recipe beside the recipe itself, by the set's metrics."""
    rows = []
    for name, one in SETS.items():
        found = {system: record for (system, own), record in results.items() if own == name}
        if len(found) < 2 and "lead" not in next(iter(found.values()), {}):
            continue
        if lead := next((record["lead"] for record in found.values() if "lead" in record), None):
            shares = [f"{figure.scale * lead[figure.metric]:.2f}" for figure in one.figures]
            rows.append([one.title, f"the first {lead['words']} words", ", ".join(shares), "", "", "", ""])
        for system, record in sorted(found.items()):
            shown = [figure.of(record) for figure in one.figures]
            title = TITLES.get(system.removeprefix(f"{OURS}-"), system) if system != OURS else "the recipe"
            rows.append([
                one.title, title, ", ".join(f"{value:.2f}" for value in shown if value is not None),
                f"{record['parameters'] / 1e6:.2f}", f"{record['bytes'] / 1e6:.2f}", str(record.get("epochs", "")),
                _minutes(record),
            ])  # fmt: skip
    return table(
        ["set", "model", "the set's metrics", "million weights", "MB", "epochs", "training, min"], rows, left=3
    )


def reached(value: float, figure: Figure) -> str:
    """`target`, `floor` or `-`, by the figure as it is shown; empty without goals."""
    if figure.floor is None or figure.target is None:
        return ""
    sign, shown = 1.0 if figure.more_is_better else -1.0, round(value, 2)
    return "target" if sign * (shown - figure.target) >= 0 else "floor" if sign * (shown - figure.floor) >= 0 else "-"


def signatures(results: Results) -> list[str]:
    """Of sacreBLEU, each once."""
    found = {
        text for record in results.values() for name, text in record.get("signature", {}).items() if name != "bleu"
    } | {record["signature"]["bleu"] for record in results.values() if "bleu" in record.get("signature", {})}
    return [*(f"- `{text}`" for text in sorted(found)), ""] if found else []


def render(results: Results) -> str:
    """All tables and where their figures come from."""
    sections = {
        "Scores on test, size and training time": (
            quality(results),
            "From the exported int8 bundle, as `gatework evaluate` scores it, with 5 beams. Dev chose epochs and "
            "settings. CMUdict keeps the stress of vowels, its split is our own; an answer is compared with the "
            "nearest of the pronunciations listed. The published figures are of another split and leave stress out.",
        ),
        "What parts of the models do": (
            variants(results),
            "The same recipe with one thing changed, with what suits it (the commands are below); the same metrics, in "
            "the order of the table above. Minutes are by the clock, on a machine that several trainings shared.",
        ),
        "Signatures": (signatures(results), "Of sacreBLEU."),
    }  # fmt: skip
    lines: list[str] = []
    for title, (found, note) in sections.items():
        lines += [f"### {title}", "", note, "", *found] if found else []
    return "\n".join([*lines, "### Where the figures of sequence to sequence come from", "", *provenance(results)])


def _costs(one: SequenceSet, record: Record) -> list[str]:
    return [f"{record['bytes'] / 1e6:.2f}", f"{one.megabytes:g}", _minutes(record), f"{one.minutes:g}"]


def _minutes(record: Record) -> str:
    seconds = record.get("train_seconds")
    return f"{seconds / 60:.1f}" if seconds is not None else ""


def _interval(record: Record, figure: Figure) -> str:
    low_high = record.get("interval", {}).get(figure.metric)
    return "–".join(f"{figure.scale * value:.2f}" for value in low_high) if low_high else ""


def _of(results: Results, system: str) -> Iterator[tuple[SequenceSet, Record]]:
    for name, one in SETS.items():
        if (system, name) in results:
            yield one, results[system, name]


def main() -> int:
    return command(__doc__, merge, render, BEGIN, END)


if __name__ == "__main__":
    sys.exit(main())
