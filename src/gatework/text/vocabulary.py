"""The tokens a model knows, and their ids: 0 padding, 1 unknown, 2 empty text, then words by falling frequency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

PADDING, UNKNOWN, EMPTY = 0, 1, 2
FIRST = 3
"""Id of the most frequent word."""

LONGEST = 100
"""Characters; a longer token is always unknown, so that one garbled line does not fill the bundle."""


class Vocabulary:
    """Words in the order of their ids."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.ids: dict[str, int] = {word: index for index, word in enumerate(self.words, start=FIRST)}

    @classmethod
    def fit(cls, counts: Mapping[str, int], *, min_count: int, limit: int) -> Vocabulary:
        """The `limit` most frequent of the words seen at least `min_count` times; ties go by the word itself."""
        known = [(-count, word) for word, count in counts.items() if count >= min_count and len(word) <= LONGEST]
        known.sort()
        return cls([word for _, word in known[:limit]])

    def __len__(self) -> int:
        """Ids in all, the special ones included."""
        return FIRST + len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.ids

    def id(self, word: str) -> int:
        return self.ids.get(word, UNKNOWN)

    def word(self, index: int) -> str:
        """The word of an id; of the special ones a name."""
        return self.words[index - FIRST] if index >= FIRST else ("<pad>", "<unk>", "<empty>")[index]


class CharacterVocabulary:
    """Characters of words: 0 padding, 1 unknown, then characters by falling frequency."""

    LONGEST_WORD = 24
    """Characters of a word that are read."""
    _FIRST = 2

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = tuple(characters)
        self.ids = {character: index for index, character in enumerate(self.characters, start=self._FIRST)}

    @classmethod
    def fit(cls, counts: Mapping[str, int], *, min_count: int, limit: int = 8_000) -> CharacterVocabulary:
        """From counts of words; characters seen less than `min_count` times are unknown."""
        seen: Counter[str] = Counter()
        for word, count in counts.items():
            for character in word[: cls.LONGEST_WORD]:
                seen[character] += count
        known = sorted((-count, character) for character, count in seen.items() if count >= min_count)
        return cls([character for _, character in known[:limit]])

    def __len__(self) -> int:
        return self._FIRST + len(self.characters)

    def encode(self, word: str) -> list[int]:
        return [self.ids.get(character, UNKNOWN) for character in word[: self.LONGEST_WORD]]
