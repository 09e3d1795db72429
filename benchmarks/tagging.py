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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure, tag_speed
from benchmarks.classification import RECIPES, gatework_command, run_json
from benchmarks.sets import data_folder
from benchmarks.tag_sets import TagSet, choose, read
from benchmarks.trained import course, in_float32

README = Path(__file__).with_name("README.md")
KEPT = ("f1", "precision", "recall", "accuracy", "seg_f1", "seg_precision", "seg_recall", "n", "tokens")


def trained(gatework: list[str], one: TagSet, bundle: Path, options: Sequence[str]) -> Path:
    """Train the published recipe into `bundle`; its run folder lies beside it."""
    run_json([*gatework, "train", str(RECIPES / f"{one.name}.toml"), "-o", str(bundle), "--json", *options])
    return bundle


def evaluated(one: TagSet, bundle: Path) -> dict[str, Any]:
    """Metrics of a bundle on the set's test file, as `gatework evaluate` has them."""
    import gatework

    metrics = gatework.load(bundle).evaluate(data_folder() / one.folder / one.test)
    return {name: metrics[name] for name in KEPT if name in metrics}


def figures(one: TagSet, bundle: Path) -> dict[str, Any]:
    """Everything the report wants of one bundle but its speed."""
    found = evaluated(one, bundle)
    found |= {"bytes": bundle.stat().st_size, "scored_on": one.scored_on, **course(bundle)}
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "float32.gw"
        if in_float32(bundle, whole):
            found["fp32"] = evaluated(one, whole) | {"bytes": whole.stat().st_size}
    return found


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all seven")
    parser.add_argument("--out", type=Path, default=Path("tagging.jsonl"), help="results file, appended to")
    parser.add_argument("--bundles", type=Path, help="folder of SET.gw with SET.run beside; what is missing is trained")
    parser.add_argument("--gatework", help="the command to measure; default the one installed here")
    parser.add_argument(
        "--option", action="append", default=[], metavar="WORD", help="one more word for `gatework train`"
    )
    parser.add_argument("--no-speed", action="store_true", help="scores alone: for a busy machine")
    parser.add_argument("--all", action="store_true", help="then the rivals, and the report into benchmarks/README.md")
    parser.add_argument("--spacy", metavar="PYTHON", help="interpreter of the environment that has spaCy, for --all")
    arguments = parser.parse_args()
    gatework, failed = gatework_command(arguments.gatework), []
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = (arguments.bundles or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for one in choose(arguments.sets):
            bundle = folder / f"{one.name}.gw"
            try:
                if not bundle.exists():
                    trained(gatework, one, bundle, arguments.option)
                result = figures(one, bundle)
                if not arguments.no_speed:
                    result["speed"] = tag_speed.turns({"gatework": contestant(bundle)}, test_tokens(one))["gatework"]
            except subprocess.CalledProcessError as error:  # go on with the other sets; the command said why
                measure.say(f"{one.name}: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
                failed.append(one.name)
                continue
            measure.write(arguments.out, "gatework", one.name, result | {"version": version()})
            shown = ", ".join(f"{goal.title} {100 * result[goal.metric]:.2f}" for goal in one.goals)
            measure.say(f"{one.name}: {shown} in {result['bytes'] / 1e6:.2f} MB")
        if arguments.all and not failed:
            rivals(arguments, folder)
    if failed:
        measure.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def version() -> str:
    import gatework

    return f"gatework {gatework.__version__}"


if __name__ == "__main__":
    sys.exit(main())
