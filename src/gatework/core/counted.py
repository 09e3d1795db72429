"""Numbers of things in messages."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """`1 error`, `1,200 errors`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
