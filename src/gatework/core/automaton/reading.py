"""The same texts written otherwise: from their end, after what stands before them, or with the blanks of words."""

from __future__ import annotations

import numpy as np

from gatework.core.automaton.dfa import DEAD, Dfa, trimmed
from gatework.core.automaton.nfa import Nfa

_BLANK, _FEED = ord(" "), ord("\n")


def backwards(dfa: Dfa) -> Dfa:
    """Accepts the bytes of each text from the last to the first. Raises TooLarge: there is no small automaton."""
    if dfa.empty:
        return dfa
    nfa = Nfa()
    piece = nfa.automaton(dfa)
    edges, empty = nfa.edges, nfa.empty
    nfa.edges, nfa.empty = [[] for _ in edges], [[] for _ in empty]
    for state, moves in enumerate(edges):
        for low, high, target in moves:
            nfa.edges[target].append((low, high, state))
        for target in empty[state]:
            nfa.empty[target].append(state)
    return nfa.deterministic((piece[1], piece[0]))


def after(data: bytes, dfa: Dfa) -> Dfa:
    """Accepts `data` followed by a text of `dfa`."""
    if dfa.empty or not data:
        return dfa
    count = len(data)
    table = np.full((count + len(dfa.accept), 256), DEAD, dtype=np.int32)
    table[np.arange(count), np.frombuffer(data, dtype=np.uint8)] = np.arange(1, count + 1)
    rest = dfa.table[:, dfa.classes]
    table[count:] = np.where(rest == DEAD, DEAD, rest + count)
    return trimmed(table, np.arange(256), np.append(np.zeros(count, dtype=bool), dfa.accept))


def spaced(dfa: Dfa) -> Dfa:
    """Accepts texts of words with a blank more at their beginning and after each line feed, but before line feeds."""
    count = len(dfa.accept)
    if not count:
        return dfa
    plain = dfa.table[:, dfa.classes].astype(np.int32)  # states at the beginning of a line first, then those within
    table = np.full((2 * count, 256), DEAD, dtype=np.int32)
    table[count:] = np.where(plain == DEAD, DEAD, plain + count)
    table[:count, _FEED] = table[count:, _FEED] = plain[:, _FEED]
    table[:count, _BLANK] = np.arange(count) + count
    return trimmed(table, np.arange(256), np.tile(dfa.accept, 2))
