"""Holding back a part of the training examples for dev.

Every label keeps its share, as far as counts allow, and identical texts stay on one side: a message that occurs
twice must not be learnt in training and then recognised in dev. Labels are served rarest first, so that a rare one is
not left without dev examples by the choices made for others; with several labels an example this is the iterative
stratification of Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML 2011.

N examples, U different texts, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
BoolArray = npt.NDArray[np.bool_]


def hold_back(
    rows_N: Sequence[Sequence[int]], text_N: IntArray, *, labels: int, fraction: float, rng: np.random.Generator
) -> BoolArray:
    """Which examples go to dev, (N,).

    Args:
        rows_N: label ids of each example.
        text_N: a number of each example's text, equal for identical texts.
        labels: C.
        fraction: share of each label that dev should get; at least one example where a label has two texts.
        rng: draws them.
    """
    _, group_N = np.unique(text_N, return_inverse=True)
    groups = int(group_N.max()) + 1 if len(group_N) else 0
    size_U = np.bincount(group_N, minlength=groups)
    pairs = np.array([(label, group) for row, group in zip(rows_N, group_N.tolist(), strict=True) for label in row])
    unlabelled_N = np.array([not row for row in rows_N], dtype=bool)
    # Examples of a label by text: which texts carry it, and how often.
    order_U = rng.permutation(groups)
    rank_U = np.empty(groups, dtype=np.int64)
    rank_U[order_U] = np.arange(groups)
    taken_U = np.zeros(groups, dtype=bool)
    kept_U = np.zeros(groups, dtype=bool)
    counts_C = np.bincount(pairs[:, 0], minlength=labels) if len(pairs) else np.zeros(labels, dtype=np.int64)
    for label in np.argsort(counts_C, kind="stable").tolist():
        if counts_C[label]:
            carriers, times = np.unique(pairs[pairs[:, 0] == label, 1], return_counts=True)
            _take(carriers, times, fraction, rank_U, taken_U, kept_U)
    _take_unlabelled(np.unique(group_N[unlabelled_N]), fraction, size_U, rank_U, taken_U, kept_U)
    held_N: BoolArray = taken_U[group_N]
    return held_N


def _take(
    carriers: IntArray, times: IntArray, fraction: float, rank_U: IntArray, taken_U: BoolArray, kept_U: BoolArray
) -> None:
    """Settle every text that carries one label: to dev until its share is reached, the rest to training."""
    wanted = max(1, round(fraction * int(times.sum())))
    have = int(times[taken_U[carriers]].sum())
    free = ~taken_U[carriers] & ~kept_U[carriers]
    free_carriers, free_times = carriers[free], times[free]
    turn = np.argsort(rank_U[free_carriers], kind="stable")
    free_carriers, free_times = free_carriers[turn], free_times[turn]
    if not kept_U[carriers].any() and len(free_carriers):
        # One text at least must stay for training, the last of the draw.
        kept_U[free_carriers[-1]] = True
        free_carriers, free_times = free_carriers[:-1], free_times[:-1]
    before = have + np.cumsum(free_times) - free_times
    chosen = before < wanted
    # A text repeated often is passed over where it would overshoot by more than half of it, unless dev has none yet.
    chosen &= (before + free_times / 2 <= wanted) | (before == 0)
    taken_U[free_carriers[chosen]] = True
    kept_U[free_carriers[~chosen]] = True


def _take_unlabelled(
    groups: IntArray, fraction: float, size_U: IntArray, rank_U: IntArray, taken_U: BoolArray, kept_U: BoolArray
) -> None:
    """Multi-label examples without any label are a kind of their own."""
    free = groups[~taken_U[groups] & ~kept_U[groups]]
    free = free[np.argsort(rank_U[free], kind="stable")]
    taken_U[free[np.cumsum(size_U[free]) <= fraction * size_U[free].sum()]] = True
