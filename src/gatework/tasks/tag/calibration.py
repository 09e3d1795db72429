"""Scores of spans that mean something: of the spans said to be right with probability p, a share p should be right.

The chain gives P(span) exactly, but of a network that is too sure of itself. A line through the log-odds is fitted on
the spans found in dev data, by maximum likelihood, with targets that are slightly unsure:

    score = sigmoid(a log(P / (1 - P)) + b)

How good scores are is the expected calibration error over bins that hold equally many spans.

Sources: Platt, "Probabilistic outputs for support vector machines", 1999. Nixon et al., "Measuring calibration in deep
learning", CVPR workshops 2019 (bins of equal counts).

S spans.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gatework.tasks.tag.answer import LEAST

FEWEST = 20
"""Spans, right and wrong ones each, below which nothing is fitted."""
BINS = 15


def fit(p_S: Sequence[float], right_S: Sequence[bool]) -> tuple[float, float]:
    """a and b; (1, 0) where there are too few spans to tell, or where a would not be positive.

    Args:
        p_S: probabilities of the spans, as the chain gives them.
        right_S: whether each was right.
    """
    truth_S = np.asarray(right_S, dtype=np.float64)
    right, wrong = float(truth_S.sum()), float(len(truth_S) - truth_S.sum())
    if min(right, wrong) < FEWEST:
        return 1.0, 0.0
    p = np.clip(np.asarray(p_S, dtype=np.float64), LEAST, 1.0 - LEAST)
    x_S2 = np.stack([np.log(p / (1.0 - p)), np.ones_like(p)], axis=1)
    target_S = np.where(truth_S > 0, (right + 1.0) / (right + 2.0), 1.0 / (wrong + 2.0))
    w_2 = np.array([1.0, 0.0])
    for _ in range(100):
        q_S = 1.0 / (1.0 + np.exp(-np.clip(x_S2 @ w_2, -500.0, 500.0)))
        gradient_2 = x_S2.T @ (q_S - target_S)
        hessian_22 = (x_S2 * (q_S * (1.0 - q_S))[:, None]).T @ x_S2 + 1e-6 * np.eye(2)
        step_2 = np.linalg.solve(hessian_22, gradient_2)
        w_2 -= step_2 * min(1.0, 2.0 / max(1e-12, float(np.abs(step_2).max())))
        if np.abs(step_2).max() < 1e-8:
            break
    a, b = (float(one) for one in w_2)
    return (a, b) if 1e-3 < a < 1e3 and abs(b) < 1e3 else (1.0, 0.0)


def expected_calibration_error(score_S: npt.ArrayLike, right_S: npt.ArrayLike) -> float:
    """Mean distance between score and share of right spans, over BINS bins of equal counts; 0 of nothing."""
    scores, right = np.asarray(score_S, dtype=np.float64), np.asarray(right_S, dtype=np.float64)
    if not len(scores):
        return 0.0
    order = np.argsort(scores, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    return float(sum(abs(scores[part].sum() - right[part].sum()) for part in bins) / len(scores))
