"""How a token is written before it is looked up: NFC, one kind of apostrophe, width and case folded.

Normalisation works on single tokens, after the text was cut, so that it may change a token's length and no offset
moves. Traditional and simplified characters stay what they are. What was chosen is recorded in the bundle.
"""

from __future__ import annotations

import unicodedata

_WIDTH: dict[int, int | str] = {0xFF01 + offset: 0x21 + offset for offset in range(94)}
_ALWAYS: dict[int, int | str] = {0x2019: "'", 0xFF07: "'", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}


class Normaliser:
    """Call it with a token as it stands in the text; it gives the token as the vocabulary knows it."""

    def __init__(self, *, lowercase: bool, fold_width: bool) -> None:
        self.lowercase = lowercase
        self.fold_width = fold_width
        self._table: dict[int, int | str] = {**(_WIDTH if fold_width else {}), **_ALWAYS}

    def __call__(self, surface: str) -> str:
        if surface.isspace():
            return " "
        if not surface.isascii():
            surface = unicodedata.normalize("NFC", surface.translate(self._table))
        return surface.lower() if self.lowercase else surface
