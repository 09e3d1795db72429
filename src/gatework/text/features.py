"""Features of a single token beside its vector: prefixes, suffixes and shape, as 32-bit keys of the n-gram table.

    prefix, suffix   the first and last 1 to n characters of the token as it stands, width folded, case kept
    shape            every capital X, other letter x, digit d, CJK character c, the rest itself; a run longer than two
                     counts as two: "McDonald's-95" is XxXxx'x-dd

Keys are the CRC-32 of a mark and the characters, so they share the table's space with n-grams and collide as rarely.

T tokens, F features: 2 n, and one more with the shape.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gatework.text.normalise import Normaliser

MOST_CACHED = 1 << 17
"""Tokens remembered; when there are more, the memory starts afresh."""
LONGEST_CACHED = 64
"""Characters of a token worth remembering."""
LONGEST_SHAPE = 24
"""Characters of a token that its shape reads."""

_LONG_RUN = re.compile(r"(.)\1{2,}", re.DOTALL)
_ASCII = str.maketrans(
    {chr(code): "X" if chr(code).isupper() else "x" if chr(code).isalpha() else "d" for code in range(128)
     if chr(code).isalnum()}
)  # fmt: skip


class TokenFeatures:
    """Which features a token has, and which rows of the table they are."""

    def __init__(self, *, affixes: int, shape: bool, fold_width: bool) -> None:
        self.affixes = affixes
        self.shape = shape
        self._written = Normaliser(lowercase=False, fold_width=fold_width)
        self._found: dict[str, bytes] = {}
        """Rows of tokens met before, as int32: bytes are joined faster than arrays."""

    @property
    def count(self) -> int:
        """F."""
        return 2 * self.affixes + self.shape

    def keys(self, surface: str) -> list[int]:
        """F keys of a token; 0 for an affix longer than the token."""
        token = self._written(surface)
        keys: list[int] = []
        for mark, part in (("p", slice(None, None)), ("s", slice(None, None, -1))):
            read = token[part]
            for length in range(1, self.affixes + 1):
                fits = length <= len(read)
                keys.append(zlib.crc32(f"\x01{mark}{read[:length]}".encode("utf-8", "replace")) if fits else 0)
        if self.shape:
            keys.append(zlib.crc32(f"\x01h{shape(token)}".encode()))
        return keys

    def fit(self, counts: Mapping[str, int], *, min_count: int, rows: int) -> npt.NDArray[np.uint32]:
        """Sorted keys of the features seen at least `min_count` times; of more than `rows`, of the commonest."""
        seen: Counter[int] = Counter()
        for surface, count in counts.items():
            for key in self.keys(surface):
                seen[key] += count
        del seen[0]
        kept = sorted((-count, key) for key, count in seen.items() if count >= min_count)[:rows]
        return np.array(sorted(key for _, key in kept), dtype=np.uint32)

    def find(self, surfaces: Sequence[str], keys_R: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """Rows plus one of the features of each token, 0 where not kept, (T, F). Always of the same table."""
        known = self._found
        rows = b"".join([known.get(surface) or self._learn(surface, keys_R) for surface in surfaces])
        return np.frombuffer(rows, dtype=np.int32).reshape(len(surfaces), self.count)

    def _learn(self, surface: str, keys_R: npt.NDArray[np.uint32]) -> bytes:
        keys_F = np.array(self.keys(surface), dtype=np.uint32)
        rows_F = np.zeros(self.count, dtype=np.int32)
        if len(keys_R):
            places_F = np.minimum(keys_R.searchsorted(keys_F), len(keys_R) - 1)
            rows_F = np.where((keys_R[places_F] == keys_F) & (keys_F != 0), places_F + 1, 0).astype(np.int32)
        value = rows_F.tobytes()
        if len(surface) <= LONGEST_CACHED:
            if len(self._found) >= MOST_CACHED:
                self._found.clear()
            self._found[surface] = value
        return value


def shape(token: str) -> str:
    """The shape of a token."""
    token = token[:LONGEST_SHAPE]
    marks = token.translate(_ASCII) if token.isascii() else "".join(map(_mark, token))
    return _LONG_RUN.sub(r"\1\1", marks)


def _mark(character: str) -> str:
    if character.isupper():
        return "X"
    if character.isdigit():
        return "d"
    if unicodedata.category(character) == "Lo":
        return "c"
    return "x" if character.isalpha() else character
