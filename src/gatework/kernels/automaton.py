"""Automata over bytes lifted to the tokens of a vocabulary: which tokens may come, and whether the text may end.

    lifted = lift(constraint.dfa, pieces)
    state = lifted.start
    tokens, next_ = lifted.row(state)      # those after which the text can still be completed, and where each leads

A token moves the automaton by its bytes. Where tokens are spaced, the blank they begin with is dropped at the beginning
of a text and after a line feed; the states there are numbered S + s beside s, S the states of the automaton over bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gatework.core.automaton import Dfa
from gatework.core.errors import ConfigError
from gatework.kernels import dispatch

LONGEST = 1024
"""Bytes of a token beyond which it is never written under a constraint."""
FAR = 2**31 - 1
MOST_WORK = 1 << 32
"""States times bytes of the vocabulary that are gone through to find how far each state is from an end."""
MOST_WAYS = 1 << 26
MOST_STATES = 512
"""States of an automaton that `nearer` looks at."""


class Pieces:
    """What each token of a vocabulary writes, for one process and level."""

    def __init__(self, raw: Sequence[bytes], *, spaced: bool = False) -> None:
        """
        Args:
            raw: bytes of each token; empty for one that is never written under a constraint.
            spaced: tokens are joined by blanks: all but a line feed begin with one.
        """
        self.raw, self.spaced = tuple(raw), spaced
        self.native: Any = None
        if dispatch.level() != dispatch.NUMPY:
            data = np.frombuffer(b"".join(self.raw) or b"\0", dtype=np.uint8)
            offsets = np.cumsum([0, *map(len, self.raw)], dtype=np.int64)
            self.native = dispatch.extension().generate.Vocabulary(data[: offsets[-1]], offsets, spaced)


class Lifted(Protocol):
    """An automaton over tokens. Any threads may share it."""

    start: int
    states: int

    def accepts(self, state: int) -> bool:
        """Whether a text may end here."""

    def distance(self, state: int) -> int:
        """Fewest tokens to a state that accepts; FAR where there is no way."""

    def row(self, state: int) -> tuple[list[int], list[int]]:
        """Rising tokens that may come, and the state each leads to; all of them on a way to an end."""

    def count_ways(self, most: int) -> None:
        """Count the ways of up to `most` tokens, once; needed for `within` with a `fewest` above 0."""

    def within(self, state: int, fewest: int, most: int) -> bool:
        """Whether some number of tokens in this range leads to a state that accepts."""


def lift(dfa: Dfa, pieces: Pieces) -> Lifted:
    """Raises ConfigError: the automaton and the vocabulary together are too large."""
    if len(dfa.accept) * (sum(map(len, pieces.raw)) + 1) > MOST_WORK:
        raise ConfigError("The constraint is too large for this vocabulary. Use smaller numbers of repeats.")
    if pieces.native is None:
        return _Definition(dfa, pieces)
    made: Lifted = dispatch.extension().generate.Automaton(dfa.table, dfa.classes, _bytes(dfa.accept), pieces.native)
    return made


def nearer(lifted: Lifted) -> tuple[int, ...] | None:
    """Rising tokens that lead from some state to one nearer to an end: with them each state reaches an end in as few
    tokens as it can. None where there are too many states to look at."""
    found: set[int] = set()
    seen, waiting = {lifted.start}, [lifted.start]
    for state in waiting:
        if len(waiting) > MOST_STATES:
            return None
        tokens, targets = lifted.row(state)
        here = lifted.distance(state)
        near = {target for target in set(targets) if lifted.distance(target) < here}
        if near:
            found.update(token for token, target in zip(tokens, targets, strict=True) if target in near)
        waiting += [target for target in set(targets) if target not in seen]
        seen.update(targets)
    return tuple(sorted(found))


def native_table(dfa: Dfa) -> Any:
    """A Dfa as the extension takes it."""
    return dispatch.extension().generate.Table(dfa.table, dfa.classes, _bytes(dfa.accept))


def _bytes(marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(marks, dtype=np.uint8)


class _Definition:
    """What native/generate/automaton.cc does, plainly: every token is walked from every state."""

    def __init__(self, dfa: Dfa, pieces: Pieces) -> None:
        self._dfa, self._pieces = dfa, pieces
        self._size = len(dfa.accept)
        self.states = self._size * (2 if pieces.spaced else 1)
        self.start = self._size if pieces.spaced else 0
        self._rows: dict[int, list[tuple[int, int]]] = {}
        waiting = [self.start]
        for state in waiting:
            if state not in self._rows:
                self._rows[state] = self._walk(state)
                waiting += [target for _, target in self._rows[state]]
        self._distance = self._measure()
        self._ways = np.zeros((0, self.states), dtype=bool)

    def _walk(self, state: int) -> list[tuple[int, int]]:
        found = []
        for token, raw in enumerate(self._pieces.raw):
            if not 0 < len(raw) <= LONGEST:
                continue
            here = state % self._size
            for byte in raw[1:] if state >= self._size and raw[:1] == b" " else raw:
                here = int(self._dfa.table[here, self._dfa.classes[byte]])
                if here < 0:
                    break
            else:
                found.append((token, here + self._size if self._pieces.spaced and raw == b"\n" else here))
        return found

    def _measure(self) -> dict[int, int]:
        before: dict[int, set[int]] = {state: set() for state in self._rows}
        for state, row in self._rows.items():
            for _, target in row:
                before[target].add(state)
        waiting = [state for state in self._rows if self.accepts(state)]
        distance = dict.fromkeys(waiting, 0)
        for state in waiting:
            for earlier in before[state]:
                if earlier not in distance:
                    distance[earlier] = distance[state] + 1
                    waiting.append(earlier)
        return distance

    def accepts(self, state: int) -> bool:
        return bool(self._dfa.accept[state % self._size])

    def distance(self, state: int) -> int:
        return self._distance.get(state, FAR)

    def row(self, state: int) -> tuple[list[int], list[int]]:
        alive = [(token, target) for token, target in self._rows[state] if target in self._distance]
        return [token for token, _ in alive], [target for _, target in alive]

    def count_ways(self, most: int) -> None:
        now = np.array([self.distance(state) == 0 for state in range(self.states)])
        ways = [now]
        for _ in range(most):
            longer = np.zeros_like(now)
            for state in self._rows:
                longer[state] = now[self.row(state)[1]].any() if self.row(state)[1] else False
            now = longer
            ways.append(now)
        self._ways = np.array(ways)

    def within(self, state: int, fewest: int, most: int) -> bool:
        if most < 0 or fewest > most:
            return False
        if fewest <= 0:
            return self.distance(state) <= most
        return bool(self._ways[fewest : most + 1, state].any())
