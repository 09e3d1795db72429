"""The linear-chain conditional random field, one sequence at a time: the equations, for NumPy, in the log domain.

    score(y) = start[y_0] + sum_t e[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_L-1]
    p(y) = exp(score(y) - log Z),   log Z = log sum_y exp score(y)

    alpha_0 = start + e_0;     alpha_t+1[j] = e_t+1[j] + log sum_i exp(alpha_t[i] + transitions[i, j])
    beta_L-1 = end;            beta_t[i] = log sum_j exp(transitions[i, j] + e_t+1[j] + beta_t+1[j])
    P(y_t = k) = exp(alpha_t[k] + beta_t[k] - log Z)
    P(y_t = i, y_t+1 = j) = exp(alpha_t[i] + transitions[i, j] + e_t+1[j] + beta_t+1[j] - log Z)

These shares are also the derivatives of log Z. Scores of -inf forbid. A sequence of length 0 has one path, of score 0.
NaN and +inf give NaN.

L steps of a sequence, K tags.  Sources: Lafferty, McCallum, Pereira, "Conditional Random Fields", ICML 2001; Rabiner,
"A Tutorial on Hidden Markov Models", Proceedings of the IEEE 77(2), 1989; for the n best paths Seshadri and Sundberg,
"List Viterbi Decoding Algorithms with Applications", IEEE Transactions on Communications 42(2/3/4), 1994.
"""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Tags = npt.NDArray[np.int64]

_Path = tuple[float, tuple[int, ...]]
"""Minus the score, and tags from the last to the first: in order, high scores and low last tags come first."""


class Scores(NamedTuple):
    """What a model scores beside the emissions."""

    transitions_KK: Floats
    """From row to column."""
    start_K: Floats
    end_K: Floats


def spoiled(e_LK: Floats, scores: Scores) -> bool:
    """Whether a score is NaN or +inf: then every result is NaN."""
    return any(not (part < np.inf).all() for part in (e_LK, *scores))


def score(e_LK: Floats, scores: Scores, tags_L: Tags) -> float:
    """Score of one path."""
    if not len(e_LK):
        return 0.0
    steps = e_LK[np.arange(len(e_LK)), tags_L].sum(dtype=np.float64)
    moves = scores.transitions_KK[tags_L[:-1], tags_L[1:]].sum(dtype=np.float64)
    return float(scores.start_K[tags_L[0]] + steps + moves + scores.end_K[tags_L[-1]])


def log_partition(e_LK: Floats, scores: Scores) -> float:
    """log Z; -inf where no path is allowed."""
    if not len(e_LK):
        return 0.0
    if spoiled(e_LK, scores):
        return np.nan
    return float(np.logaddexp.reduce(_alpha(e_LK, scores)[-1] + scores.end_K))


def expectations(e_LK: Floats, scores: Scores) -> tuple[float, Floats, Floats]:
    """log Z, P(y_t = k) as (L, K), and the expected number of each transition (K, K); NaN where no path is allowed."""
    e_LK = e_LK.astype(np.float64)
    log_z = log_partition(e_LK, scores)
    if not len(e_LK):
        return log_z, e_LK, np.zeros(scores.transitions_KK.shape)
    if not np.isfinite(log_z):
        moves = np.full(scores.transitions_KK.shape, np.nan if len(e_LK) > 1 else 0.0)
        return log_z, np.full(e_LK.shape, np.nan), moves
    alpha_LK, beta_LK = _alpha(e_LK, scores), _beta(e_LK, scores)
    counts_KK = np.zeros(scores.transitions_KK.shape)
    for t in range(len(e_LK) - 1):
        after_K = e_LK[t + 1] + beta_LK[t + 1]
        counts_KK += np.exp(alpha_LK[t][:, None] + scores.transitions_KK + after_K - log_z)
    return log_z, np.exp(alpha_LK + beta_LK - log_z), counts_KK


def path_shares(e_LK: Floats, scores: Scores, tags_L: Tags) -> tuple[Floats, Floats]:
    """P(y_t) and P(y_t | y_t-1) along a path, (L,) each; the first of the second is the first of the first.

    P(y_t+1 = j | y_t = i) = exp(transitions[i, j] + e_t+1[j] + beta_t+1[j] - beta_t[i]); 0 from a tag that cannot be.
    """
    e_LK = e_LK.astype(np.float64)
    log_z, p_LK, _ = expectations(e_LK, scores)
    p_L = p_LK[np.arange(len(e_LK)), tags_L]
    if not len(e_LK) or not np.isfinite(log_z):
        return p_L, p_L.copy()
    beta_LK, step_L = _beta(e_LK, scores), p_L.copy()
    for t, (before, now) in enumerate(itertools.pairwise(tags_L.tolist()), start=1):
        onward = scores.transitions_KK[before, now] + e_LK[t, now] + beta_LK[t, now]
        reachable = p_L[t - 1] > 0.0
        step_L[t] = np.exp(onward - beta_LK[t - 1, before]) if reachable else 0.0
    return p_L, step_L


