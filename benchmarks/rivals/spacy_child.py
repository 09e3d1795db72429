"""What runs inside spaCy's own environment: training, tagging, timing. Called by `spacy_tagger.py`.

python -m benchmarks.rivals.spacy_child train SET MODEL --seconds N     prints what training did, as JSON
python -m benchmarks.rivals.spacy_child tag SET MODEL                    sentences from stdin, tags to stdout
python -m benchmarks.rivals.spacy_child time SET MODEL                   see `tag_speed`
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import spacy
from spacy.cli.init_config import init_config
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop

from benchmarks import tag_speed
from benchmarks.sets import data_folder
from benchmarks.tag_sets import SETS, Sentence, TagSet, read, repaired


class TimeUp(Exception):
    """The time for training is over; the best model so far is on disk."""


DEADLINE = float("inf")
EPOCH = 0


@spacy.registry.callbacks("gatework.deadline")
def deadline() -> Any:
    """A `before_update` that ends training in time and counts epochs."""

    def check(nlp: Any, info: dict[str, Any]) -> None:
        global EPOCH
        EPOCH = info["epoch"]
        if time.process_time() > DEADLINE:
            raise TimeUp

    return check


def document(one: TagSet, nlp: Any, sentence: Sentence) -> Doc:
    """A sentence with its true tags."""
    words, spaces = sentence.tokens, _spaces(one, sentence.tokens)
    tags = {"ents": repaired(sentence.tags)} if one.spans else {"tags": sentence.tags}
    return Doc(nlp.vocab, words=words, spaces=spaces, **tags)


def _spaces(one: TagSet, tokens: Sequence[str]) -> list[bool]:
    return [one.language != "zh"] * len(tokens)


def write(one: TagSet, nlp: Any, name: str, path: Path) -> None:
    """A file of the set in spaCy's format."""
    found: Iterator[Sentence] = read(one, data_folder() / one.folder / name)
    DocBin(docs=[document(one, nlp, sentence) for sentence in found]).to_disk(path)


def train(one: TagSet, model: Path, seconds: float) -> dict[str, Any]:
    """Train by `spacy init config ... --optimize efficiency`; keeps the best on dev. `seconds` are of the processor."""
    global DEADLINE
    model.mkdir(parents=True, exist_ok=True)
    blank = spacy.blank(one.language)
    for name, file in (("train", one.train), ("dev", one.dev)):
        write(one, blank, file, model / f"{name}.spacy")
    component = "ner" if one.spans else "tagger"
    config = init_config(lang=one.language, pipeline=[component], optimize="efficiency", gpu=False)
    config["paths"] |= {name: str(model / f"{name}.spacy") for name in ("train", "dev")}
    config["training"]["before_update"] = {"@callbacks": "gatework.deadline"}
    begin, begun = time.monotonic(), time.process_time()
    DEADLINE, reason = begun + seconds, "patience"
    with redirect_stdout(sys.stderr):
        nlp = init_nlp(config)
        try:
            train_loop(nlp, model, stdout=sys.stderr, stderr=sys.stderr)
        except TimeUp:
            reason = "time"
    best = spacy.load(model / "model-best")
    best.config["training"]["before_update"] = None
    best.to_disk(model / "model")  # without the word list, caches and dev scores of training
    performance = best.meta["performance"]
    return {
        "train_seconds": time.monotonic() - begin,
        "train_processor_seconds": time.process_time() - begun,
        "epochs": EPOCH,
        "reason": reason,
        "dev": performance["ents_f" if one.spans else "tag_acc"],
        "bytes": sum(path.stat().st_size for path in (model / "model").rglob("*") if path.is_file()),
        "version": f"spaCy {spacy.__version__}",
    }


class Tagger:
    """A trained pipeline that answers lists of tokens."""

    def __init__(self, one: TagSet, model: Path) -> None:
        self.set, self.nlp = one, spacy.load(model / "model")

    def documents(self, sentences: Sequence[Sequence[str]]) -> Iterator[Doc]:
        docs = [Doc(self.nlp.vocab, words=list(tokens), spaces=_spaces(self.set, tokens)) for tokens in sentences]
        return self.nlp.pipe(docs, batch_size=tag_speed.BATCH) if len(docs) > 1 else iter([self.nlp(docs[0])])

    def answers(self, sentences: Sequence[Sequence[str]]) -> list[Any]:
        """What a caller reads: spans as (text, label, first, last), or tags."""
        if self.set.spans:
            return [
                [(e.text, e.label_, e.start_char, e.end_char) for e in doc.ents] for doc in self.documents(sentences)
            ]
        return [[token.tag_ for token in doc] for doc in self.documents(sentences)]

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """BIO or plain tags of each token."""
        if not self.set.spans:
            return self.answers(sentences)
        return [
            [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else "O" for t in doc] for doc in self.documents(sentences)
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "tag", "time"))
    parser.add_argument("set", choices=tuple(SETS))
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    arguments = parser.parse_args()
    one = SETS[arguments.set]
    if arguments.what == "train":
        print(json.dumps(train(one, arguments.model, arguments.seconds)))
        return 0
    tagger = Tagger(one, arguments.model)
    if arguments.what == "tag":
        print(json.dumps(tagger.tags(json.load(sys.stdin)), ensure_ascii=False))
    else:
        tag_speed.child(tagger.answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
