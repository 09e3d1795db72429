"""The seven sequence-labelling sets: where their files are, which columns count, what was set out for each.

Standard library only, so that each competitor can import it in its own environment.

Files hold a token a line, columns split by a tab, a blank line after each sentence. Entity tags are BIO.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Sentence(NamedTuple):
    """Tokens with their tags."""

    tokens: list[str]
    tags: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What was set out to be reached by one metric; percent."""

    metric: str
    """A name in the metrics of `gatework evaluate`."""
    title: str
    published: str
    floor: float
    target: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TagSet:
    """One set: its recipe is `recipes/<name>.toml`, its files lie in `$GATEWORK_DATA/<folder>`."""

    name: str
    title: str
    folder: str
    language: str
    minutes: float
    """Most that training may take."""
    goals: tuple[Goal, ...]
    train: str = "train.conll"
    dev: str = "dev.conll"
    test: str = "test.conll"
    tag: int = -1
    """Column of the tags; tokens are in the first."""
    spans: bool = True
    """Tags mark spans, so that F1 counts; else token accuracy."""
    segment: bool = False
    """Tokens of the file are words to be found in characters."""

    @property
    def unit(self) -> str:
        """What speed counts."""
        return "characters" if self.language == "zh" else "words"

    @property
    def scored_on(self) -> str:
        """`test`, or `dev` where the public test file has no labels."""
        return self.test.split(".")[0]


def _f1(published: str, floor: float, target: float) -> tuple[Goal, ...]:
    return (Goal(metric="f1", title="entity F1", published=published, floor=floor, target=target),)


SETS: dict[str, TagSet] = {
    one.name: one
    for one in (
        TagSet(
            name="ner-resume", title="Resume NER", folder="ner_resume_zh", language="zh", minutes=15,
            goals=_f1("char LSTM-CRF 93.5, lattice LSTM 94.5-95.2", 93.8, 95.5),
        ),
        TagSet(
            name="ner-msra", title="MSRA NER (46k sentences)", folder="ner_msra_zh", language="zh", minutes=40,
            train="train.conll.gz", goals=_f1("char LSTM-CRF 88.8, lattice LSTM 93.2", 89.0, 92.5),
        ),
        TagSet(
            name="ner-cluener", title="CLUENER (dev)", folder="ner_cluener_zh", language="zh", minutes=20,
            train="train.conll.gz", test="dev.conll", goals=_f1("BiLSTM-CRF 70.0 (hidden test)", 70.0, 74.0),
        ),
        TagSet(
            name="ner-conll2003", title="CoNLL-2003", folder="ner_conll2003_en", language="en", minutes=25,
            train="train.conll.gz", goals=_f1("BiLSTM-CRF 84.3 (no vectors)", 84.5, 87.5),
        ),
        TagSet(
            name="ner-conll2003-minilm", title="CoNLL-2003, frozen MiniLM", folder="ner_conll2003_en", language="en",
            minutes=40, train="train.conll.gz", goals=_f1("-", 88.5, 91.0),
        ),
        TagSet(
            name="pos-ewt", title="UD EWT, UPOS", folder="pos_ud_ewt_en", language="en", minutes=15, tag=1, spans=False,
            goals=(Goal(metric="accuracy", title="accuracy", published="about 95.4", floor=94.5, target=96.0),),
        ),
        TagSet(
            name="pos-pfr", title="PFR People's Daily", folder="pos_pfr199801_zh", language="zh", minutes=30,
            train="train.conll.gz", segment=True, goals=(
                Goal(metric="seg_f1", title="segmentation F1", published="-", floor=95.0, target=97.0),
                Goal(metric="f1", title="words with POS, F1", published="-", floor=91.0, target=94.0),
            ),
        ),
    )
}  # fmt: skip


def choose(names: Sequence[str], default: Sequence[str] = ()) -> list[TagSet]:
    """The sets of these names; for none those of `default`, or all. An unknown name ends the program."""
    unknown = [name for name in names if name not in SETS]
    if unknown:
        sys.exit(f"unknown set {unknown[0]!r}. Known: {', '.join(SETS)}.")
    return [SETS[name] for name in names or default or SETS]


def read(one: TagSet, path: Path) -> Iterator[Sentence]:
    """Sentences of a file of this set, plain or gzip; of one to be segmented, characters with tags of their words."""
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8", newline="\n") as lines:
        sentence = Sentence([], [])
        for line in lines:
            columns = line.rstrip("\r\n").split("\t")
            if columns != [""]:
                sentence.tokens.append(columns[0])
                sentence.tags.append(columns[one.tag])
            elif sentence.tokens:
                yield in_characters(sentence) if one.segment else sentence
                sentence = Sentence([], [])
        if sentence.tokens:
            yield in_characters(sentence) if one.segment else sentence


def in_characters(sentence: Sentence) -> Sentence:
    """Words as their characters, tagged B, I, E or S with the word's tag."""
    marks = ["S" if len(word) == 1 else f"B{'I' * (len(word) - 2)}E" for word in sentence.tokens]
    tags = [f"{mark}-{tag}" for row, tag in zip(marks, sentence.tags, strict=True) for mark in row]
    return Sentence(list("".join(sentence.tokens)), tags)


def repaired(tags: Sequence[str]) -> list[str]:
    """BIO tags with an `I-` that continues nothing read as `conlleval` reads it: it begins a span."""
    before = ["O", *tags]
    return [
        f"B{tag[1:]}" if tag.startswith("I-") and last[1:] != tag[1:] else tag
        for tag, last in zip(tags, before, strict=False)
    ]


def of_length(
    sentences: Sequence[Sequence[str]], *, length: int = 20, slack: int = 2, most: int = 200
) -> list[list[str]]:
    """Up to `most` sentences of `length` tokens, give or take `slack`, for timing."""
    return [list(tokens) for tokens in sentences if abs(len(tokens) - length) <= slack][:most]
