"""Finding any of several strings in a text that comes byte by byte.

Source: Aho and Corasick, "Efficient string matching", Communications of the ACM 18(6), 1975.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatework.core.automaton.dfa import Dfa, TooLarge

MOST_STATES = 1 << 16


def finder(words: Sequence[str]) -> Dfa:
    """Accepts where one of the words, none empty, has just ended; has a way on for every byte. Raises TooLarge."""
    table = [[-1] * 256]
    ends = [False]
    for word in words:
        state = 0
        for byte in word.encode("utf-8", "surrogatepass"):
            if table[state][byte] < 0:
                table[state][byte] = len(table)
                table.append([-1] * 256)
                ends.append(False)
                if len(table) > MOST_STATES:
                    raise TooLarge
            state = table[state][byte]
        ends[state] = True
    # Breadth first: `fallback` is the state of the longest proper suffix, whose row is complete already.
    waiting = [(target, 0) for target in table[0] if target >= 0]
    table[0] = [max(target, 0) for target in table[0]]
    for state, fallback in waiting:
        ends[state] = ends[state] or ends[fallback]
        for byte, target in enumerate(table[state]):
            if target < 0:
                table[state][byte] = table[fallback][byte]
            else:
                waiting.append((target, table[fallback][byte]))
    return Dfa(np.array(table, dtype=np.int32), np.arange(256, dtype=np.uint8), np.array(ends))
