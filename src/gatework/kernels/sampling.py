"""From log-probabilities to one token: the definition, which native/generate/sampler.cc follows.

In this order: repetition penalty, no-repeat n-grams, temperature, top-k, top-p, min-p, and a draw.

    score = log p x penalty for tokens that were seen (of log p, not of a logit: its zero has no meaning)
    weight = exp((score - highest) / temperature)
    top-k   the k largest weights            top-p   the largest ones that reach p of their sum
    min-p   weights of at least p times the largest

Sources: Keskar et al., arXiv:1909.05858 (penalty); Paulus et al., arXiv:1705.04304 (n-grams); Holtzman et al.,
arXiv:1904.09751 (top-p); Nguyen et al., arXiv:2407.01082 (min-p); Steele, Lea and Flood, OOPSLA 2014 (SplitMix64).

N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How a token is chosen. Values out of range are up to the caller."""

    temperature: float = 1.0
    """0 for the most likely token."""
    top_k: int = 0
    """0 for all."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat: int = 0
    """Length of n-grams that may not come again, 0 for any length; ignored where nothing else could come."""
    exempt: int = -1
    """A token that penalties and n-grams leave alone."""


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) for a place of a text."""
    return (_mixed(seed ^ _mixed(position)) >> 11) * 2.0**-53


def row_seed(seed: int, row: int) -> int:
    """A seed for each of several texts; the first keeps `seed`."""
    return seed if row == 0 else _mixed(_mixed(seed) ^ row)


def _mixed(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def adjusted(log_p_N: Any, candidates_N: Any, recent: Any, settings: Sampling) -> npt.NDArray[np.float64]:
    """Scores of the candidates after penalties; `recent` is the text so far, the newest id last."""
    scores_N = np.array(log_p_N, dtype=np.float64)
    if settings.repetition_penalty != 1.0:
        seen = np.isin(candidates_N, recent) & (np.asarray(candidates_N) != settings.exempt)
        scores_N[seen] *= settings.repetition_penalty
    if settings.no_repeat:
        banned = np.isin(candidates_N, _repeats(list(recent), settings.no_repeat))
        banned &= np.asarray(candidates_N) != settings.exempt
        if not banned.all():
            scores_N[banned] = -np.inf
    return scores_N


def choose(log_p_N: Any, candidates_N: Any, recent: Any, settings: Sampling, u: float) -> int:
    """The place of the chosen candidate; of equally likely ones the first."""
    scores_N = adjusted(log_p_N, candidates_N, recent, settings)
    best = int(scores_N.argmax())
    if settings.temperature == 0.0:
        return best
    weights_N = np.exp((scores_N - scores_N[best]) / settings.temperature)
    weights_N[weights_N < 1e-38] = 0.0
    order_N = np.argsort(-weights_N, kind="stable")
    kept = int((weights_N > 0).sum())
    if settings.top_k:
        kept = min(kept, settings.top_k)
    if settings.top_p < 1.0:
        sums = np.cumsum(weights_N[order_N[:kept]])
        kept = int(np.searchsorted(sums, settings.top_p * sums[-1])) + 1
    weights_N[order_N[kept:]] = 0.0
    weights_N[weights_N < settings.min_p * weights_N[best]] = 0.0
    reached_N = np.cumsum(weights_N)
    return min(int(np.searchsorted(reached_N, u * reached_N[-1], side="right")), int(np.flatnonzero(weights_N)[-1]))


def _repeats(recent: list[int], length: int) -> list[int]:
    """Tokens that would complete an n-gram of the text again."""
    before = recent[len(recent) - length + 1 :]
    if len(before) < length - 1:
        return []
    starts = range(len(recent) - length + 1)
    return [recent[start + length - 1] for start in starts if recent[start : start + length - 1] == before]
