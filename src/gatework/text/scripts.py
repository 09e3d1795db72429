"""Which script a text is written in, by its letters."""

from __future__ import annotations

import re

SCRIPTS = {
    "Chinese": "\u3400-\u4dbf\u4e00-\u9fff",
    "Japanese kana": "\u3040-\u30ff",
    "Korean": "\uac00-\ud7af\u1100-\u11ff",
    "Cyrillic": "\u0400-\u052f",
    "Greek": "\u0370-\u03ff",
    "Arabic": "\u0600-\u06ff\u0750-\u077f",
    "Hebrew": "\u0590-\u05ff",
    "Devanagari": "\u0900-\u097f",
    "Thai": "\u0e00-\u0e7f",
    "Latin": "A-Za-z\u00c0-\u024f",
}
NAMES = tuple(SCRIPTS)
_SCRIPTS = [re.compile(f"[{signs}]") for signs in SCRIPTS.values()]
_LATIN = NAMES.index("Latin")


def script_of(text: str) -> int:
    """Which of NAMES most letters of a text are of; -1 where it has none."""
    if text.isascii():
        return _LATIN if _SCRIPTS[_LATIN].search(text) else -1
    counts = [len(signs.findall(text)) for signs in _SCRIPTS]
    most = max(range(len(counts)), key=counts.__getitem__)
    return most if counts[most] else -1
