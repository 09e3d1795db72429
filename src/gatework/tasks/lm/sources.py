"""The documents of a recipe, part by part: how each file is read, and what of the training file is held back.

Of running text (`data.carry`) the end of the training file is held back: of one document its last characters, else its
last documents. Of documents read each on its own, ones drawn at random are, equal ones together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.core.errors import ConfigError, DataError
from gatework.tasks.lm.codec import Settings
from gatework.tasks.task import Say

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.text.documents import DocumentFormat, Piece


@dataclass(frozen=True)
class Sources:
    """The files of a recipe."""

    paths: dict[str, str]
    """For each part there is (train, dev, test), its file."""
    formats: dict[str, DocumentFormat]
    settings: Settings
    held: Any = None
    """What of the training file is dev: the first character of it, or which documents; None with a dev file."""
    inferred: tuple[str, ...] = ()

    @classmethod
    def open(cls, recipe: Recipe, say: Say) -> Sources:
        """Infer what the recipe leaves to be inferred, hold back dev where it has no file, and say it."""
        from gatework.text.documents import document_format

        data = recipe.data
        if not data.train:
            raise ConfigError("data.train is not set. Give the training file, such as data.train = 'train.txt'.")
        paths = {"train": data.train}
        if isinstance(data.dev, str):
            paths["dev"] = data.dev
        if data.test is not None:
            paths["test"] = data.test
        train = document_format(data.train, data)
        like = data.model_copy(update={"documents": train.kind}) if train.kind != "rows" else data
        formats = {part: document_format(path, like) if part != "train" else train for part, path in paths.items()}
        carry = train.kind != "rows" if data.carry == "auto" else bool(data.carry)
        if not carry and train.kind == "file":
            raise ConfigError("data.carry = false needs documents. Set data.documents to line or blank.")
        settings = Settings(documents=train.kind, carry=carry, template=data.template)
        inferred = [f"train: {Path(data.train).name}: {train.describe()}"]
        inferred.append("each document is read on from the one before it" if carry else "documents are read alone")
        for sentence in inferred:
            say(sentence)
        held = None if "dev" in paths else _held_back(data.train, train, carry, float(data.dev), recipe.train.seed)
        return cls(paths, formats, settings, held, tuple(inferred))

    def read(self, part: str) -> Iterator[Piece]:
        """The documents of a part, in order, piece by piece."""
        from gatework.text.documents import read_documents

        if self.held is None or part == "test":
            return read_documents(self.paths[part], self.formats[part])
        pieces = read_documents(self.paths["train"], self.formats["train"])
        if isinstance(self.held, int):
            return _cut(pieces, self.held, after=part == "dev")
        return _chosen(pieces, self.held if part == "dev" else ~self.held)


def _held_back(path: str, found: DocumentFormat, carry: bool, fraction: float, seed: int) -> Any:
    from gatework.text.documents import read_documents
    from gatework.text.readers import text_key

    pieces = read_documents(path, found)
    if found.kind == "file":
        characters = sum(len(piece.text) for piece in pieces)
        if characters < 2:
            raise DataError(f"{path}: {characters} characters, so that none can be held back for dev. Add text.")
        return min(characters - 1, max(1, int(characters * (1.0 - fraction))))
    keys, key = array("Q"), 0
    for piece in pieces:
        key = key * 31 + text_key(piece.text) & (1 << 64) - 1
        if piece.ends:
            keys.append(key)
            key = 0
    if len(keys) < 2:
        raise DataError(f"{path}: a single document, so that none can be held back for dev. Add some.")
    wanted = min(len(keys) - 1, max(1, round(fraction * len(keys))))
    if carry:
        return np.arange(len(keys)) >= len(keys) - wanted
    _, group_N = np.unique(np.array(keys, dtype=np.uint64), return_inverse=True)
    groups = int(group_N.max()) + 1
    if groups < 2:
        raise DataError(f"{path}: all documents are the same, so that none can be held back for dev. Add some.")
    rng = np.random.default_rng([seed, 0xDE5])
    return np.isin(group_N, rng.permutation(groups)[: min(groups - 1, max(1, round(fraction * groups)))])


def _cut(pieces: Iterator[Piece], border: int, *, after: bool) -> Iterator[Piece]:
    """What stands before, or after, a character of the text."""
    at = 0
    for piece in pieces:
        place = min(max(0, border - at), len(piece.text))
        at += len(piece.text)
        kept = piece.text[place:] if after else piece.text[:place]
        if kept:
            line = piece.line + piece.text[:place].count("\n") if after else piece.line
            yield piece._replace(text=kept, line=line)
        if at >= border and not after:
            return


def _chosen(pieces: Iterator[Piece], wanted_N: Any) -> Iterator[Piece]:
    document = 0
    for piece in pieces:
        if wanted_N[document]:
            yield piece
        document += piece.ends
