"""How a token is written before it is looked up: NFC, one kind of apostrophe, width, case and digits folded.

Normalisation works on single tokens, after the text was cut, so that it may change a token's length and no offset
moves. Traditional and simplified characters stay what they are. What was chosen is recorded in the bundle.
"""

from __future__ import annotations

import re
import unicodedata

_DIGIT = re.compile(r"\d")
_WIDTH: dict[int, int | str] = {0xFF01 + offset: 0x21 + offset for offset in range(94)}
_ALWAYS: dict[int, int | str] = {0x2019: "'", 0xFF07: "'", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}


class Normaliser:
    """Call it with a token as it stands in the text; it gives the token as the vocabulary knows it."""

    def __init__(self, *, lowercase: bool, fold_width: bool, fold_digits: bool = False) -> None:
        self.lowercase = lowercase
        self.fold_width = fold_width
        self.fold_digits = fold_digits
        self._table: dict[int, int | str] = {**(_WIDTH if fold_width else {}), **_ALWAYS}

    def __call__(self, surface: str) -> str:
        if surface.isspace():
            return " "
        if not surface.isascii():
            surface = unicodedata.normalize("NFC", surface.translate(self._table))
        if self.fold_digits:
            surface = _DIGIT.sub("0", surface)
        return surface.lower() if self.lowercase else surface
