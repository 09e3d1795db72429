"""Gatework on the seven sequence-labelling sets: scores, size, storage, training time and speed, beside its rivals.

    export GATEWORK_DATA=../data
    python -m benchmarks.tagging --out results/tagging.jsonl                          train every recipe, measure, score
    python -m benchmarks.tagging --bundles models --out results/tagging.jsonl         bundles that are there already
    python -m benchmarks.tagging --all --spacy ~/spacy/bin/python --out results/tagging.jsonl     with rivals and report

Each recipe is trained by the command line in a process of its own, as a user would. The run's weights are exported in
float32 too; both bundles are scored on test as `gatework evaluate` does. Speed is that of the runtime, without PyTorch,
with one thread, on the sentences of the test set as tokens (see `tag_speed.py`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure, tag_speed, trained
from benchmarks.sets import data_folder
from benchmarks.tag_sets import TagSet, choose, read
from benchmarks.trained import course, in_float32

README = Path(__file__).with_name("README.md")
KEPT = ("f1", "precision", "recall", "accuracy", "seg_f1", "seg_precision", "seg_recall", "n", "tokens")


def evaluated(one: TagSet, bundle: Path) -> dict[str, Any]:
    """Metrics of a bundle on the set's test file, as `gatework evaluate` has them."""
    import gatework

    metrics = gatework.load(bundle).evaluate(data_folder() / one.folder / one.test)
    return {name: metrics[name] for name in KEPT if name in metrics}


def figures(gatework: list[str], one: TagSet, bundle: Path, *, timed: bool) -> dict[str, Any]:
    """Everything the report wants of one bundle; its speed where it is `timed`."""
    found = evaluated(one, bundle)
    found |= {"bytes": bundle.stat().st_size, "scored_on": one.scored_on, **course(bundle)}
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "float32.gw"
        if in_float32(bundle, whole):
            found["fp32"] = evaluated(one, whole) | {"bytes": whole.stat().st_size}
    if timed:
        found["speed"] = tag_speed.turns({"gatework": contestant(bundle)}, test_tokens(one))["gatework"]
    return found


def shown(one: TagSet, result: dict[str, Any]) -> str:
    """A line's worth of the figures."""
    return ", ".join(f"{goal.title} {100 * result[goal.metric]:.2f}" for goal in one.goals)


def test_tokens(one: TagSet) -> list[list[str]]:
    """The test sentences that speed is measured on."""
    return [sentence.tokens for sentence in read(one, data_folder() / one.folder / one.test)]


def contestant(bundle: Path, precision: str = "float32") -> list[str]:
    """The command of `tag_speed` for a bundle of ours."""
    return [sys.executable, "-m", "benchmarks.tag_speed", str(bundle.resolve()), precision]


def rivals(arguments: argparse.Namespace, folder: Path) -> None:
    """Run the rivals' scripts beside the bundles in `folder`, then the report."""
    out = ["--out", str(arguments.out)]
    commands = [["benchmarks.rivals.pytorch_bilstm_crf", *out], ["benchmarks.install_size", *out]]
    if arguments.spacy:
        spacy = ["benchmarks.rivals.spacy_tagger", "--python", arguments.spacy, "--bundles", str(folder)]
        commands.insert(0, [*spacy, *out])
    commands.append(["benchmarks.tagging_report", str(arguments.out), "--readme", str(README)])
    for command in commands:
        measure.say(f"$ python -m {' '.join(command)}")
        subprocess.run([sys.executable, "-m", *command], check=True)


def main() -> int:
    parser = trained.arguments(__doc__, "tagging.jsonl")
    parser.add_argument("--no-speed", action="store_true", help="scores alone: for a busy machine")
    parser.add_argument("--all", action="store_true", help="then the rivals, and the report into benchmarks/README.md")
    parser.add_argument("--spacy", metavar="PYTHON", help="interpreter of the environment that has spaCy, for --all")
    given = parser.parse_args()
    measured = partial(figures, timed=not given.no_speed)
    with trained.bundle_folder(given.bundles) as folder:
        failed = trained.over(choose(given.sets), folder, given, measured, shown)
        if given.all and not failed:
            rivals(given, folder)
    return trained.verdict(failed)


if __name__ == "__main__":
    sys.exit(main())
