"""spaCy's small CNN pipeline on the same sets, in an environment of its own.

    python -m venv ~/spacy && ~/spacy/bin/pip install spacy==3.8.18
    GATEWORK_DATA=../data python -m benchmarks.rivals.spacy_tagger --python ~/spacy/bin/python --bundles models \
        --out results/tagging.jsonl

The pipeline is what `spacy init config --lang en|zh --pipeline ner|tagger --optimize efficiency` gives, untouched: hash
embeddings and a CNN of width 96 and depth 4, with spaCy's transition-based NER or its tagger, early stopping on dev; no
vectors. Training ends after `--seconds` of the processor, if it has not ended by itself, and keeps its best model on
dev. One thread.

The tags it gives are scored by the metrics of `gatework evaluate`. Its speed is measured in turn with Gatework's bundle
of the same set, on the same sentences of tokens, each in a process of its own with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measure, tag_speed
from benchmarks.sets import data_folder
from benchmarks.tag_sets import TagSet, choose, read

ON = ("ner-resume", "ner-conll2003", "pos-ewt")


class Spacy:
    """spaCy's child on one set, with its model in a folder."""

    def __init__(self, python: str, one: TagSet, model: Path) -> None:
        self.python, self.set, self.model = python, one, model

    def command(self, what: str, *more: str) -> list[str]:
        module = [self.python, "-m", "benchmarks.rivals.spacy_child"]
        return [*module, what, self.set.name, str(self.model.resolve()), *more]

    def run(self, what: str, *more: str, given: Any = None) -> Any:
        """What a command of the child prints, with one thread."""
        done = subprocess.run(
            self.command(what, *more), input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True,
            cwd=tag_speed.ROOT, env=os.environ | measure.ONE_THREAD,
        )  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1])


def bench(spacy: Spacy, bundles: Path | None, seconds: float) -> dict[str, Any]:
    """The figures of one set; speed beside ours where there is a bundle."""
    from benchmarks.tag_score import score
    from benchmarks.tagging import contestant

    one, kept = spacy.set, spacy.model / "training.json"
    if not kept.exists():
        found = spacy.run("train", "--seconds", str(seconds))
        kept.write_text(json.dumps(found), encoding="utf-8")
    figures: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    test = list(read(one, data_folder() / one.folder / one.test))
    tokens = [sentence.tokens for sentence in test]
    scores = score(one, [sentence.tags for sentence in test], spacy.run("tag", given=tokens))
    figures |= {name: scores[name] for name in ("f1", "precision", "recall", "accuracy") if name in scores}
    contestants = {"speed": spacy.command("time")}
    if bundles is not None and (bundles / f"{one.name}.gw").exists():
        contestants = {"gatework_speed": contestant(bundles / f"{one.name}.gw")} | contestants
    return figures | tag_speed.turns(contestants, tokens) | {"scored_on": one.scored_on}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"sets by recipe name; default {', '.join(ON)}")
    parser.add_argument("--python", required=True, help="interpreter of the environment that has spaCy")
    parser.add_argument("--bundles", type=Path, help="folder of Gatework's SET.gw, timed in turn with spaCy")
    parser.add_argument(
        "--models", type=Path, help="folder that keeps spaCy's models; those there are not trained again"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="processor seconds a training may take (600)")
    parser.add_argument("--out", type=Path, default=Path("tagging.jsonl"), help="results file, appended to")
    arguments = parser.parse_args()
    found = subprocess.run([arguments.python, "-c", "import spacy"], check=False, capture_output=True)
    if found.returncode:
        sys.exit(f"{arguments.python}: spaCy is not installed there; see the top of this file.")
    with tempfile.TemporaryDirectory() as scratch:
        for one in choose(arguments.sets, ON):
            if one.segment:
                sys.exit(f"{one.name}: spaCy has no pipeline that finds words and their tags from characters.")
            model = (arguments.models or Path(scratch)) / one.name
            figures = bench(Spacy(arguments.python, one, model), arguments.bundles, arguments.seconds)
            measure.write(arguments.out, "spacy", one.name, figures | {"limit_seconds": arguments.seconds})
            shown = figures[one.goals[0].metric]
            measure.say(f"{one.name}: {one.goals[0].title} {100 * shown:.2f} in {figures['bytes'] / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
