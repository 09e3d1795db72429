"""What a user allows: tags fixed or forbidden at places, as masks for the decoder.

    {3: "B-PER"}           token 3 has this tag               {3: "PER"}         token 3 is in a span of this type
    {3: ["B-PER", "O"]}    one of these                       {3: "-PER"}        no tag of this type; so for a tag
    {(2, 5): "PER"}        tokens 2 to 4 are one span         {(2, 5): None}     no span there; so for a place

For a string places are characters: a place means the token that holds it, a pair every token it touches.

T tokens of a part, C tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, nearest
from gatework.core.tag_scheme import from_inside, split
from gatework.tasks.tag.labels import Layer

if TYPE_CHECKING:
    from gatework.tasks.tag.codec import TagExample

Bools = npt.NDArray[np.bool_]


def masks(allow: Any, example: TagExample, layer: Layer) -> list[Bools | None]:
    """For each part of an example, which tags each token may have, (T, C); None for all. Raises ConfigError."""
    if not isinstance(allow, Mapping):
        raise ConfigError(f"allow must map places to tags, such as {{3: 'B-PER'}}, got {type(allow).__name__}.")
    names = _Names(layer)
    offsets = [one for part in example.parts for one in part.offsets]
    whole_TC = np.ones((len(offsets), len(layer.labels)), dtype=bool)
    for place, said in allow.items():
        tokens = _tokens(place, offsets, example.given)
        whole_TC[tokens.start : tokens.stop] &= (
            names.span(said, len(tokens)) if isinstance(place, tuple) else names.one(said)
        )
    found: list[Bools | None] = []
    for part in example.parts:
        mask_TC = whole_TC[part.first : part.first + len(part.offsets)]
        found.append(None if mask_TC.all() else mask_TC)
    return found


def _tokens(place: Any, offsets: Sequence[tuple[int, int]], given: bool) -> range:
    """The tokens that a place means."""
    start, end = place if isinstance(place, tuple) and len(place) == 2 else (place, None)
    last = start if end is None else end
    if type(start) is not int or type(last) is not int:
        raise ConfigError(f"allow: {place!r} is no place. Use a position, or a pair of positions (start, end).")
    if given:
        found = range(start, start + 1 if end is None else end)
        if not 0 <= found.start < found.stop <= len(offsets):
            raise ConfigError(f"allow: {place!r} is outside the {len(offsets)} tokens, counted from 0.")
        return found
    stop = start + 1 if end is None else end
    touched = [index for index, (begin, after) in enumerate(offsets) if begin < stop and after > start]
    if not touched or start < 0:
        raise ConfigError(f"allow: there is no token at {place!r} of the text; places of a string are its characters.")
    return range(touched[0], touched[-1] + 1)


class _Names:
    """The rows of a mask that a tag or type stands for."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._types = tuple(dict.fromkeys(split(label)[1] for label in layer.labels if label != "O"))

    def one(self, said: Any) -> Bools:
        """Which tags a token may have, (C,)."""
        if said is None:
            self._need_spans("None")
            return self._match("O")
        return self._any(said, lambda name: self._match(name))

    def span(self, said: Any, length: int) -> Bools:
        """Which tags the tokens of a span may have, (length, C)."""
        self._need_spans("a pair of positions")
        if said is None:
            return np.broadcast_to(self._match("O"), (length, len(self._layer.labels)))
        marks = ["S"] if length == 1 else ["B", *"I" * (length - 2), "E"]

        def rows(name: str) -> Bools:
            if name not in self._types:
                raise ConfigError(f"allow: there is no type {name!r} of spans. {nearest(name, self._types)}")
            labels = [f"{mark}-{name}" if name else mark for mark in marks]
            return np.array([[label == one for one in self._layer.labels] for label in labels])

        return self._any(said, rows, forbid=lambda name: ~self._match(name)[None].repeat(length, axis=0))

    def _any(self, said: Any, match: Any, forbid: Any = None) -> Bools:
        names = [said] if isinstance(said, str) else list(said) if isinstance(said, list | tuple | set) else []
        if not names or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"allow: {said!r} is no tag. Name one or several, None for no span, or '-TAG' to forbid one."
            )
        kept = [name for name in names if not self._forbids(name)]
        mask: Bools = np.logical_or.reduce([match(name) for name in kept]) if kept else np.array(True)
        for name in names:
            if self._forbids(name):
                mask = mask & (forbid(name[1:]) if forbid is not None else ~match(name[1:]))
        return mask

    def _forbids(self, name: str) -> bool:
        return name.startswith("-") and name not in self._layer.labels  # "-LRB-" is a tag

    def _match(self, name: str) -> Bools:
        """The tags that a name stands for: itself as the file writes it, or a type."""
        labels, has_spans = self._layer.labels, self._layer.has_spans
        if has_spans and name in self._types and name:
            return np.array([split(label)[1] == name for label in labels])
        wanted = {name}
        if has_spans and self._layer.scheme in ("bio", "iob1") and name[:1] in ("B", "I"):
            # What files write as B- begins a span of one token too; iob1 writes I- for nearly all.
            inside = {"B": "BS", "I": "IE" if self._layer.scheme == "bio" else "BIES"}[name[0]]
            wanted = {mark + name[1:] for mark in inside}
        elif has_spans and self._layer.scheme in ("bmes", "bilou"):
            wanted = {{"M": "I", "L": "E", "U": "S"}.get(name[:1], name[:1]) + name[1:]}
        mask = np.array([label in wanted for label in labels])
        if not mask.any():
            scheme = "bio" if self._layer.scheme == "iob1" else self._layer.scheme
            known = (*from_inside(labels, scheme), *self._types) if has_spans else labels
            raise ConfigError(
                f"allow: there is no tag {name!r}. {nearest(name, sorted({one for one in known if one}))}"
            )
        return mask

    def _need_spans(self, what: str) -> None:
        if not self._layer.has_spans:
            raise ConfigError(f"allow: {what} is about spans, and the tags of this model mark none. Name a position.")
