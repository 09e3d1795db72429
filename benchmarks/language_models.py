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

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.classification import RECIPES, gatework_command, run_json
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all five")
    parser.add_argument("--out", type=Path, default=Path("language.jsonl"), help="results file, appended to")
    parser.add_argument("--bundles", type=Path, help="folder of SET.gw with SET.run beside; what is missing is trained")
    parser.add_argument("--gatework", help="the command to measure; default the one installed here")
    parser.add_argument("--cell", help="train with another cell than the recipe's; bundles are SET-CELL.gw then")
    parser.add_argument(
        "--option", action="append", default=[], metavar="WORD", help="one more word for `gatework train`"
    )
    given = parser.parse_args()
    gatework, failed = gatework_command(given.gatework), []
    options = [*given.option, *(["--set", f"model.cell={given.cell}"] if given.cell else [])]
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = (given.bundles or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for one in choose(given.sets):
            bundle = folder / f"{one.name}{'-' + given.cell if given.cell else ''}.gw"
            try:
                if not bundle.exists():
                    recipe = RECIPES / f"{one.name}.toml"
                    run_json([*gatework, "train", str(recipe), "-o", str(bundle), "--json", *options])
                result = figures(gatework, one, bundle)
            except subprocess.CalledProcessError as error:  # go on with the other sets; the command said why
                measure.say(f"{one.name}: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
                failed.append(one.name)
                continue
            system = f"gatework{'-' + given.cell if given.cell else ''}"
            measure.write(given.out, system, one.name, result | {"version": version()})
            measure.say(f"{one.name}: {one.shown} {result[one.metric]:.4g} in {result['bytes'] / 1e6:.2f} MB")
    if failed:
        measure.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def version() -> str:
    import gatework

    return f"gatework {gatework.__version__}"


if __name__ == "__main__":
    sys.exit(main())
