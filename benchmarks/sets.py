"""The ten text-classification sets: where their files are, how they are read, split and tokenised for every rival.

Standard library only, so that each competitor can import it in its own environment.

Every set is a TSV without a header: the label first, the text last. Where a set has no development file, the rivals
hold back a tenth of the training file, drawn by one fixed seed, so all of them choose on the same examples.
"""

from __future__ import annotations

import gzip
import os
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

DEV_FRACTION = 0.1
SPLIT_SEED = 20240607


class Example(NamedTuple):
    """One labelled text."""

    label: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What Gatework set out to reach on a set; accuracies in percent."""

    floor: float
    target: float
    megabytes: float
    minutes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSet:
    """One set: its recipe is `recipes/<name>.toml`, its files lie in `$GATEWORK_DATA/<folder>`."""

    name: str
    title: str
    folder: str
    language: str
    goal: Goal
    train: str = "train.tsv"
    dev: str | None = None
    test: str = "test.tsv"
    positive: str | None = None
    """The label whose F1 is reported beside accuracy, if any."""

    @property
    def scored_on(self) -> str:
        """`test`, or `dev` where the public test file has no labels."""
        return Path(self.test).name.split(".")[0]


SETS: dict[str, TextSet] = {
    one.name: one
    for one in (
        TextSet(
            name="sms-spam", title="SMS spam", folder="sms_spam", language="en", dev="dev.tsv", positive="spam",
            goal=Goal(floor=98.1, target=99.0, megabytes=0.5, minutes=1),
        ),
        TextSet(
            name="thucnews", title="THUCNews titles (60k of 180k)", folder="thucnews", language="zh",
            train="train.tsv.gz", dev="dev.tsv", goal=Goal(floor=89.8, target=91.5, megabytes=8, minutes=10),
        ),
        TextSet(
            name="tnews", title="TNEWS", folder="tnews", language="zh", train="train.tsv.gz", test="dev.tsv",
            goal=Goal(floor=55.1, target=56.5, megabytes=8, minutes=10),
        ),
        TextSet(
            name="agnews", title="AG News (10k of 120k)", folder="agnews", language="en",
            goal=Goal(floor=87.0, target=89.5, megabytes=3, minutes=5),
        ),
        TextSet(
            name="chnsenticorp", title="ChnSentiCorp", folder="chnsenticorp", language="zh", train="train.tsv.gz",
            dev="dev.tsv", goal=Goal(floor=92.0, target=93.5, megabytes=3, minutes=10),
        ),
        TextSet(
            name="online-shopping", title="online shopping reviews", folder="online_shopping_zh", language="zh",
            train="train.tsv.gz", dev="dev.tsv", goal=Goal(floor=93.5, target=95.0, megabytes=3, minutes=10),
        ),
        TextSet(
            name="imdb", title="IMDb", folder="imdb", language="en", train="train.tsv.gz", test="test.tsv.gz",
            goal=Goal(floor=89.9, target=92.0, megabytes=8, minutes=20),
        ),
        TextSet(
            name="sst2", title="SST-2 (with phrases)", folder="sst2", language="en", train="train_phrases.tsv.gz",
            dev="dev.tsv", goal=Goal(floor=83.5, target=86.5, megabytes=3, minutes=10),
        ),
        TextSet(
            name="trec6", title="TREC-6", folder="trec6", language="en",
            goal=Goal(floor=90.0, target=93.0, megabytes=1, minutes=2),
        ),
        TextSet(
            name="reuters-r8", title="Reuters R8", folder="reuters_r8", language="en", train="train.tsv.gz",
            goal=Goal(floor=96.4, target=97.3, megabytes=2, minutes=3),
        ),
    )
}  # fmt: skip


class Splits(NamedTuple):
    """A set as the rivals see it."""

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    held_out: bool
    """True where dev was taken out of the training file."""


def choose(names: Sequence[str]) -> list[TextSet]:
    """The sets of these names, all of them for none; an unknown name ends the program with one line."""
    unknown = [name for name in names if name not in SETS]
    if unknown:
        sys.exit(f"unknown set {unknown[0]!r}. Known: {', '.join(SETS)}.")
    return [SETS[name] for name in names] if names else list(SETS.values())


def data_folder() -> Path:
    """`$GATEWORK_DATA`; ends the program with one line where it is unset or no folder."""
    folder = Path(os.environ.get("GATEWORK_DATA", ""))
    if not os.environ.get("GATEWORK_DATA") or not folder.is_dir():
        sys.exit("GATEWORK_DATA must name the folder that holds the data sets, e.g. GATEWORK_DATA=../data.")
    return folder


def read(path: Path) -> Iterator[Example]:
    """Examples of a TSV file, plain or gzip: the first column is the label, the last the text."""
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            columns = line.rstrip("\r\n").split("\t")
            yield Example(columns[0], columns[-1])


def load(one: TextSet, data: Path) -> Splits:
    """All splits of a set in memory."""
    folder = data / one.folder
    train, test = list(read(folder / one.train)), list(read(folder / one.test))
    if one.dev is not None:
        return Splits(train, list(read(folder / one.dev)), test, held_out=False)
    train, dev = hold_out(train)
    return Splits(train, dev, test, held_out=True)


def hold_out(
    examples: Sequence[Example], fraction: float = DEV_FRACTION, seed: int = SPLIT_SEED
) -> tuple[list[Example], list[Example]]:
    """Split into (train, dev), stratified by label, identical texts on one side, file order kept in both."""
    texts_by_label: dict[str, list[str]] = defaultdict(list)
    copies: dict[str, int] = defaultdict(int)
    for label, text in examples:
        if text not in copies:
            texts_by_label[label].append(text)
        copies[text] += 1
    rng = random.Random(seed)
    held: set[str] = set()
    for label in sorted(texts_by_label):
        texts = texts_by_label[label]
        wanted, taken = fraction * sum(copies[text] for text in texts), 0
        for text in rng.sample(texts, len(texts)):
            if taken + copies[text] / 2 > wanted:
                break
            held.add(text)
            taken += copies[text]
    return [one for one in examples if one.text not in held], [one for one in examples if one.text in held]


_WORDS = re.compile(r"\w+|[^\w\s]")
_CHARACTERS = re.compile(r"[A-Za-z]+|[0-9]+|\S")


def tokens(text: str, language: str) -> list[str]:
    """Lower-cased words and single marks; for Chinese, characters with Latin and digit runs kept whole."""
    return (_CHARACTERS if language == "zh" else _WORDS).findall(text.lower())


def sentences(texts: Iterable[str], language: str, *, length: int = 20, most: int = 200) -> list[str]:
    """Up to `most` distinct stretches of test text of exactly `length` tokens, for timing.

    Short texts are joined, long ones cut; the stretches keep the spelling and spacing of the original.
    """
    pattern = _CHARACTERS if language == "zh" else _WORDS
    found: list[str] = []
    buffer = ""
    for text in texts:
        buffer = f"{buffer} {text}".strip()
        spans = [match.span() for match in pattern.finditer(buffer)]
        if len(spans) < length:
            continue
        found.append(buffer[spans[0][0] : spans[length - 1][1]])
        buffer = ""
        if len(found) == most:
            break
    return found