@np.errstate(over="ignore", invalid="ignore")
def viterbi(e_LK: Floats, scores: Scores) -> tuple[Tags, float]:
    """The best path and its score. Of equal paths, the one whose last tag is lowest, then the one before, and so on.

    v_t+1[j] = e_t+1[j] + max_i (v_t[i] + transitions[i, j]); the largest emission of a row and the largest v of the
    step before are taken off first, so that only differences are rounded. A spoiled sequence gets tags 0, score NaN.
    """
    length = len(e_LK)
    if spoiled(e_LK, scores) or not length:
        return np.zeros(length, dtype=np.int64), np.nan if length else 0.0
    shifted_LK = e_LK - _or_zero(e_LK.max(axis=1, keepdims=True))
    v_LK = np.empty_like(shifted_LK)
    v_LK[0] = scores.start_K + shifted_LK[0]
    for t in range(1, length):
        best_K = (v_LK[t - 1][:, None] + scores.transitions_KK).max(axis=0)
        v_LK[t] = (best_K - _or_zero(v_LK[t - 1].max())) + shifted_LK[t]
    tags_L = np.empty(length, dtype=np.int64)
    tags_L[-1] = np.argmax(v_LK[-1] + scores.end_K)
    for t in range(length - 1, 0, -1):
        tags_L[t - 1] = np.argmax(v_LK[t - 1] + scores.transitions_KK[:, tags_L[t]])
    return tags_L, score(e_LK, scores, tags_L)


def n_best(e_LK: Floats, scores: Scores, n: int) -> list[tuple[float, Tags]]:
    """The n paths of highest score with their scores, best first; fewer where fewer are allowed. Ties as in `viterbi`.

    Every tag keeps its n best arrivals at each step; they come from the n best of the step before.
    """
    length = len(e_LK)
    if not length:
        return [(0.0, np.zeros(0, dtype=np.int64))]
    if spoiled(e_LK, scores):
        return [(np.nan, np.zeros(length, dtype=np.int64))] * n
    e_LK, transitions_KK = e_LK.astype(np.float64), scores.transitions_KK.astype(np.float64)
    first_K = scores.start_K.astype(np.float64) + e_LK[0]
    paths_K: list[list[_Path]] = [[(-float(first), (k,))] for k, first in enumerate(first_K)]
    for t in range(1, length):
        paths_K = [
            [(cost - float(e), (j, *tags)) for cost, tags in _cheapest(paths_K, transitions_KK[:, j], n)]
            for j, e in enumerate(e_LK[t])
        ]
    return [
        (-cost, np.array(tags[::-1], dtype=np.int64))
        for cost, tags in _cheapest(paths_K, scores.end_K.astype(np.float64), n)
    ]


def _cheapest(paths_K: list[list[_Path]], more_K: Floats, n: int) -> list[_Path]:
    moved = ((cost - float(more), tags) for paths, more in zip(paths_K, more_K, strict=True) for cost, tags in paths)
    return heapq.nsmallest(n, (path for path in moved if path[0] < np.inf))


def _alpha(e_LK: Floats, scores: Scores) -> Floats:
    alpha_LK = e_LK.astype(np.float64)
    alpha_LK[0] += scores.start_K
    for before_K, now_K in itertools.pairwise(alpha_LK):
        now_K += np.logaddexp.reduce(before_K[:, None] + scores.transitions_KK, axis=0)
    return alpha_LK


def _beta(e_LK: Floats, scores: Scores) -> Floats:
    beta_LK = np.empty(e_LK.shape, dtype=np.float64)
    beta_LK[-1] = scores.end_K
    for t in range(len(e_LK) - 2, -1, -1):
        beta_LK[t] = np.logaddexp.reduce(scores.transitions_KK + (e_LK[t + 1] + beta_LK[t + 1]), axis=1)
    return beta_LK


def _or_zero(largest: Floats) -> Floats:
    return np.where(largest == -np.inf, largest.dtype.type(0), largest)
