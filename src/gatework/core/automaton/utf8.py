"""Sets of characters as sequences of byte ranges: UTF-8 with its rules, no surrogates, no overlong forms.

A set is rising, disjoint ranges of code points, both ends included. A node is what may follow: edges (first byte, last
byte, node), the last edge of a character leading to None. Equal nodes are one object, so automata stay small.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

Ranges = tuple[tuple[int, int], ...]
Node = tuple[tuple[int, int, "Node | None"], ...]

MOST = 0x10FFFF
ALL: Ranges = ((0, 0xD7FF), (0xE000, MOST))


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The set of all code points in any of the ranges."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All other code points."""
    start, gaps = 0, []
    for low, high in union(ranges):
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    return tuple(gaps) if start > MOST else (*gaps, (start, MOST))


@lru_cache(maxsize=512)
def node(ranges: Ranges) -> Node:
    """What byte sequences write one character of a set; without edges where it is empty."""
    real = _within(ranges, 0, 0xD7FF) + _within(ranges, 0xE000, MOST)
    edges: list[tuple[int, int, Node | None]] = [(low, high, None) for low, high in _within(real, 0, 0x7F)]
    for first, last, lead, following in ((0x80, 0x7FF, 0xC0, 1), (0x800, 0xFFFF, 0xE0, 2), (0x10000, MOST, 0xF0, 3)):
        size = 64**following
        for value in range(first // size, last // size + 1):
            some = _within(real, max(first, value * size), min(last, value * size + size - 1))
            if some:
                below = _tail(tuple((low - value * size, high - value * size) for low, high in some), following)
                _join(edges, lead + value, below)
    return tuple(edges)


@cache
def characters(kind: str) -> Ranges:
    """The set of `\\\\w`, `\\\\d` or `\\\\s`, by its letter, as Python's `re` has them for strings."""
    test = {"w": lambda c: c.isalnum() or c == "_", "d": str.isdecimal, "s": str.isspace}[kind]
    found: list[tuple[int, int]] = []
    for code in range(MOST + 1):
        if test(chr(code)):
            if found and found[-1][1] == code - 1:
                found[-1] = (found[-1][0], code)
            else:
                found.append((code, code))
    return tuple(found)


def _within(ranges: Ranges, first: int, last: int) -> Ranges:
    return tuple((max(low, first), min(high, last)) for low, high in ranges if low <= last and high >= first)


@lru_cache(maxsize=1 << 14)
def _tail(ranges: Ranges, following: int) -> Node:
    """Continuation bytes that write the values of a set, relative to what the bytes before say."""
    size = 64 ** (following - 1)
    edges: list[tuple[int, int, Node | None]] = []
    for value in range(64):
        some = _within(ranges, value * size, value * size + size - 1)
        if some:
            rest = tuple((low - value * size, high - value * size) for low, high in some)
            _join(edges, 0x80 + value, _tail(rest, following - 1) if following > 1 else None)
    return tuple(edges)


def _join(edges: list[tuple[int, int, Node | None]], byte: int, below: Node | None) -> None:
    """Add an edge for a byte; neighbours that lead to the same node are one edge."""
    if edges and edges[-1][1] == byte - 1 and edges[-1][2] is below:
        edges[-1] = (edges[-1][0], byte, below)
    else:
        edges.append((byte, byte, below))
