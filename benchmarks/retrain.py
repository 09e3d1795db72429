"""The ten recipes retrained on the kernels: scores, training time and latency before and after.

    python -m benchmarks.retrain [SET ...] [--before COMMAND]         results/recipes.jsonl

"After" is the `gatework` of this environment. "Before" is the `gatework` command of another environment, installed from
the commit before the kernels; then the two train each set one after the other. Without it, the figures published at
that commit stand in (`results/recipes-before.json`, from the tables of its `benchmarks/README.md`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.classification import ANSWER, gatework_command, train_recipe
from benchmarks.records import FOLDER
from benchmarks.sets import SETS, TextSet, choose, data_folder, read, sentences

OUT, PUBLISHED = FOLDER / "recipes.jsonl", FOLDER / "recipes-before.json"
KEPT = ("accuracy", "f1", "dev_accuracy", "bytes", "train_seconds", "total_seconds", "seed", "version", "scored_on")
Figures = Mapping[str, Mapping[str, Any]]
"""What was measured, by set."""


def train(command: list[str], one: TextSet) -> dict[str, Any]:
    """Train one recipe and time the answers of its bundle."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / f"{one.name}.gw"
        result = train_recipe(command, one, bundle, [])
        python = Path(command[0]).with_name("python")
        texts = sentences((text for _, text in read(data_folder() / one.folder / one.test)), one.language)
        interpreter = str(python) if python.exists() else sys.executable
        result["latency_ms"] = measure.latency_process([interpreter, "-c", ANSWER, str(bundle)], texts)
    return {name: result[name] for name in (*KEPT, "latency_ms") if name in result}


def load(lines: Iterable[str], published: Figures) -> tuple[Figures, Figures]:
    """Figures before (measured here where they were, else published) and after."""
    before, after = dict(published), {}
    for line in lines:
        record = json.loads(line)
        (after if record["system"] == "after" else before)[record["set"]] = record
    return before, after


def rows(before: Figures, after: Figures) -> list[list[str]]:
    """One row a set that was retrained: scores, seconds, their ratio, latency."""
    made = []
    for name, one in SETS.items():
        old, new = before.get(name), after.get(name)
        if old and new:
            faster = old["train_seconds"] / new["train_seconds"]
            made.append([
                one.title, f"{old['accuracy']:.2%}", f"{new['accuracy']:.2%}",
                f"{100 * (new['accuracy'] - old['accuracy']):+.2f}",
                f"{old['train_seconds']:.0f}", f"{new['train_seconds']:.0f}", f"x {faster:.2f}",
                f"{1e3 * old['latency_ms']['p50']:.0f}", f"{1e3 * new['latency_ms']['p50']:.0f}",
            ])  # fmt: skip
    return made


HEAD = ["set", "accuracy before", "after", "change", "training s before", "after", "faster", "p50 µs before", "after"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all ten")
    parser.add_argument(
        "--before", metavar="COMMAND", help="the gatework command of an environment without the kernels"
    )
    parser.add_argument("--gatework", help="the gatework command to measure; default the one installed here")
    parser.add_argument("--out", type=Path, default=OUT, help="results file, appended to")
    arguments = parser.parse_args()
    commands = {"before": arguments.before} if arguments.before else {}
    for one in choose(arguments.sets):
        for name, command in (commands | {"after": arguments.gatework}).items():
            result = train(gatework_command(command), one)
            measure.write(arguments.out, name, one.name, result)
            measure.say(f"{one.name}, {name}: {result['accuracy']:.4f} in {result['train_seconds']:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
