"""Intervals of a classifier's scores; see `tasks.bootstrap`.

R resamples, K cells of a confusion matrix that occur, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gatework.tasks.bootstrap import RESAMPLES, IntArray, draws, middle


def f1_from(tp: Any, fp: Any, fn: Any) -> Any:
    """F1 of counts, numbers or arrays; 0 where there is nothing to find and nothing was found."""
    return 2 * tp / np.maximum(1, 2 * tp + fp + fn)


def intervals(
    confusion_CC: IntArray, positive: int | None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, list[float]]:
    """95 % intervals `[low, high]` of `accuracy` and `f1` (of `positive`, or macro) from a confusion matrix."""
    truth_K, answer_K = np.nonzero(confusion_CC)
    counts_K = confusion_CC[truth_K, answer_K]
    accuracy, f1 = [], []
    for draws_RK in draws(counts_K, resamples, seed):
        accuracy.append(draws_RK[:, truth_K == answer_K].sum(axis=1) / counts_K.sum())
        tp_RC = _summed(draws_RK * (truth_K == answer_K), truth_K, len(confusion_CC))
        fn_RC = _summed(draws_RK, truth_K, len(confusion_CC)) - tp_RC
        fp_RC = _summed(draws_RK, answer_K, len(confusion_CC)) - tp_RC
        f1_RC = f1_from(tp_RC, fp_RC, fn_RC)
        if len(confusion_CC) == 2 and positive is not None:
            f1.append(f1_RC[:, positive])
        else:
            occurs_RC = tp_RC + fp_RC + fn_RC > 0
            f1.append(f1_RC.sum(axis=1) / np.maximum(1, occurs_RC.sum(axis=1)))
    return {"accuracy": middle(accuracy), "f1": middle(f1)}


def multi_label_intervals(counts_N3: IntArray, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, list[float]]:
    """95 % intervals of exact match and micro F1, from each example's true, false and missed labels, (N, 3)."""
    kinds_K3, times_K = np.unique(counts_N3, axis=0, return_counts=True)
    exact_K = (kinds_K3[:, 1:] == 0).all(axis=1)
    accuracy, f1 = [], []
    for draws_RK in draws(times_K, resamples, seed):
        accuracy.append(draws_RK[:, exact_K].sum(axis=1) / times_K.sum())
        f1.append(f1_from(*(draws_RK @ kinds_K3).T))
    return {"accuracy": middle(accuracy), "f1": middle(f1)}


def _summed(draws_RK: IntArray, class_K: IntArray, classes: int) -> IntArray:
    """Counts of cells added up by class, (R, C)."""
    order = np.argsort(class_K, kind="stable")
    present, starts = np.unique(class_K[order], return_index=True)
    total_RC = np.zeros((len(draws_RK), classes), dtype=np.int64)
    total_RC[:, present] = np.add.reduceat(draws_RK[:, order], starts, axis=1)
    return total_RC
