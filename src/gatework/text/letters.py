"""Between tokens and what a character language model reads of them: their characters, and blanks where they are apart.

    He said : yes   ->   <end> H e _ s a i d _ : _ y e s <end>

Of a text it is known where tokens stand apart. Tokens alone are put together as their unit cuts them: single characters
without anything between them, others with a blank, but none beside a character of a script that is written without. A
sequence of more than POSITIONS ids is cut into rows that overlap, as for a BERT (`pieces`).

A blank between two tokens is the id 0, which is never in a text, before the ids of the second; rows have the blank's
own. Of a very long token the first MOST ids count. A token without characters (an empty text, the mark of a subword
that stands alone) is a blank.

Bundle entries `tokenizer/language/...` are those of the language model's own bundle (`running`). T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np

from gatework.core.batch import PieceBatch
from gatework.core.errors import BundleError
from gatework.text.pieces import LONGEST_CACHED, MOST_CACHED, Pieces, collate_pieces
from gatework.text.running import END, PADDING, SETTINGS, VOCABULARY, RunningCodec
from gatework.text.subwords import MARK
from gatework.text.units import CJK

FOLDER = "tokenizer/language/"
ENTRIES = {FOLDER + name.removeprefix("tokenizer/"): name for name in (SETTINGS, VOCABULARY)}
"""Ours, and their names in the bundle of the language model."""
POSITIONS = 1024
MOST = 256
SINGLE = ("glyph", "char")
"""Units whose tokens are single characters: what stands between them is a token of its own, or nothing."""

_LAST, _FIRST = re.compile(f"[{CJK}]\\Z"), re.compile(f"[{CJK}]")


class LetterCutter:
    """Tokens to characters, and sequences to rows; as `pieces.PieceCutter`."""

    def __init__(self, codec: RunningCodec, *, unit: str) -> None:
        """
        Args:
            codec: of the language model, of characters.
            unit: how the tokens are cut.
        """
        self.codec = codec
        self.single = unit in SINGLE
        self._blank = int(codec.encode(" ")[0])
        self._cache: dict[tuple[str, bool], tuple[int, ...]] = {}

    def encode(self, tokens: Sequence[str], apart: Sequence[bool] | None = None) -> Pieces:
        """The characters of each token, at least one each.

        Args:
            tokens: as they stand in the text.
            apart: whether something stands between a token and the one before it; None for what the unit says.
        """
        keys = zip(tokens, self._apart(tokens) if apart is None else apart, strict=True)
        found = [self._cache.get(key) or self._cut(key) for key in keys]
        starts_T = np.zeros(len(found) + 1, dtype=np.int32)
        np.cumsum(np.fromiter(map(len, found), dtype=np.int32, count=len(found)), out=starts_T[1:])
        ids_P = np.fromiter(chain.from_iterable(found), dtype=np.int32, count=int(starts_T[-1]))
        return Pieces(ids_P, starts_T)

    def collate(self, sequences: Sequence[Pieces]) -> PieceBatch:
        """Several sequences as rows."""
        batch = collate_pieces(sequences, positions=POSITIONS, begin=END, end=END)
        begin_N = batch.begin_N + (batch.ids_RP[batch.row_N, batch.begin_N] == PADDING)
        batch.ids_RP[batch.ids_RP == PADDING] = self._blank  # past the rows' ends too, where nothing is read
        return batch._replace(begin_N=begin_N)

    def to_entries(self) -> dict[str, bytes]:
        """The bundle entries this is read back from."""
        theirs = self.codec.to_entries()
        return {ours: theirs[name] for ours, name in ENTRIES.items()}

    @classmethod
    def from_entries(cls, entries: Mapping[str, Any], *, unit: str, source: str) -> LetterCutter:
        """Read what `to_entries` wrote. Raises BundleError naming `source`."""
        codec = RunningCodec.from_entries(
            {name: entries[ours] for ours, name in ENTRIES.items() if ours in entries}, source=f"{source}: {FOLDER}"
        )
        if codec.unit != "char":
            raise BundleError(f"{source}: {FOLDER}: a language model of {codec.unit}, not of characters.")
        return cls(codec, unit=unit)

    def _cut(self, key: tuple[str, bool]) -> tuple[int, ...]:
        token, gap = key
        text = " " if self.single and token == MARK else token[:MOST]
        ids = tuple(self.codec.encode(text).tolist()[:MOST])
        ids = (PADDING, *ids) if gap else ids or (self._blank,)
        if len(token) <= LONGEST_CACHED:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[key] = ids
        return ids

    def _apart(self, tokens: Sequence[str]) -> list[bool]:
        if self.single:
            return [False] * len(tokens)
        inner = (not _LAST.search(one) and not _FIRST.match(other) for one, other in pairwise(tokens))
        return [*([False] if tokens else []), *inner]


def apart(spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether tokens that stand there in a text have something before them that is no token; the first has not."""
    return [place > 0 and start > spans[place - 1][1] for place, (start, _) in enumerate(spans)]
