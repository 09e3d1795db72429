"""WordPiece: the subword pieces of BERT, cut without any package.

A token is cleaned (control characters out, white space to blanks), its Chinese characters and punctuation stand alone,
accents and case fall where the model was trained so; then each word is cut into the longest pieces the vocabulary has,
from the left, the later ones marked `##`. A word that cannot be cut so, or is longer than LONGEST_WORD, is `[UNK]`.

Tokens are cut one by one, so that pieces never reach over a token's end; text that looks like a special piece, such as
`[SEP]`, is ordinary text here.

Sources: Devlin et al., arXiv:1810.04805; Wu et al., arXiv:1609.08144. The tests hold it to Hugging Face `tokenizers`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

LONGEST_WORD = 100
"""Characters; a longer word is unknown."""

_CHINESE = re.compile(
    "([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f])"
)
_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_REMOVED = frozenset(("Cc", "Cf", "Co", "Cs"))
"""General categories that are cleaned out: control, format, private use, halves of surrogate pairs."""


class WordPiece:
    """Words of a token, and pieces of a word."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        unknown: int,
        lowercase: bool,
        strip_accents: bool,
        chinese: bool = True,
        prefix: str = "##",
        longest_word: int = LONGEST_WORD,
    ) -> None:
        """
        Args:
            vocabulary: pieces in the order of their ids; "" where an id has none.
            unknown: id of a word that cannot be cut.
            lowercase, strip_accents: how the model was trained.
            chinese: each Chinese character stands alone.
            prefix: mark of a piece that goes on a word.
            longest_word: characters; a longer word is unknown.
        """
        self.vocabulary = tuple(vocabulary)
        self._ids = {piece: index for index, piece in enumerate(self.vocabulary) if piece}
        self._unknown = unknown
        self._lowercase = lowercase
        self._strip_accents = strip_accents
        self._chinese = chinese
        self._prefix = prefix
        self._longest_word = longest_word
        self._longest_piece = max(map(len, self.vocabulary), default=1)

    def to_json(self) -> dict[str, Any]:
        """Plain data that `__init__` takes, but for `unknown`."""
        return {
            "lowercase": self._lowercase,
            "strip_accents": self._strip_accents,
            "chinese": self._chinese,
            "prefix": self._prefix,
            "longest_word": self._longest_word,
            "vocabulary": self.vocabulary,
        }

    def __call__(self, token: str) -> list[int]:
        """Ids of the pieces of a token; none where nothing of it is left."""
        return [piece for word in self.words(token) for piece in self._cut(word)]

    def words(self, token: str) -> list[str]:
        """The words of a token as the vocabulary knows them: normalised, punctuation apart."""
        text = token if token.isascii() and token.isprintable() else _clean(token)
        if not text.isascii():
            text = _CHINESE.sub(r" \1 ", text) if self._chinese else text
            if self._strip_accents:
                text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        if self._lowercase:
            # Character by character: Python lowers a final sigma by what stands around it, BERT's trainers did not.
            text = text.lower() if text.isascii() else "".join(map(str.lower, text))
        return [word for run in text.split() for word in _punctuation_apart(run)]

    def _cut(self, word: str) -> list[int]:
        if len(word) > self._longest_word:
            return [self._unknown]
        found: list[int] = []
        start, end = 0, len(word)
        while start < end:
            prefix = self._prefix if start else ""
            for stop in range(min(end, start + self._longest_piece), start, -1):
                piece = self._ids.get(prefix + word[start:stop])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            start = stop
        return found


def _clean(token: str) -> str:
    """Without control characters and U+FFFD; white space of every kind as a blank."""
    kept = []
    for character in token:
        if character in "\t\n\r" or (character.isspace() and unicodedata.category(character) != "Cc"):
            kept.append(" ")
        elif character not in "\0\ufffd" and unicodedata.category(character) not in _REMOVED:
            kept.append(character)
    return "".join(kept)


def _punctuation_apart(run: str) -> list[str]:
    """The run cut so that every punctuation mark stands alone."""
    if run.isalnum():
        return [run]
    words: list[str] = []
    start = 0
    for place, character in enumerate(run):
        if character in _ASCII_PUNCTUATION or unicodedata.category(character)[0] == "P":
            words += [run[start:place], character] if start < place else [character]
            start = place + 1
    return [*words, run[start:]] if start < len(run) else words
