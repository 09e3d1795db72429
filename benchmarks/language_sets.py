"""The five language-modelling sets: where their files are, how they are counted, what was set out for each.

Standard library only.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sets import data_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageSet:
    """One set: its recipe is `recipes/<name>.toml`, its files lie in `$GATEWORK_DATA/<folder>`."""

    name: str
    title: str
    metric: str
    """A name in the metrics of `gatework evaluate`; the lower the better."""
    shown: str
    """The metric as a reader knows it."""
    published: str
    floor: float
    target: float
    minutes: float
    """Most that training may take."""
    folder: str
    test: str
    tail: float = 0.0
    """Share at the end of the file `test` that is scored; 0 for the whole file."""
    words: bool = False
    """Tokens are words, so that a cache of the text so far and learning on from it are measured too."""

    @property
    def scored_on(self) -> str:
        return "dev" if self.tail else "test"

    @contextmanager
    def text(self) -> Iterator[Path]:
        """The file that is scored."""
        path = data_folder() / self.folder / self.test
        if not self.tail:
            yield path
            return
        with tempfile.TemporaryDirectory() as scratch:
            whole = path.read_text(encoding="utf-8")
            part = Path(scratch) / path.name
            part.write_text(whole[int(len(whole) * (1.0 - self.tail)) :], encoding="utf-8")
            yield part


SETS: dict[str, LanguageSet] = {
    one.name: one
    for one in (
        LanguageSet(
            name="lm-ptb-small", title="PTB, words, 2 x 200", metric="perplexity", shown="perplexity",
            published="114.5", floor=114.0, target=100.0, minutes=20, folder="ptb", test="ptb.test.txt", words=True,
        ),
        LanguageSet(
            name="lm-ptb", title="PTB, words, best in the time", metric="perplexity", shown="perplexity",
            published="82.7 medium, 78.4 large, 57.3 AWD", floor=90.0, target=76.0, minutes=90, folder="ptb",
            test="ptb.test.txt", words=True,
        ),
        LanguageSet(
            name="lm-ptb-char", title="PTB, characters", metric="bits_per_char", shown="bits a character",
            published="1.175, large, on a GPU", floor=1.40, target=1.28, minutes=90, folder="ptb", test="ptb.test.txt",
        ),
        LanguageSet(
            name="lm-shakespeare", title="tinyshakespeare, characters", metric="nats_per_char",
            shown="nats a character", published="1.88 Transformer, 3 min on a CPU; 1.47 on a GPU", floor=1.60,
            target=1.47, minutes=15, folder="tinyshakespeare", test="input.txt", tail=0.1,
        ),
        LanguageSet(
            name="lm-tang", title="Tang poems, characters", metric="perplexity", shown="perplexity",
            published="125.97 4-gram Kneser-Ney, measured here", floor=107.0, target=88.0, minutes=30,
            folder="tang_poems_zh", test="test.tsv",
        ),
    )
}  # fmt: skip
"""By name of the recipe."""


def choose(names: Sequence[str]) -> list[LanguageSet]:
    """Sets by name, all without names. Exits where one is unknown."""
    if unknown := sorted(set(names) - set(SETS)):
        sys.exit(f"unknown set {unknown[0]!r}. Known: {', '.join(SETS)}.")
    return [SETS[name] for name in names or SETS]
