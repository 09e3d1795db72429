"""The files of a tagging recipe: how each is read, what is in it, and what there is to say about that."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.tasks.tag.sentences import inner_stops
from gatework.tasks.task import Say

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.text import Sentence, TagFormat

SPACE = "▁"
"""The sign that data sets write for a blank that is a token."""
SAMPLE = 2_000
"""Training sentences that the unit is chosen from."""


@dataclass(frozen=True)
class Sources:
    """The files of a recipe."""

    recipe: Recipe
    """Nothing left to infer about reading."""
    paths: dict[str, str]
    """For each part there is (train, dev, test), its file."""
    formats: dict[str, TagFormat]
    inferred: list[str]

    @classmethod
    def open(cls, recipe: Recipe, say: Say) -> Sources:
        """Infer what the recipe leaves to be inferred, part by part, and say it."""
        from gatework.text import infer_tagged

        if not recipe.data.train:
            raise ConfigError("data.train is not set. Give the training file, such as data.train = 'train.conll'.")
        paths = {"train": recipe.data.train}
        if isinstance(recipe.data.dev, str):
            paths["dev"] = recipe.data.dev
        if recipe.data.test is not None:
            paths["test"] = recipe.data.test
        train = infer_tagged(recipe.data.train, recipe.data)
        formats = {
            part: infer_tagged(path, recipe.data, like=train) if part != "train" else train
            for part, path in paths.items()
        }
        inferred = [f"{part}: {Path(paths[part]).name}: {found.describe()}" for part, found in formats.items()]
        opened = cls(recipe, paths, formats, inferred)
        unit, why = opened._unit()
        if recipe.input.unit == "auto":
            inferred.append(f"unit of running text: {unit} ({why})")
        for sentence in inferred:
            say(sentence)
        data = {"language": train.language, "scheme": train.schemes[0] if train.schemes else "none"}
        if train.segment:
            data.pop("scheme")
        return cls(recipe.replace(data=data, input={"unit": unit}), paths, formats, inferred)

    def read(self, part: str, left_out: Counter[str] | None = None) -> Iterator[Sentence]:
        """The sentences of a part, in order."""
        from gatework.text import read_tagged

        return read_tagged(self.paths[part], self.formats[part], left_out=left_out, cut=self._cut())

    def _cut(self) -> Any:
        from gatework.text.units import pieces

        return partial(pieces, self.recipe.input.unit)

    def _unit(self) -> tuple[str, str]:
        """The unit that cuts running text most as the training file is cut, and why."""
        from gatework.text.units import best_unit

        if self.recipe.input.unit != "auto":
            return self.recipe.input.unit, ""
        train = self.formats["train"]
        if train.segment:
            return "glyph", "words are cut into characters"
        if train.running_text:
            return ("glyph", "text in Chinese") if train.language == "zh" else ("treebank", "text in words")
        sample = [one.tokens for one in islice(self.read("train"), SAMPLE)]
        unit, share = best_unit(token for tokens in sample for token in tokens)
        return unit, f"it leaves {share:.1%} of the training tokens whole"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a file found; its sentences are not kept."""

    path: str
    text_N: npt.NDArray[np.uint64] = field(repr=False)
    """A number of each sentence; the same for equal tokens."""
    length_N: npt.NDArray[np.int64] = field(repr=False)
    tags: tuple[Counter[str], ...]
    """For each layer, tokens with each tag."""
    first_line: tuple[dict[str, int], ...]
    """For each layer, the line of the sentence where a tag first stands."""
    unknown: int
    """Tokens whose tag in the first layer is not known."""
    left_out: Counter[str]
    stops: int
    """Signs that end a sentence, inside of sentences."""
    spaces: int
    """Sentences with the token SPACE."""

    def __len__(self) -> int:
        return len(self.text_N)


def survey(path: str, sentences: Iterable[Sentence], layers: int, left_out: Counter[str]) -> Survey:
    """Look through tagged sentences. `left_out` is what reading them counts."""
    from gatework.text import text_key

    keys, lengths, stops, spaces = array("Q"), array("q"), 0, 0
    tags = tuple(Counter[str | None]() for _ in range(layers))
    first: tuple[dict[str, int], ...] = tuple({} for _ in range(layers))
    for sentence in sentences:
        keys.append(text_key(" ".join(sentence.tokens)))
        lengths.append(len(sentence.tokens))
        stops += inner_stops(sentence.tokens)
        spaces += SPACE in sentence.tokens
        for counter, lines, row in zip(tags, first, sentence.tags, strict=True):
            counter.update(row)
            if len(counter) > len(lines):
                for tag in row:
                    lines.setdefault(tag or "", sentence.line)
    if not keys:
        raise DataError(f"{path}: no sentences. Give one token a line with its tag, a blank line after each sentence.")
    return Survey(
        path=path,
        text_N=np.array(keys, dtype=np.uint64),
        length_N=np.array(lengths, dtype=np.int64),
        tags=tuple(Counter({tag: count for tag, count in counter.items() if tag is not None}) for counter in tags),
        first_line=first,
        unknown=tags[0][None],
        left_out=left_out,
        stops=stops,
        spaces=spaces,
    )
