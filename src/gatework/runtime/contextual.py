"""What a frozen model says of each token of a batch, beside the token vectors.

T time, W windows, N tokens, H width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from gatework.core.batch import PieceBatch

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


class ContextualInput(ABC):
    """A model inside a bundle, or one that the bundle refers to."""

    reads: str
    """What it is, for errors."""
    width: int
    """H."""

    @abstractmethod
    def vectors(self, batch: PieceBatch) -> Float32:
        """The vector of every token of a batch, x_NH."""

    def __call__(self, batch: PieceBatch, lengths_W: IntArray, windows: slice, time: int) -> Float32:
        """x_TWH of the tokens of some windows, zero past each length."""
        ends_W = np.cumsum(lengths_W)
        own_W = lengths_W[windows]
        start = int(ends_W[windows.start - 1]) if windows.start else 0
        real_WT = np.arange(time) < own_W[:, None]
        x_WTH = np.zeros((*real_WT.shape, self.width), dtype=np.float32)
        x_WTH[real_WT] = self.vectors(batch.part(start, start + int(own_W.sum())))
        return x_WTH.swapaxes(0, 1)
