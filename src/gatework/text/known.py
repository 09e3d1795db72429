"""What a codec has learnt of pieces of text, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gatework.text.normalise import Normaliser
from gatework.text.vocabulary import CharacterVocabulary, Vocabulary

IntArray = npt.NDArray[np.int32]

MOST_CACHED = 1 << 17
"""Pieces remembered; when there are more, the memory starts afresh."""
LONGEST_CACHED = 64
"""Characters of a piece worth remembering."""


class Known(dict[str, int]):
    """Piece as it stands in the text -> token id in the low 32 bits, n-gram key of the token in the high 32."""

    def __init__(self, normalise: Normaliser, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self._normalise, self._vocabulary = normalise, vocabulary

    def __missing__(self, surface: str) -> int:
        token = self._normalise(surface)
        value = zlib.crc32(token.encode()) << 32
        if self._vocabulary is not None:
            value |= self._vocabulary.id(token)
        if len(surface) <= LONGEST_CACHED:
            if len(self) >= MOST_CACHED:
                self.clear()
            self[surface] = value
        return value


class Spelt(dict[str, list[int]]):
    """Piece as it stands in the text -> ids of its token's characters."""

    def __init__(self, normalise: Normaliser, characters: CharacterVocabulary) -> None:
        super().__init__()
        self._normalise, self._characters = normalise, characters

    def __missing__(self, surface: str) -> list[int]:
        value = self._characters.encode(self._normalise(surface))
        if len(surface) <= LONGEST_CACHED:
            if len(self) >= MOST_CACHED:
                self.clear()
            self[surface] = value
        return value

    def encode(self, surfaces: Sequence[str]) -> IntArray:
        """Character ids (T, K), 0 past a word's end."""
        spelt = [self[surface] for surface in surfaces]
        lengths_T = np.fromiter(map(len, spelt), dtype=np.int64, count=len(spelt))
        ids_TK = np.zeros((len(spelt), max(1, int(lengths_T.max()))), dtype=np.int32)
        ids_TK[np.arange(ids_TK.shape[1]) < lengths_T[:, None]] = [one for word in spelt for one in word]
        return ids_TK
