"""Nondeterministic automata over bytes, put together from pieces, and made deterministic.

A piece is a pair (first state, last state); pieces are joined by empty edges (Thompson's construction).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gatework.core.automaton.dfa import DEAD, Dfa, TooLarge, trimmed
from gatework.core.automaton.utf8 import Node, Ranges, node

Piece = tuple[int, int]

MOST_STATES = 400_000
MOST_DFA_STATES = 100_000
MOST_WORK = 30_000_000
"""Edges looked at while an automaton is made deterministic."""


class Nfa:
    """States with edges on byte ranges and empty edges. Raises TooLarge beyond its bounds."""

    def __init__(self) -> None:
        self.edges: list[list[tuple[int, int, int]]] = []
        self.empty: list[list[int]] = []

    def state(self) -> int:
        """A new one."""
        if len(self.edges) >= MOST_STATES:
            raise TooLarge
        self.edges.append([])
        self.empty.append([])
        return len(self.edges) - 1

    def nothing(self) -> Piece:
        """The empty text."""
        state = self.state()
        return state, state

    def character(self, ranges: Ranges) -> Piece:
        """One character of a set."""
        first, last = self.state(), self.state()
        made: dict[int, int] = {}

        def grow(below: Node, state: int) -> None:
            for low, high, further in below:
                if further is None:
                    self.edges[state].append((low, high, last))
                    continue
                if id(further) not in made:
                    made[id(further)] = self.state()
                    grow(further, made[id(further)])
                self.edges[state].append((low, high, made[id(further)]))

        grow(node(ranges), first)
        return first, last

    def text(self, text: str) -> Piece:
        """A string, as it stands."""
        first = last = self.state()
        for byte in text.encode():
            state = self.state()
            self.edges[last].append((byte, byte, state))
            last = state
        return first, last

    def automaton(self, dfa: Dfa) -> Piece:
        """What a Dfa accepts."""
        states = [self.state() for _ in range(len(dfa.accept))]
        last = self.state()
        columns = dfa.classes.tolist()
        for state, row, accepts in zip(states, dfa.table.tolist(), dfa.accept.tolist(), strict=True):
            start = 0
            for byte in range(1, 257):
                if byte == 256 or row[columns[byte]] != row[columns[start]]:
                    if row[columns[start]] != DEAD:
                        self.edges[state].append((start, byte - 1, states[row[columns[start]]]))
                    start = byte
            if accepts:
                self.empty[state].append(last)
        return states[0], last

    def sequence(self, pieces: Iterable[Piece]) -> Piece:
        """One after the other."""
        first, last = self.nothing()
        for one, other in pieces:
            self.empty[last].append(one)
            last = other
        return first, last

    def any_of(self, pieces: Iterable[Piece]) -> Piece:
        """One of them."""
        first, last = self.state(), self.state()
        for one, other in pieces:
            self.empty[first].append(one)
            self.empty[other].append(last)
        return first, last

    def star(self, piece: Piece) -> Piece:
        """Any number of times."""
        first, last = self.state(), self.state()
        self.empty[first] += [piece[0], last]
        self.empty[piece[1]] += [piece[0], last]
        return first, last

    def deterministic(self, piece: Piece) -> Dfa:
        """The same as a Dfa, of states that can be reached and can still accept."""
        start = self._closure([piece[0]])
        numbers, waiting = {start: 0}, [start]
        rows: list[list[tuple[int, int, int]]] = []
        work = 0
        for states in waiting:
            row = []
            moves = [edge for state in states for edge in self.edges[state]]
            work += len(moves) + len(states)
            for low, high, targets in _split(moves):
                closed = self._closure(targets)
                work += len(closed)
                if closed not in numbers:
                    numbers[closed] = len(waiting)
                    waiting.append(closed)
                row.append((low, high, numbers[closed]))
            rows.append(row)
            if len(waiting) > MOST_DFA_STATES or work > MOST_WORK:
                raise TooLarge
        table = np.full((len(rows), 256), DEAD, dtype=np.int32)
        for state, row in enumerate(rows):
            for low, high, target in row:
                table[state, low : high + 1] = target
        accept = np.array([piece[1] in states for states in waiting])
        return trimmed(table, np.arange(256), accept)

    def _closure(self, states: Iterable[int]) -> tuple[int, ...]:
        """The states and all that empty edges lead to, in order."""
        seen = set(states)
        waiting = list(seen)
        while waiting:
            for state in self.empty[waiting.pop()]:
                if state not in seen:
                    seen.add(state)
                    waiting.append(state)
        return tuple(sorted(seen))


def _split(moves: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, tuple[int, ...]]]:
    """Ranges of bytes over which the same edges run, with where these lead."""
    if len(moves) == 1:
        low, high, target = moves[0]
        return [(low, high, (target,))]
    events: dict[int, list[tuple[int, int]]] = {}
    for low, high, target in moves:
        events.setdefault(low, []).append((1, target))
        events.setdefault(high + 1, []).append((-1, target))
    open_: dict[int, int] = {}
    found: list[tuple[int, int, tuple[int, ...]]] = []
    bounds = sorted(events)
    for place, bound in enumerate(bounds[:-1]):
        for change, target in events[bound]:
            open_[target] = open_.get(target, 0) + change
            if not open_[target]:
                del open_[target]
        if open_:
            found.append((bound, bounds[place + 1] - 1, tuple(sorted(open_))))
    return found
