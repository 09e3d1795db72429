"""Gatework on the sets of sequence to sequence: scores, size and training time of exported bundles.

    export GATEWORK_DATA=../data
    python -m benchmarks.sequence_models --out results/sequence.jsonl                       train every recipe, score
    python -m benchmarks.sequence_models --bundles models --out results/sequence.jsonl      bundles there already
    python -m benchmarks.sequence_models mt-multi30k-deen --variant no-attention \\
        --option --set --option model.attention_kind=none --out results/sequence.jsonl      the recipe, changed
    python -m benchmarks.sequence_report results/sequence.jsonl --readme benchmarks/README.md

Each recipe is trained by the command line in a process of its own, as a user would, and its int8 bundle scored on the
test file as `gatework evaluate` does, with the search that the bundle itself asks for.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.classification import RECIPES, gatework_command, run_json
from benchmarks.language_models import version
from benchmarks.sequence_sets import SequenceSet, choose
from benchmarks.sets import data_folder
from benchmarks.trained import course

LEFT_OUT = ("confusion", "reliability")


def figures(gatework: list[str], one: SequenceSet, bundle: Path, *, stored: bool) -> dict[str, Any]:
    """Everything the report wants of one bundle; with `stored`, scores as `gatework train` measured the bundle."""
    told = run_json([*gatework, "info", str(bundle), "--json"])
    if stored:
        found = told["metrics"]["test"]
    else:
        found = run_json([*gatework, "evaluate", str(bundle), str(data_folder() / one.test), "--json"])["metrics"]
    size = {"bytes": told["bytes"], "parameters": told["parameters"]}
    return {name: value for name, value in found.items() if name not in LEFT_OUT} | size | course(bundle)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all")
    parser.add_argument("--out", type=Path, default=Path("sequence.jsonl"), help="results file, appended to")
    parser.add_argument("--bundles", type=Path, help="folder of SET.gw with SET.run beside; what is missing is trained")
    parser.add_argument(
        "--stored", action="store_true", help="do not score again: a bundle tells what training measured"
    )
    parser.add_argument("--gatework", help="the command to measure; default the one installed here")
    parser.add_argument("--variant", help="name of a changed recipe; bundles are SET-VARIANT.gw then")
    parser.add_argument(
        "--option", action="append", default=[], metavar="WORD", help="one more word for `gatework train`"
    )
    given = parser.parse_args()
    gatework, failed = gatework_command(given.gatework), []
    ending = f"-{given.variant}" if given.variant else ""
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = (given.bundles or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for one in choose(given.sets):
            bundle = folder / f"{one.name}{ending}.gw"
            try:
                if not bundle.exists():
                    recipe = RECIPES / f"{one.name}.toml"
                    run_json([*gatework, "train", str(recipe), "-o", str(bundle), "--json", *given.option])
                result = figures(gatework, one, bundle, stored=given.stored)
            except subprocess.CalledProcessError as error:  # go on with the other sets; the command said why
                measure.say(f"{one.name}: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
                failed.append(one.name)
                continue
            result |= {"version": version(), "options": " ".join(given.option)}
            measure.write(given.out, f"gatework{ending}", one.name, result)
            measure.say(f"{one.name}{ending}: {result['bytes'] / 1e6:.2f} MB")
    if failed:
        measure.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
