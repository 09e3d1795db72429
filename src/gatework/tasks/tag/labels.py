"""Tags as numbers: the tags a network gives, the tags a file holds, and the spans of a row of either, all at once.

Spans follow the rules of `core.tag_scheme`, for every token of a set in a few array operations.

N tokens of all sentences, S spans, K tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.tag_scheme import INSIDE, Constraints, constraints, split

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
MARKS = "OBIES"


class Layer(NamedTuple):
    """One layer of tags."""

    name: str
    scheme: str
    """As files write it, and answers too: one of `tag_scheme.SCHEMES`, or "none" where tags mark no spans."""
    labels: tuple[str, ...]
    """In the order of the network's outputs; of spans, in the scheme INSIDE."""

    @property
    def has_spans(self) -> bool:
        return self.scheme != "none"

    @property
    def constraints(self) -> Constraints | None:
        return constraints(self.labels, INSIDE) if self.has_spans else None


def label_order(tags: Iterable[str], *, spans: bool) -> tuple[str, ...]:
    """Tags in the order of a network's outputs: O first, then type by type B, I, E, S; without spans by name."""
    if not spans:
        return tuple(sorted(tags))
    return tuple(sorted(tags, key=lambda tag: (tag != "O", split(tag)[1], MARKS.index(split(tag)[0]))))


class Spans(NamedTuple):
    """Spans of many sentences, by the place of their tokens among all tokens."""

    start_S: IntArray
    end_S: IntArray
    kind_S: IntArray
    """Number of the type, as in `TagTable.kinds`."""


class TagTable:
    """Marks and types of some tags, for arrays of their numbers; -1 stands for an unknown tag and reads as O."""

    def __init__(self, labels: Sequence[str], kinds: Sequence[str] = ()) -> None:
        parts = [split(label) for label in labels]
        self.kinds: tuple[str, ...] = tuple(dict.fromkeys((*kinds, *(kind for mark, kind in parts if mark != "O"))))
        """Types, by number."""
        number = {kind: index for index, kind in enumerate(self.kinds)}
        # One entry more, for -1.
        self._mark_K = np.array([*(MARKS.index(mark) for mark, _ in parts), 0], dtype=np.int8)
        self._kind_K = np.array([*(number.get(kind, -1) if mark != "O" else -1 for mark, kind in parts), -1])

    def spans(self, tags_N: npt.NDArray[np.integer], first_N: BoolArray) -> Spans:
        """The spans in tags of sentences one after the other; `first_N` tells where each begins."""
        mark_N, kind_N = self._mark_K[tags_N], self._kind_K[tags_N]
        last_N = np.append(first_N[1:], True)
        before_N = np.where(first_N, 0, np.roll(mark_N, 1))
        after_N = np.where(last_N, 0, np.roll(mark_N, -1))
        other_before_N = np.roll(kind_N, 1) != kind_N
        other_after_N = np.roll(kind_N, -1) != kind_N
        o, b, i, e, s = range(5)
        begins_N = (mark_N == b) | (mark_N == s)
        begins_N |= ((mark_N == i) | (mark_N == e)) & (np.isin(before_N, [o, e, s]) | other_before_N)
        ends_N = (mark_N == e) | (mark_N == s)
        ends_N |= ((mark_N == b) | (mark_N == i)) & (np.isin(after_N, [o, b, s]) | other_after_N)
        start_S = np.flatnonzero(begins_N)
        return Spans(start_S, np.flatnonzero(ends_N) + 1, kind_N[start_S])

    def written(self, tags_N: npt.NDArray[np.integer], first_N: BoolArray, scheme: str) -> IntArray:
        """A number of each token's tag as a scheme writes it: equal numbers, equal tags."""
        mark_N, kind_N = self._mark_K[tags_N].astype(np.int64), self._kind_K[tags_N]
        if scheme in ("bio", "iob1"):
            begins_N = (mark_N == 1) | (mark_N == 4)
            if scheme == "iob1":  # B only after a span of the same type
                same_N = ~first_N & (np.roll(kind_N, 1) == kind_N) & (np.roll(mark_N, 1) != 0)
                begins_N &= same_N
            mark_N = np.where(mark_N == 0, 0, np.where(begins_N, 1, 2))
        numbers_N: IntArray = mark_N + 5 * (kind_N + 1)
        return numbers_N


def first_of(lengths: npt.NDArray[np.integer]) -> BoolArray:
    """Which of all tokens begin a sentence, from the lengths of the sentences, each at least 1."""
    first_N = np.zeros(int(np.sum(lengths)), dtype=bool)
    starts = np.cumsum(lengths) - lengths
    first_N[starts[np.asarray(lengths) > 0]] = True
    return first_N
