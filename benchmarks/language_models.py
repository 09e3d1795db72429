"""Gatework on the five language-modelling sets: scores, size, storage and training time.

    export GATEWORK_DATA=../data
    python -m benchmarks.language_models --out results/language.jsonl                       train every recipe, score
    python -m benchmarks.language_models --bundles models --out results/language.jsonl      bundles there already
    python -m benchmarks.language_models lm-tang --cell gru --out results/language.jsonl    another cell, same recipe
    python -m benchmarks.rivals.kneser_ney recipes/lm-tang.toml --out results/language.jsonl
    python -m benchmarks.language_report results/language.jsonl --readme benchmarks/README.md

Each recipe is trained by the command line in a process of its own, as a user would. The run's weights are exported in
float32 too; both bundles are scored as `gatework evaluate` does, which reads the text from its beginning to its end
with the state carried along. Models of words are scored once more with a neural cache and with dynamic evaluation;
their settings were chosen on dev.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import trained
from benchmarks.classification import run_json
from benchmarks.language_sets import LanguageSet, choose
from benchmarks.trained import course, in_float32

KEPT = ("perplexity", "bits_per_char", "nats_per_char", "bits_per_byte", "tokens", "unknown", "interval")
READINGS = {
    "cache": ("--cache", "2000", "--cache-weight", "0.1", "--cache-flatness", "0.3"),
    "dynamic": ("--dynamic", "0.1"),
}
"""Ways to read a text beside the plain one."""


def scores(gatework: list[str], one: LanguageSet, bundle: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """Metrics of a bundle on the set's text, as `gatework evaluate` has them."""
    with one.text() as text:
        found = run_json([*gatework, "evaluate", str(bundle), str(text), "--json", *options])["metrics"]
    return {name: found[name] for name in KEPT if name in found}


def figures(gatework: list[str], one: LanguageSet, bundle: Path) -> dict[str, Any]:
    """Everything the report wants of one bundle."""
    found = scores(gatework, one, bundle)
    found |= {"bytes": bundle.stat().st_size, "scored_on": one.scored_on, **course(bundle)}
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "float32.gw"
        if in_float32(bundle, whole):
            found["fp32"] = scores(gatework, one, whole) | {"bytes": whole.stat().st_size}
    for name, options in READINGS.items() if one.words else ():
        found[name] = scores(gatework, one, bundle, options) | {"options": " ".join(options)}
    return found


def shown(one: LanguageSet, result: dict[str, Any]) -> str:
    """A line's worth of the figures."""
    return f"{one.shown} {result[one.metric]:.4g}"


def main() -> int:
    parser = trained.arguments(__doc__, "language.jsonl")
    parser.add_argument("--cell", help="train with another cell than the recipe's; bundles are SET-CELL.gw then")
    given = parser.parse_args()
    options = ["--set", f"model.cell={given.cell}"] if given.cell else []
    ending = f"-{given.cell}" if given.cell else ""
    with trained.bundle_folder(given.bundles) as folder:
        found = trained.over(choose(given.sets), folder, given, figures, shown, ending=ending, options=options)
    return trained.verdict(found)


if __name__ == "__main__":
    sys.exit(main())
