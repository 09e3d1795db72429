"""Linear-chain CRF in float64, twice: by listing every path, and by the recursions of Rabiner (1989) over logarithms.

`enumerate_paths` is the definition itself, for few tags and steps; `expectations` and `best_path` serve larger cases.
They go one sequence at a time and share no code with the package. Scores of -inf forbid.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np


class Paths(NamedTuple):
    """Every path of a sequence, from high score to low; of equal scores, the one with the lowest last tags first."""

    tags: list[tuple[int, ...]]
    scores: np.ndarray


class Expected(NamedTuple):
    log_z: float
    tags_LK: np.ndarray
    moves_KK: np.ndarray


def path_score(e_LK, transitions, start, end, path):
    if len(path) == 0:
        return 0.0
    score = start[path[0]] + end[path[-1]]
    for t, tag in enumerate(path):
        score += e_LK[t, tag]
        if t:
            score += transitions[path[t - 1], tag]
    return float(score)


def enumerate_paths(e_LK, transitions, start, end):
    length, tags = e_LK.shape
    paths = list(itertools.product(range(tags), repeat=length))
    scored = sorted((-path_score(e_LK, transitions, start, end, path), path[::-1], path) for path in paths)
    return Paths([path for _, _, path in scored], np.array([-cost for cost, _, _ in scored]))


def expectations_by_enumeration(e_LK, transitions, start, end):
    paths = enumerate_paths(e_LK, transitions, start, end)
    top = paths.scores.max()
    weight = np.exp(paths.scores - top)
    z = weight.sum()
    p, moves = np.zeros(e_LK.shape), np.zeros(transitions.shape)
    for path, share in zip(paths.tags, weight / z, strict=True):
        for t, tag in enumerate(path):
            p[t, tag] += share
            if t:
                moves[path[t - 1], tag] += share
    return Expected(top + np.log(z), p, moves)


def _lse(a, axis):
    top = a.max(axis=axis, keepdims=True)
    top = np.where(np.isneginf(top), 0, top)
    with np.errstate(divide="ignore"):
        return np.squeeze(top, axis) + np.log(np.exp(a - top).sum(axis=axis))


def expectations(e_LK, transitions, start, end):
    length, tags = e_LK.shape
    if length == 0:
        return Expected(0.0, np.zeros((0, tags)), np.zeros((tags, tags)))
    alpha, beta = np.zeros((length, tags)), np.zeros((length, tags))
    alpha[0], beta[-1] = start + e_LK[0], end
    for t in range(1, length):
        alpha[t] = _lse(alpha[t - 1][:, None] + transitions, 0) + e_LK[t]
    for t in reversed(range(length - 1)):
        beta[t] = _lse(transitions + (e_LK[t + 1] + beta[t + 1])[None, :], 1)
    log_z = float(_lse(alpha[-1] + end, 0))
    moves = np.zeros((tags, tags))
    for t in range(length - 1):
        moves += np.exp(alpha[t][:, None] + transitions + (e_LK[t + 1] + beta[t + 1])[None, :] - log_z)
    return Expected(log_z, np.exp(alpha + beta - log_z), moves)


def best_path(e_LK, transitions, start, end):
    """Viterbi in float64: (tags, score); the lowest last tag of equal paths."""
    length, tags = e_LK.shape
    if length == 0:
        return [], 0.0
    score, back = start + e_LK[0], []
    for t in range(1, length):
        arrivals = score[:, None] + transitions
        back.append([int(np.flatnonzero(arrivals[:, j] == arrivals[:, j].max())[0]) for j in range(tags)])
        score = arrivals.max(axis=0) + e_LK[t]
    last = score + end
    path = [int(np.flatnonzero(last == last.max())[0])]
    for step in reversed(back):
        path.append(step[path[-1]])
    return path[::-1], float(last.max())
