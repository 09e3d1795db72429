"""The pairs of a recipe, part by part: how each file is read, and what of the training file is held back.

Pairs are held back by their source, equal ones together: which, is decided by a number of the source alone, so nothing
is kept in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError
from gatework.tasks.task import Say

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.text.pairs import OnEmpty, Pair, PairFormat

PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Sources:
    """The files of a recipe."""

    paths: dict[str, str]
    """For each part there is, its file."""
    targets: dict[str, str]
    """The same of targets in files of their own."""
    formats: dict[str, PairFormat]
    share: float = 0.0
    """Part of the training pairs that is dev; 0 with a dev file."""
    seed: int = 0
    inferred: tuple[str, ...] = ()

    @classmethod
    def open(cls, recipe: Recipe, say: Say, *, dialogue: bool) -> Sources:
        """Infer what the recipe leaves to be inferred, and say it."""
        from gatework.text.pairs import pair_format

        data = recipe.data
        if not data.train:
            raise ConfigError("data.train is not set. Give the training file, such as data.train = 'train.tsv'.")
        given = {"train": data.train, "dev": data.dev, "test": data.test}
        paths = {part: path for part, path in given.items() if isinstance(path, str)}
        targets = target_files(paths, data, say)
        formats: dict[str, PairFormat] = {}
        inferred: list[str] = []
        for part, path in paths.items():
            formats[part] = pair_format(path, data, beside=targets.get(part), dialogue=dialogue)
            sentence = f"{part}: {Path(path).name}: {formats[part].describe()}"
            if not inferred or formats[part] != formats["train"]:
                inferred.append(sentence)
                say(sentence)
        share = 0.0 if "dev" in paths else float(data.dev)
        return cls(paths, targets, formats, share, recipe.train.seed, tuple(inferred))

    def read(self, part: str, on_empty: OnEmpty | None = None) -> Iterator[Pair]:
        """The pairs of a part, in order; those of the training file with an empty side are left out.

        Args:
            on_empty: told of what is left out. Raises DataError: a side is empty in a file of dev or test.
        """
        from gatework.text.pairs import read_pairs

        own = "train" if part == "dev" and self.share else part
        told = (on_empty or _ignored) if own == "train" else None
        pairs = read_pairs(self.paths[own], self.formats[own], beside=self.targets.get(own), on_empty=told)
        if own == "test" or not self.share:
            return pairs
        return (pair for pair in pairs if self._held(pair.source) == (part == "dev"))

    def _held(self, source: str) -> bool:
        digest = blake2b(f"{self.seed}\n{' '.join(source.split())}".encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest, "little") < self.share * 2.0**64


def _ignored(line: int, side: str) -> None:
    """Whoever counts gives another function."""


def target_files(paths: dict[str, str], data: Any, say: Say) -> dict[str, str]:
    """Files of targets by part: as the recipe says, or beside those of the sources.

    Raises: ConfigError: some parts have one and others none, or several could be meant.
    """
    from gatework.text.pairs import language_of, target_beside

    targets = {part: getattr(data, f"{part}_target", None) for part in PARTS}
    found = {part: path for part, path in targets.items() if path is not None}
    like = language_of(found.get("train", ""))
    for part, path in paths.items():
        if part in found or (beside := target_beside(path, data, like=like)) is None:
            continue
        found[part] = beside
        like = like or language_of(beside)
        say(f"{part}: targets from {Path(beside).name} (beside {Path(path).name}; data.{part}_target says otherwise)")
    for part in found:
        if part not in paths:
            raise ConfigError(f"data.{part}_target is set, but data.{part} names no file. Set both.")
    for part in paths:
        if found and part not in found:
            raise ConfigError(f"data.{part}_target is not set, but another part's is. Give the file of its targets.")
    return found


class Empties:
    """Counts pairs of the training part with an empty side, which are left out."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first = 0

    def __call__(self, line: int, side: str) -> None:
        self.counts[side] += 1
        self.first = self.first or line

    def sentence(self, path: str) -> str:
        """What was left out; empty for nothing."""
        total = self.counts.total()
        return f"{path}:{self.first}: {total:,} pairs with an empty side left out, this one first" if total else ""
