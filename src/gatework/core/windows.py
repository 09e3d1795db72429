"""Long sequences read in windows that overlap, for heads that answer at every token.

A sequence of more tokens than the window is read in windows of `most` tokens, each beginning half a window after the
one before. Of each token's outputs those count that were made farthest from the edge of a window, so every token that
is not at the sequence's own end has been seen with at least a quarter of a window on either side. How long the
sequence is does not matter to them.

B sequences, W windows, T tokens of the longest window.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


class Window(NamedTuple):
    """Tokens `start` to `end` of a sequence, of whose outputs those of `first` to `last` count."""

    start: int
    end: int
    first: int
    last: int


def stride(most: int) -> int:
    """Tokens from the beginning of a window to that of the next."""
    return max(1, most // 2)


def windows(length: int, most: int) -> list[Window]:
    """The windows of a sequence; one where it fits."""
    if length <= most:
        return [Window(0, length, 0, length)]
    step = stride(most)
    margin = (most - step) // 2
    starts = [*range(0, length - most, step), length - most]
    cuts = [0, *(start + margin for start in starts[1:]), length]
    return [Window(start, start + most, *kept) for start, kept in zip(starts, pairwise(cuts), strict=True)]


def cut(one: Any, start: int, end: int) -> Any:
    """Tokens `start` to `end` of an encoded text (`text.Encoded`)."""
    if start == 0 and end == len(one.tokens):
        return one
    parts = {"tokens": one.tokens[start:end], "local": one.local[start:end]}
    if one.characters is not None:
        parts["characters"] = one.characters[start:end]
    if (lexicon := getattr(one, "lexicon", None)) is not None:
        low, high = np.searchsorted(lexicon.slots, [4 * start, 4 * end])
        slots = lexicon.slots[low:high] - np.int32(4 * start)
        parts["lexicon"] = type(lexicon)(slots, lexicon.rows[low:high], lexicon.weights[low:high])
    if (pieces := getattr(one, "pieces", None)) is not None:
        low, high = pieces.starts_T[start], pieces.starts_T[end]
        parts["pieces"] = type(pieces)(pieces.ids_P[low:high], pieces.starts_T[start : end + 1] - low)
    if getattr(one, "hidden", None) is not None:
        parts["hidden"] = one.hidden[start:end]
    return one._replace(**parts)


class Pieces(NamedTuple):
    """Some sequences cut into windows."""

    encoded: list[Any]
    """Each window, as a text of its own; of a sequence they follow one another."""
    lengths_B: Int64
    """Tokens of each sequence."""
    rows_BL: Int64 | None
    """Where the outputs of each token of each sequence lie among those of the windows: window * T + token; -1 past a
    sequence's length. None where every sequence is one window."""


def cut_all(encoded: Sequence[Any], most: int) -> Pieces:
    """Cut what is longer than `most` tokens."""
    lengths_B = np.fromiter((len(one.tokens) for one in encoded), dtype=np.int64, count=len(encoded))
    longest = int(lengths_B.max(initial=0))
    if longest <= most:
        return Pieces(list(encoded), lengths_B, None)
    pieces: list[Any] = []
    rows_BL = np.full((len(encoded), longest), -1, dtype=np.int64)
    for one, length, row_L in zip(encoded, lengths_B.tolist(), rows_BL, strict=True):
        for window in windows(length, most):
            at = len(pieces) * most + window.first - window.start
            row_L[window.first : window.last] = np.arange(at, at + window.last - window.first)
            pieces.append(cut(one, window.start, window.end))
    return Pieces(pieces, lengths_B, rows_BL)
