"""Text for a terminal: fields divided by tabs, and how wide a text is there."""

from __future__ import annotations

import unicodedata


def one_field(text: str) -> str:
    """Text that cannot break a tab-separated line."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")


def display_width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text
    )
