"""Text in lines of fields divided by tabs."""

from __future__ import annotations


def one_field(text: str) -> str:
    """Text that cannot break a tab-separated line."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")
