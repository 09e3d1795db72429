"""Deterministic automata over the bytes of a text.

S states, the first one 0; C classes of bytes that no state tells apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError

Int32 = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

DEAD = -1
MOST_STATES = 200_000
MOST_PAIRS = 1 << 27


class TooLarge(ConfigError):
    """An automaton would have more states than can be handled."""

    def __init__(self) -> None:
        super().__init__("the constraint is too large. Use smaller numbers of repeats, or fewer parts.")


@dataclass(frozen=True, eq=False)
class Dfa:
    """Every state can be reached from the start and leads on to one that accepts; no states: nothing is accepted."""

    table: Int32
    """The next state, or DEAD, (S, C)."""
    classes: npt.NDArray[np.uint8]
    """Class of each byte, (256,)."""
    accept: Bools
    """Whether a text may end, (S,)."""

    @property
    def empty(self) -> bool:
        """Whether no text at all is accepted."""
        return not len(self.accept)

    def run(self, data: bytes) -> int:
        """The state after some bytes, or DEAD."""
        state = DEAD if self.empty else 0
        for byte in data:
            if state == DEAD:
                break
            state = int(self.table[state, self.classes[byte]])
        return state

    def matches(self, text: str) -> bool:
        """Whether a text is accepted."""
        state = self.run(text.encode("utf-8", "surrogatepass"))
        return state != DEAD and bool(self.accept[state])

    def shortest(self) -> bytes:
        """One of the shortest texts that are accepted. There has to be one."""
        came: dict[int, bytes] = {0: b""}
        for state in (waiting := [0]):
            if self.accept[state]:
                return came[state]
            for byte in range(256):
                target = int(self.table[state, self.classes[byte]])
                if target != DEAD and target not in came:
                    came[target] = came[state] + bytes([byte])
                    waiting.append(target)
        raise AssertionError("an automaton without an accepting state")  # trimmed ones have one


def trimmed(table: IntArray, classes: IntArray, accept: Bools) -> Dfa:
    """The automaton with only what can be reached from state 0 and can still accept; equal classes are one."""
    live = _alive(table, accept)
    if not len(accept) or not live[0]:
        return Dfa(np.zeros((0, 1), np.int32), np.zeros(256, np.uint8), np.zeros(0, bool))
    seen = np.zeros(len(accept), dtype=bool)
    front = np.zeros(1, dtype=np.int64)
    while len(front):
        seen[front] = True
        targets = np.unique(table[front])
        targets = targets[targets != DEAD]
        front = targets[live[targets] & ~seen[targets]]
    keep = np.flatnonzero(seen)
    numbers = np.full(len(accept) + 1, DEAD, dtype=np.int32)  # the last for DEAD
    numbers[keep] = np.arange(len(keep))
    kept, inverse = np.unique(numbers[table[keep]], axis=1, return_inverse=True)
    columns = np.asarray(inverse).reshape(-1)[classes]
    return Dfa(np.ascontiguousarray(kept), columns.astype(np.uint8), np.array(accept[keep]))


def _alive(table: IntArray, accept: Bools) -> Bools:
    """Whether a state can still accept."""
    live = np.append(accept, False)  # the last for DEAD
    states, _ = np.nonzero(table != DEAD)
    targets = table[table != DEAD]
    order = np.argsort(targets, kind="stable")
    states, targets = states[order], targets[order]
    front = np.flatnonzero(accept)
    while len(front):
        low, high = np.searchsorted(targets, front), np.searchsorted(targets, front, side="right")
        before = np.unique(np.concatenate([states[a:b] for a, b in zip(low, high, strict=True)] or [states[:0]]))
        front = before[~live[before]]
        live[front] = True
    return live[:-1]


def product(one: Dfa, other: Dfa) -> Dfa:
    """What both accept. Raises TooLarge."""
    if one.empty or other.empty:
        return one if one.empty else other
    pairs, classes = np.unique(one.classes.astype(np.int64) * 256 + other.classes, return_inverse=True)
    left, right = pairs // 256, pairs % 256
    count = len(other.accept)
    if len(one.accept) * count > MOST_PAIRS:
        raise TooLarge
    seen = np.zeros(len(one.accept) * count, dtype=bool)
    front = np.zeros(1, dtype=np.int64)
    numbered, rows, found = [front], [], 1
    seen[0] = True
    while len(front):
        a, b = one.table[front // count][:, left], other.table[front % count][:, right]
        both = np.where((a == DEAD) | (b == DEAD), DEAD, a.astype(np.int64) * count + b)
        rows.append(both)
        targets = both[both != DEAD]
        front = np.unique(targets[~seen[targets]])
        seen[front] = True
        numbered.append(front)
        found += len(front)
        if found > MOST_STATES:
            raise TooLarge
    keys = np.concatenate(numbered)
    order = np.argsort(keys)
    table = np.concatenate(rows)
    numbers = order[np.minimum(np.searchsorted(keys, table, sorter=order), len(keys) - 1)]
    accept = one.accept[keys // count] & other.accept[keys % count]
    return trimmed(np.where(table == DEAD, DEAD, numbers), np.asarray(classes).reshape(-1), accept)


def opposite(dfa: Dfa) -> Dfa:
    """All byte strings that are not accepted; UTF-8 or not."""
    count = len(dfa.accept)
    table = np.concatenate([dfa.table, np.full((1, dfa.table.shape[1]), count, dtype=np.int32)])
    return trimmed(np.where(table == DEAD, count, table), dfa.classes, np.append(~dfa.accept, True))


def counting(counted: Bools, fewest: int, most: int | None) -> Dfa:
    """Byte strings with `fewest` to `most` (None for no bound) of the bytes marked in `counted`, (256,); TooLarge."""
    last = fewest if most is None else most
    if last >= MOST_STATES:
        raise TooLarge
    stays = np.arange(last + 1, dtype=np.int32)
    moves = np.append(stays[1:], last if most is None else DEAD).astype(np.int32)
    return trimmed(np.stack([stays, moves], axis=1), counted.astype(np.int64), stays >= fewest)
