"""Gatework on the ten text-classification sets: quality, size, training time, latency, cold start.

    GATEWORK_DATA=../data python -m benchmarks.classification --out gatework.jsonl

Each recipe is trained by the command line in a process of its own, as a user would, and scored on test from the
exported bundle (TNEWS on its dev file: its test labels are not public). `--plain` trains on the training file alone,
without a recipe, and scores the bundle with `gatework evaluate`: how far good defaults go.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.sets import TextSet, choose, data_folder, read, sentences

RECIPES = Path(__file__).parent.parent / "recipes"

ANSWER = """
import sys
import gatework
from benchmarks import measure
measure.latency_child(gatework.load(sys.argv[1]).predict)
"""


def gatework_command(given: str | None) -> list[str]:
    """How to call the command line: as given, or the script beside this interpreter, or the one on the path."""
    if given:
        return shlex.split(given)
    beside = Path(sys.executable).with_name("gatework")
    found = str(beside) if beside.exists() else shutil.which("gatework")
    if found is None:
        sys.exit("the gatework command is not installed here: pip install -e '.[train]', or name it with --gatework.")
    return [found]


def run_json(command: Sequence[str]) -> dict[str, Any]:
    """Run a command that prints one JSON object on stdout; its progress goes through to stderr."""
    measure.say(f"$ {shlex.join(command)}")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def train_recipe(gatework: list[str], one: TextSet, bundle: Path, options: Sequence[str]) -> dict[str, Any]:
    """Train by the published recipe."""
    result = run_json([*gatework, "train", str(RECIPES / f"{one.name}.toml"), "-o", str(bundle), "--json", *options])
    return figures(one, result, result["metrics"]["test"])


def train_plain(gatework: list[str], one: TextSet, bundle: Path, options: Sequence[str]) -> dict[str, Any]:
    """Train on the training file alone: format, columns and language inferred, a tenth held back."""
    folder = data_folder() / one.folder
    result = run_json([*gatework, "train", str(folder / one.train), "-o", str(bundle), "--json", *options])
    tested = run_json([*gatework, "evaluate", str(bundle), str(folder / one.test), "--json"])
    return figures(one, result, tested["metrics"])


def figures(one: TextSet, trained: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """What is kept of the two results; F1 only where the set asks for it."""
    kept: dict[str, Any] = {"accuracy": scores["accuracy"]} | ({"f1": scores["f1"]} if one.positive else {})
    seconds, dev = trained["seconds"], trained["metrics"].get("dev", {})
    kept |= {"dev_accuracy": dev.get("accuracy"), "bytes": trained["bundle"]["bytes"]}
    kept |= {"train_seconds": seconds["train"], "total_seconds": seconds["total"]}
    return kept | {"seed": trained["seed"], "version": f"gatework {trained['version']}", "scored_on": one.scored_on}


def speed(gatework: list[str], one: TextSet, bundle: Path) -> dict[str, Any]:
    """Latency from Python with one thread, and cold starts of the command line."""
    texts = sentences((text for _, text in read(data_folder() / one.folder / one.test)), one.language)
    return {
        "latency_ms": measure.latency_process([sys.executable, "-c", ANSWER, str(bundle)], texts),
        "cold_start_seconds": measure.cold_start([*gatework, "predict", str(bundle), texts[0]]),
        "help_seconds": measure.cold_start([*gatework, "--help"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all ten")
    parser.add_argument("--out", type=Path, default=Path("gatework.jsonl"), help="results file, appended to")
    parser.add_argument("--plain", action="store_true", help="train without a recipe too")
    parser.add_argument("--keep", type=Path, help="folder that keeps the bundles and run folders")
    parser.add_argument("--gatework", help="the command to measure; default the one installed here")
    parser.add_argument("--option", action="append", default=[], metavar="WORDS",
                        help="more words for `gatework train`, e.g. --option='--max-size 1.6MB'")  # fmt: skip
    parser.add_argument("--name", default="gatework", help="name of this variant in the results file")
    arguments = parser.parse_args()
    gatework = gatework_command(arguments.gatework)
    options = [word for words in arguments.option for word in shlex.split(words)]
    ways = [(arguments.name, train_recipe)] + ([(f"{arguments.name}-plain", train_plain)] if arguments.plain else [])
    failed = []
    for one in choose(arguments.sets):
        for name, way in ways:
            with tempfile.TemporaryDirectory() as scratch:
                folder = arguments.keep or Path(scratch)
                folder.mkdir(parents=True, exist_ok=True)
                bundle = folder.resolve() / f"{one.name}.{name}.gw"
                try:
                    result = way(gatework, one, bundle, options) | speed(gatework, one, bundle)
                except subprocess.CalledProcessError as error:  # go on with the other sets; the command said why
                    measure.say(f"{one.name}: {shlex.join(map(str, error.cmd))} ended with {error.returncode}\n"
                                f"{error.stderr or ''}")  # fmt: skip
                    failed.append(f"{one.name} ({name})")
                    continue
            measure.write(arguments.out, name, one.name, result)
            measure.say(f"{one.name}: {result['accuracy']:.4f} in {result['bytes'] / 1e6:.2f} MB")
    if failed:
        measure.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
