"""How far a score may be off because the test set is a sample: percentile bootstrap intervals.

Drawing N examples again with replacement changes only how many are of each kind (such as a cell of a confusion matrix),
and those numbers are one draw from a multinomial distribution. So a thousand resamples are a thousand such draws,
whatever N is.

R resamples, K kinds that occur.  Source: Efron, "Bootstrap methods", Annals of Statistics 7(1), 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95
IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]


def draws(counts_K: IntArray, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Resampled counts, (R, K), in pieces of a few megabytes."""
    rng = np.random.default_rng(seed)
    total = int(counts_K.sum())
    piece = max(1, min(resamples, 1_000_000 // len(counts_K)))
    for start in range(0, resamples, piece):
        yield rng.multinomial(total, counts_K / total, size=min(piece, resamples - start))


def middle(pieces: Sequence[FloatArray]) -> list[float]:
    """The interval `[low, high]` that holds LEVEL of the resampled scores."""
    low, high = np.quantile(np.concatenate(pieces), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
