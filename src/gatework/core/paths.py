"""What a decoder of tags is asked, and what it answers: tag paths with exact probabilities.

    P(span s..e has the tags of the best path) = p[s] * step[s + 1] * ... * step[e]

exact for a linear chain, as it has no memory beyond one tag. T tokens, C tags, N paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Search(NamedTuple):
    """What to look for in some examples."""

    paths: int = 1
    """How many paths, the best first, at most."""
    allowed: Sequence[Sequence[npt.NDArray[np.bool_] | None]] | None = None
    """For each example, for each of its parts, which tags of the main layer each token may have, (T, C); None for all.
    Probabilities are then those given that the path is allowed."""


class TagPaths(NamedTuple):
    """Tags of one sentence and one tag layer."""

    tags_NT: npt.NDArray[np.int32]
    """The best paths, best first; fewer than asked for where there are no more."""
    log_p_N: npt.NDArray[np.float64]
    """Log-probability of each path. -inf, of one path of zeros, where what is asked allows none."""
    p_T: npt.NDArray[np.float32]
    """Probability of each tag of the best path."""
    step_T: npt.NDArray[np.float32]
    """Probability of each tag of the best path given the tag before it; step_T[0] = p_T[0]."""
