"""Choosing temperature and thresholds on dev examples, after training.

Temperature: the T that makes the truth likeliest under softmax(z / T) or sigmoid(z / T). The loss is convex in
b = 1 / T, with derivative mean(E_p[z] - z_truth), so its root is found by bisection. The truth counts as slightly
unsure, as in Platt's method: where every dev answer is right, T would otherwise fall to 0.

Thresholds: the F1 of a label as a function of its threshold is noisy where dev is small. Of all thresholds whose F1
lies within one standard error of the best, the one nearest an anchor is taken: 1/2 between two labels, and for
multi-label half the best F1, which is where the optimum lies for calibrated probabilities.

Sources: Guo et al., "On calibration of modern neural networks", ICML 2017. Platt, "Probabilistic outputs for support
vector machines", 1999. Lipton, Elkan and Narayanaswamy, "Optimal thresholding of classifiers to maximize F1
measure", ECML 2014. One-standard-error rule: Breiman et al., "Classification and regression trees", 1984.

N examples, C labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.tasks.classify.answer import FloatArray, Settings, probabilities
from gatework.tasks.classify.interval import f1_from

COLDEST, HOTTEST = 0.2, 20.0
"""Temperatures searched."""


def calibrate(logits_NC: FloatArray, targets: npt.NDArray[Any]) -> float:
    """The temperature that makes the targets likeliest, in [0.2, 20].

    Args:
        logits_NC: raw outputs of the network on examples it was not trained on.
        targets: label ids, (N,), or for multi-label 0 and 1, (N, C).
    """
    if not len(logits_NC):
        return 1.0
    z_NC = np.asarray(logits_NC, dtype=np.float64)
    multi_label = targets.ndim == 2
    truth_NC = targets.astype(np.float64) if multi_label else np.eye(z_NC.shape[1])[targets.astype(np.int64)]
    unsure = 1.0 / (len(z_NC) + 2)
    truth_NC = (1.0 - unsure) * truth_NC + unsure * (0.5 if multi_label else 1.0 / z_NC.shape[1])
    low, high = 1.0 / HOTTEST, 1.0 / COLDEST
    for _ in range(40):
        middle = (low * high) ** 0.5
        p_NC = probabilities(z_NC, Settings(multi_label=multi_label, temperature=1.0 / middle))
        if ((p_NC - truth_NC) * z_NC).sum() > 0:  # the loss rises with 1 / T here: too cold
            high = middle
        else:
            low = middle
    return float(1.0 / (low * high) ** 0.5)


def tune_threshold(p_N: FloatArray, truth_N: npt.NDArray[np.bool_], *, anchor: float | None = None) -> float:
    """The probability from which on a label should be given, for the best F1.

    Args:
        p_N: probability of the label for each example.
        truth_N: whether it has the label.
        anchor: taken where many thresholds are as good; None for half the best F1.
    Returns: a threshold in [0, 1]; the anchor (or 0.5) where no example has the label.
    """
    positives = int(truth_N.sum())
    if not positives:
        return 0.5 if anchor is None else anchor
    order = np.argsort(-p_N, kind="stable")
    p_N, tp_N = p_N[order], np.cumsum(truth_N[order])
    given_N = np.arange(1, len(p_N) + 1)
    # A cut between equal probabilities cannot be made.
    cut_K = np.flatnonzero(np.append(p_N[1:] < p_N[:-1], True))
    f1_K = f1_from(tp_N[cut_K], given_N[cut_K] - tp_N[cut_K], positives - tp_N[cut_K])
    best = float(f1_K.max())
    anchor = best / 2 if anchor is None else anchor
    good_K = cut_K[f1_K >= best - (best * (1.0 - best) / positives) ** 0.5]
    # Any threshold in (next probability, this one] makes the same cut; the nearest to the anchor is taken, kept off
    # the ends so that rounding cannot move an example across.
    upper_K = p_N[good_K]
    lower_K = np.append(p_N, 0.0)[good_K + 1]
    margin_K = 0.25 * (upper_K - lower_K)
    nearest_K = np.clip(anchor, lower_K + margin_K, upper_K - margin_K)
    return float(nearest_K[np.abs(nearest_K - anchor).argmin()])


def tune_thresholds(p_NC: FloatArray, targets: npt.NDArray[Any], positive: int | None) -> tuple[float, ...]:
    """Thresholds for `answer.Settings`.

    Args:
        p_NC: calibrated probabilities on dev.
        targets: label ids, (N,), or for multi-label 0 and 1, (N, C).
        positive: with two labels, the one whose F1 counts.
    Returns: one for each label; none for more than two exclusive labels, where the likeliest is the answer.
    """
    if targets.ndim == 2:
        return tuple(tune_threshold(p_NC[:, label], targets[:, label] > 0.5) for label in range(p_NC.shape[1]))
    if positive is None or p_NC.shape[1] != 2:
        return ()
    threshold = tune_threshold(p_NC[:, positive], targets == positive, anchor=0.5)
    return (threshold, 1.0 - threshold) if positive == 0 else (1.0 - threshold, threshold)
