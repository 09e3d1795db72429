"""A sequence's outputs over time made one vector, as `nn.pooling` does, a group of windows at a time.

What is kept between groups is a few vectors a sequence, so a document of any length takes the memory of one group:

    last        outputs at the ends of the latest window
    mean        sum and count
    max         maximum
    attention   m = max s,  z = sum exp(s - m),  a = sum exp(s - m) y;  the answer is a / z
                with s = v . tanh(W y + b); a group with a larger m rescales z and a (running log-sum-exp)

T time, W windows of the group, B sequences, P width of the outputs, A width of the attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


class Attention(NamedTuple):
    """Weights of additive self-attention."""

    w_AP: Float32
    b_A: Float32
    v_A: Float32


class Group(NamedTuple):
    """Outputs of some windows, and whose they are."""

    y_TWP: Float32
    """Zero past each length."""
    lengths_W: IntArray
    owners_W: IntArray
    """Sequence of each window, rising."""
    starts: IntArray
    """Windows that are the first of their sequence in this group."""


class Pool:
    """Base of the kinds: `add` each group in order, then `result`."""

    def __init__(self, sequences: int, width: int) -> None:
        self._result_BP = np.zeros((sequences, width), dtype=np.float32)

    def add(self, group: Group) -> None:
        """Take in a group of windows."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def result(self) -> Float32:
        """The pooled vectors, (B, P)."""
        return self._result_BP

    @property
    def gathered(self) -> dict[str, npt.NDArray[Any]]:
        """What is kept, by name."""
        return {name: part for name, part in vars(self).items() if isinstance(part, np.ndarray)}

    def copied(self) -> Pool:
        """The same in arrays of its own."""
        return self.with_gathered({name: part.copy() for name, part in self.gathered.items()})

    def with_gathered(self, parts: Mapping[str, npt.NDArray[Any]]) -> Pool:
        """The same kind with other values of these names and shapes, which become its own."""
        other = copy(self)
        vars(other).update(parts)
        return other


class Mean(Pool):
    """Average over all tokens."""

    def __init__(self, sequences: int, width: int) -> None:
        super().__init__(sequences, width)
        self._tokens_B = np.zeros(sequences, dtype=np.int64)

    def add(self, group: Group) -> None:
        owners = group.owners_W[group.starts]
        self._result_BP[owners] += _sum_by_owner(group.y_TWP.sum(axis=0), group.starts)
        self._tokens_B[owners] += _sum_by_owner(group.lengths_W, group.starts)

    def result(self) -> Float32:
        return self._result_BP / self._tokens_B.astype(np.float32)[:, None]


class Max(Pool):
    """Largest value of each output."""

    def __init__(self, sequences: int, width: int) -> None:
        super().__init__(sequences, width)
        self._result_BP.fill(-np.inf)

    def add(self, group: Group) -> None:
        y_TWP = group.y_TWP
        outside_TW = _outside(group)
        if outside_TW.any():
            y_TWP = y_TWP.copy()
            y_TWP[outside_TW] = -np.inf
        owners = group.owners_W[group.starts]
        highest_BP = np.maximum.reduceat(y_TWP.max(axis=0), group.starts, axis=0)
        self._result_BP[owners] = np.maximum(self._result_BP[owners], highest_BP)


class Last(Pool):
    """Forward output at the last token, backward output at the first token of the same window."""

    def __init__(self, sequences: int, width: int, *, bidirectional: bool) -> None:
        super().__init__(sequences, width)
        self._forward = width // 2 if bidirectional else width

    def add(self, group: Group) -> None:
        ends = np.append(group.starts[1:], len(group.lengths_W)) - 1
        owners, half = group.owners_W[ends], self._forward
        self._result_BP[owners, :half] = group.y_TWP[group.lengths_W[ends] - 1, ends, :half]
        self._result_BP[owners, half:] = group.y_TWP[0, ends, half:]


class Attend(Pool):
    """Mean weighted by a softmax over all tokens of the sequence."""

    def __init__(self, sequences: int, width: int, *, weights: Attention) -> None:
        super().__init__(sequences, width)
        self._weights = weights
        self._highest_B = np.full(sequences, -np.inf, dtype=np.float32)
        self._mass_B = np.zeros(sequences, dtype=np.float32)

    def add(self, group: Group) -> None:
        w = self._weights
        scores_TW = np.tanh(group.y_TWP @ w.w_AP.T + w.b_A) @ w.v_A
        scores_TW[_outside(group)] = -np.inf
        owners = group.owners_W[group.starts]
        before_B = self._highest_B[owners]
        self._highest_B[owners] = np.maximum(before_B, np.maximum.reduceat(scores_TW.max(axis=0), group.starts))
        mass_TW = np.exp(scores_TW - self._highest_B[group.owners_W])
        kept_B = np.exp(before_B - self._highest_B[owners])
        self._mass_B[owners] *= kept_B
        self._mass_B[owners] += _sum_by_owner(mass_TW.sum(axis=0), group.starts)
        self._result_BP[owners] *= kept_B[:, None]
        self._result_BP[owners] += _sum_by_owner(np.einsum("tw,twp->wp", mass_TW, group.y_TWP), group.starts)

    def result(self) -> Float32:
        return self._result_BP / self._mass_B[:, None]


def make_pools(
    kinds: Sequence[str], sequences: int, width: int, *, bidirectional: bool, attention: Attention | None
) -> list[Pool]:
    """Empty pools of the kinds named, in their order."""
    pools: list[Pool] = []
    for kind in kinds:
        if kind == "mean":
            pools.append(Mean(sequences, width))
        elif kind == "max":
            pools.append(Max(sequences, width))
        elif kind == "last":
            pools.append(Last(sequences, width, bidirectional=bidirectional))
        else:
            assert attention is not None  # an architecture with attention has its weights, see check_shapes
            pools.append(Attend(sequences, width, weights=attention))
    return pools


def make_group(y_TWP: Float32, lengths_W: IntArray, owners_W: IntArray) -> Group:
    """Outputs of some windows, with the first window of each sequence found."""
    fresh = np.empty(len(owners_W), dtype=bool)
    fresh[0] = True
    np.not_equal(owners_W[1:], owners_W[:-1], out=fresh[1:])
    return Group(y_TWP, lengths_W, owners_W, fresh.nonzero()[0])


def _sum_by_owner(values_W: npt.NDArray[Any], starts: IntArray) -> npt.NDArray[Any]:
    if len(starts) == len(values_W):
        return values_W
    sums: npt.NDArray[Any] = np.add.reduceat(values_W, starts, axis=0)
    return sums


def _outside(group: Group) -> npt.NDArray[np.bool_]:
    outside: npt.NDArray[np.bool_] = np.arange(len(group.y_TWP))[:, None] >= group.lengths_W
    return outside
