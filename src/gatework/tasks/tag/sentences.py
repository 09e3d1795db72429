"""Running text as sentences of tokens, as near to those of training as can be told.

A text is cut at blank lines; where training sentences hold one sentence each (`inner_stops`, `MOST`), also after a sign
that ends a sentence, and in Chinese at every line break. A sign that Latin script shares with abbreviations ends one
only before white space and no small letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gatework.text.sentences import CLOSING, STOPS, WIDE

MOST = 0.3
"""Ends of a sentence inside a training sentence, on average, up to which texts are cut at them."""

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n|\r\n[^\S\n]*\r\n|\r\r")
_LINE = re.compile(r"[\n\r]")
Offsets = Sequence[tuple[int, int]]


def inner_stops(tokens: Sequence[str]) -> int:
    """Signs that end a sentence, other than at its end, in a training sentence."""
    return sum(map(STOPS.__contains__, tokens[:-2]))


def cut(text: str, offsets: Offsets, *, stops: bool, lines: bool) -> Iterator[range]:
    """Ranges of tokens, one for each sentence.

    Args:
        text: whole.
        offsets: of its tokens.
        stops: whether signs that end a sentence count.
        lines: whether every line break counts.
    """
    start, break_ = 0, _LINE if lines else _BLANK_LINE
    for place in range(1, len(offsets)):
        gap = text[offsets[place - 1][1] : offsets[place][0]]
        border = bool(gap) and (break_.search(gap) is not None)
        if border or (stops and _ends(text, offsets, place, gap)):
            yield range(start, place)
            start = place
    if offsets:
        yield range(start, len(offsets))


def _ends(text: str, offsets: Offsets, place: int, gap: str) -> bool:
    """Whether a sentence ends before the token at `place`."""
    last = place - 1
    sign = text[slice(*offsets[last])]
    while last > 0 and sign in CLOSING:
        last -= 1
        sign = text[slice(*offsets[last])]
    if sign not in STOPS:
        return False
    following = text[slice(*offsets[place])]
    if following in STOPS or following in CLOSING:
        return False
    return sign in WIDE or (bool(gap) and not following[0].islower())
