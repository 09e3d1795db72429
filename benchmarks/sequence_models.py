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

import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import trained
from benchmarks.classification import run_json
from benchmarks.sequence_sets import SequenceSet, choose
from benchmarks.sets import data_folder

LEFT_OUT = ("confusion", "reliability")


def figures(gatework: list[str], one: SequenceSet, bundle: Path, *, stored: bool, options: str) -> dict[str, Any]:
    """Everything the report wants of one bundle; with `stored`, scores as `gatework train` measured the bundle."""
    told = run_json([*gatework, "info", str(bundle), "--json"])
    if stored:
        found = told["metrics"]["test"]
    else:
        found = run_json([*gatework, "evaluate", str(bundle), str(data_folder() / one.test), "--json"])["metrics"]
    if one.folded:
        found = found | {"folded": folded(bundle, data_folder() / one.test, one.folded)}
    known = {"bytes": told["bytes"], "parameters": told["parameters"], "options": options}
    return {name: value for name, value in found.items() if name not in LEFT_OUT} | known | trained.course(bundle)


def folded(bundle: Path, test: Path, letters: str) -> dict[str, Any]:
    """Error rates of a bundle's answers once both they and the references of a table have lost some letters."""
    from gatework import load
    from gatework.tasks.seq2seq.scores import Written, scores

    references: dict[str, list[str]] = {}
    bare = str.maketrans("", "", letters)
    for line in test.read_text(encoding="utf-8").splitlines():
        source, target = line.split("\t")
        references.setdefault(source, []).append(target.translate(bare))
    answers = load(bundle).predict_batch(list(references))
    written = [
        Written(answer.text.translate(bare), tuple(wanted))
        for answer, wanted in zip(answers, references.values(), strict=True)
    ]
    return scores(written, ("per", "wer"))


def shown(one: SequenceSet, result: dict[str, Any]) -> str:
    """A line's worth of the figures."""
    return ", ".join(f"{figure.shown} {figure.of(result) or 0:.2f}" for figure in one.figures)


def main() -> int:
    parser = trained.arguments(__doc__, "sequence.jsonl")
    parser.add_argument(
        "--stored", action="store_true", help="do not score again: a bundle tells what training measured"
    )
    parser.add_argument("--variant", help="name of a changed recipe; bundles are SET-VARIANT.gw then")
    given = parser.parse_args()
    ending = f"-{given.variant}" if given.variant else ""
    measured = partial(figures, stored=given.stored, options=" ".join(given.option))
    with trained.bundle_folder(given.bundles) as folder:
        return trained.verdict(trained.over(choose(given.sets), folder, given, measured, shown, ending=ending))


if __name__ == "__main__":
    sys.exit(main())
