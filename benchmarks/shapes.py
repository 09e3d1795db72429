"""The batches that kernels are measured on: shapes, ragged lengths, random weights, and the work they hold.

T time, B batch, I inputs, H units, D directions, G = 4H, N = tokens. Lengths are uniform in [0.2 T, T], one of them T,
and fall, as a `PackedSequence` wants them. Only real tokens count as work: 8 H (I + H) floating-point operations each
and direction forward, three times that in training (the gradients of inputs and of weights cost as much again).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
SEED = 20261121
POOL = 8
"""Batches whose sequences are sorted together where bucketing by length is measured."""


class Shape(NamedTuple):
    """One layer on one batch."""

    T: int
    B: int
    I: int  # noqa: E741
    H: int
    D: int = 1

    def __str__(self) -> str:
        return f"({self.T}, {self.B}, {self.I}, {self.H})" + (" bi" if self.D == 2 else "")


SHAPES = (
    Shape(100, 1, 128, 128),
    Shape(100, 32, 256, 256),
    Shape(200, 64, 128, 128),
    Shape(35, 20, 200, 200),
    Shape(35, 20, 650, 650),
    Shape(40, 32, 300, 512),
    Shape(25, 128, 512, 512),
    Shape(40, 32, 100, 200, 2),
)


class Weights(NamedTuple):
    """One direction's weights, gates packed i f g o."""

    w_GI: Float32
    r_GH: Float32
    b_G: Float32


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch, the weights, and the gradient that reaches the outputs."""

    shape: Shape
    lengths_B: npt.NDArray[np.int64]
    x_TBI: Float32
    """Zero past the lengths."""
    dy_TBH: Float32
    """(T, B, D H), zero past the lengths."""
    weights: tuple[Weights, ...]

    @property
    def live_TB(self) -> npt.NDArray[np.bool_]:
        """Which steps are real."""
        return np.arange(self.shape.T)[:, None] < self.lengths_B

    def work(self, training: bool) -> int:
        """Useful floating-point operations."""
        return work(self.shape, int(self.lengths_B.sum()), training)


def work(shape: Shape, tokens: int, training: bool) -> int:
    """Floating-point operations of the products over so many real tokens."""
    return tokens * shape.D * 8 * shape.H * (shape.I + shape.H) * (3 if training else 1)


def ragged(shape: Shape, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Falling lengths, uniform in [0.2 T, T], one of them T."""
    lengths_B = rng.integers(math.ceil(0.2 * shape.T), shape.T, size=shape.B, endpoint=True)
    lengths_B[0] = shape.T
    return np.sort(lengths_B)[::-1].copy()


def cases(shape: Shape, lengths: str) -> list[Case]:
    """The batches of one measurement: one, or those of a bucketed pool.

    Args:
        lengths: `ragged`, `full` (all T), or `bucketed`: `POOL` ragged batches sorted and cut again by length, each
            padded to its own longest.
    """
    rng = np.random.default_rng(SEED)
    weights = tuple(_weights(shape, rng) for _ in range(shape.D))
    if lengths == "full":
        return [_case(shape, np.full(shape.B, shape.T), weights, rng)]
    if lengths == "ragged":
        return [_case(shape, ragged(shape, rng), weights, rng)]
    pool = np.sort(np.concatenate([ragged(shape, rng) for _ in range(POOL)]))[::-1]
    return [_case(shape._replace(T=int(part[0])), part.copy(), weights, rng) for part in pool.reshape(POOL, shape.B)]


def _weights(shape: Shape, rng: np.random.Generator) -> Weights:
    """Uniform in ±1/sqrt(H), as torch begins."""
    bound = shape.H**-0.5
    sizes = ((4 * shape.H, shape.I), (4 * shape.H, shape.H), (4 * shape.H,))
    return Weights(*(rng.uniform(-bound, bound, size).astype(np.float32) for size in sizes))


def _case(
    shape: Shape, lengths_B: npt.NDArray[np.int64], weights: tuple[Weights, ...], rng: np.random.Generator
) -> Case:
    live_TB1 = (np.arange(shape.T)[:, None] < lengths_B)[:, :, None]
    x_TBI = rng.normal(size=(shape.T, shape.B, shape.I)).astype(np.float32) * live_TB1
    dy_TBH = rng.normal(size=(shape.T, shape.B, shape.D * shape.H)).astype(np.float32) * live_TB1
    return Case(shape=shape, lengths_B=lengths_B, x_TBI=x_TBI, dy_TBH=dy_TBH, weights=weights)
