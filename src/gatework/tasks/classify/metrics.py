"""How good a classifier is. NumPy alone, so that evaluation needs the runtime install and no more.

    precision = tp / (tp + fp)    recall = tp / (tp + fn)    F1 = 2 tp / (2 tp + fp + fn)      0 where undefined
    accuracy  = right / all       multi-label: the whole set of labels must be right (exact match)
    ECE       = sum over bins of |share right - mean confidence| * share of predictions in the bin, 15 equal bins
    NLL       = mean of -log p(truth), nats; multi-label: mean over texts and labels

`precision`, `recall`, `f1` are those of the positive class where there are two labels, the mean over labels (macro)
where there are more, and over all decisions (micro) for multi-label. Macro means leave out labels that occur neither
in the truth nor among the answers, as scikit-learn does.

N examples, C labels. Sources: scikit-learn's definitions; ECE: Guo et al., ICML 2017, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.tasks.bootstrap import RESAMPLES
from gatework.tasks.classify.answer import FloatArray, Settings, decisions, probabilities
from gatework.tasks.classify.interval import f1_from, intervals

IntArray = npt.NDArray[np.integer]
ECE_BINS = 15
MOST_CONFUSION = 100
"""Labels up to which metrics hold the whole confusion matrix."""
NAMES = {
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "f1_macro": True,
    "f1_weighted": True,
    "f1_micro": True,
    "ece": False,
    "nll": False,
}
"""Metrics that are one number, and whether more is better."""


def metrics(
    logits_NC: FloatArray,
    targets: npt.NDArray[Any],
    labels: Sequence[str],
    *,
    settings: Settings | None = None,
    empty_N: npt.NDArray[np.bool_] | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Every metric of answers against the truth.

    Args:
        logits_NC: raw outputs of the network.
        targets: label ids, (N,), or for multi-label 0 and 1, (N, C).
        labels: names of the C outputs.
        settings: how logits become answers; None for argmax (or 0.5) at temperature 1.
        empty_N: texts with nothing to read, which are answered from the prior.
        resamples: bootstrap resamples for `interval`, 95 % intervals of accuracy and F1; 0 leaves it out.
            1000 is plenty.
        seed: of the bootstrap.
    Returns: the names in `NAMES`, and `n`, `multi_label`, `per_class`, `confusion` (rows truth, columns answer, in the
        order of `labels`; None for multi-label and above 100 labels), `reliability` (the bins of the ECE), `positive`,
        and `interval` if asked for.
    Raises: DataError: there are no examples.
    """
    targets = np.asarray(targets)
    if not len(targets):
        raise DataError("evaluation: there are no examples. Give a file with at least one.")
    if settings is None:
        settings = Settings(multi_label=targets.ndim == 2)
    p_NC = probabilities(logits_NC, settings, empty_N)
    chosen = decisions(p_NC, settings, empty_N)
    if settings.multi_label:
        return _multi_label(p_NC, chosen, targets > 0.5, labels, resamples, seed)
    return _single_label(p_NC, chosen, targets.astype(np.int64), labels, settings.positive, resamples, seed)


def _single_label(
    p_NC: FloatArray,
    chosen_N: IntArray,
    targets_N: IntArray,
    labels: Sequence[str],
    positive: int | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    count = len(labels)
    confusion_CC = np.bincount(targets_N * count + chosen_N, minlength=count * count).reshape(count, count)
    if positive is None and count == 2:
        positive = int(confusion_CC.sum(axis=1)[1] <= confusion_CC.sum(axis=1)[0])
    tp_C = confusion_CC.diagonal()
    values = _from_counts(tp_C, confusion_CC.sum(axis=0) - tp_C, confusion_CC.sum(axis=1) - tp_C, labels)
    accuracy = float(tp_C.sum() / len(targets_N))
    head = {"n": len(targets_N), "multi_label": False, "accuracy": accuracy}
    if count == 2 and positive is not None:
        one = values["per_class"][labels[positive]]
        head |= {name: one[name] for name in ("precision", "recall", "f1")}
    else:
        head |= {name: values[f"{name}_macro"] for name in ("precision", "recall", "f1")}
    head |= {"f1_macro": values["f1_macro"], "f1_weighted": values["f1_weighted"], "f1_micro": accuracy}
    confidence_N, right_N = p_NC[np.arange(len(chosen_N)), chosen_N], chosen_N == targets_N
    result: dict[str, Any] = head | {
        "ece": expected_calibration_error(confidence_N, right_N),
        "nll": float(-np.log(np.maximum(p_NC[np.arange(len(targets_N)), targets_N], 1e-300)).mean()),
        "positive": None if positive is None else labels[positive],
        "per_class": values["per_class"],
        "confusion": confusion_CC.tolist() if count <= MOST_CONFUSION else None,
        "reliability": _reliability(confidence_N, right_N),
    }
    if resamples:
        result["interval"] = intervals(confusion_CC, positive, resamples=resamples, seed=seed)
    return result


def _multi_label(
    p_NC: FloatArray,
    given_NC: npt.NDArray[np.bool_],
    truth_NC: npt.NDArray[np.bool_],
    labels: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    from gatework.tasks.classify.interval import multi_label_intervals

    both_NC, only_NC, missed_NC = given_NC & truth_NC, given_NC & ~truth_NC, ~given_NC & truth_NC
    values = _from_counts(both_NC.sum(axis=0), only_NC.sum(axis=0), missed_NC.sum(axis=0), labels)
    tp, fp, fn = int(both_NC.sum()), int(only_NC.sum()), int(missed_NC.sum())
    exact_N = (given_NC == truth_NC).all(axis=1)
    truth_p_NC = np.where(truth_NC, p_NC, 1.0 - p_NC)
    f1 = float(f1_from(tp, fp, fn))
    confidence, right = np.maximum(p_NC, 1.0 - p_NC).ravel(), ((p_NC >= 0.5) == truth_NC).ravel()
    result: dict[str, Any] = {
        "n": len(truth_NC),
        "multi_label": True,
        "accuracy": float(exact_N.mean()),
        "precision": tp / max(1, tp + fp),
        "recall": tp / max(1, tp + fn),
        "f1": f1,
        "f1_macro": values["f1_macro"],
        "f1_weighted": values["f1_weighted"],
        "f1_micro": f1,
        "ece": expected_calibration_error(confidence, right),
        "nll": float(-np.log(np.maximum(truth_p_NC, 1e-300)).mean()),
        "positive": None,
        "per_class": values["per_class"],
        "confusion": None,
        "reliability": _reliability(confidence, right),
    }
    if resamples:
        counts_N3 = np.stack([both_NC.sum(axis=1), only_NC.sum(axis=1), missed_NC.sum(axis=1)], axis=1)
        result["interval"] = multi_label_intervals(counts_N3, resamples=resamples, seed=seed)
    return result


def _from_counts(tp_C: IntArray, fp_C: IntArray, fn_C: IntArray, labels: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of each label, their plain means, and the mean of F1 weighted by support."""
    precision_C = tp_C / np.maximum(1, tp_C + fp_C)
    recall_C = tp_C / np.maximum(1, tp_C + fn_C)
    f1_C = f1_from(tp_C, fp_C, fn_C)
    support_C = tp_C + fn_C
    occurs_C = tp_C + fp_C + fn_C > 0
    rows = zip(labels, precision_C.tolist(), recall_C.tolist(), f1_C.tolist(), support_C.tolist(), strict=True)
    return {
        "per_class": {
            label: {"precision": precision, "recall": recall, "f1": f1, "support": support}
            for label, precision, recall, f1, support in rows
        },
        "precision_macro": float(precision_C[occurs_C].mean()) if occurs_C.any() else 0.0,
        "recall_macro": float(recall_C[occurs_C].mean()) if occurs_C.any() else 0.0,
        "f1_macro": float(f1_C[occurs_C].mean()) if occurs_C.any() else 0.0,
        "f1_weighted": float((f1_C * support_C).sum() / max(1, support_C.sum())),
    }


def calibration_bins(
    confidence_N: FloatArray, right_N: npt.NDArray[np.bool_], bins: int = ECE_BINS
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Mean confidence, share right, and count in each of `bins` equal bins (i/bins, (i+1)/bins]; 0 where empty."""
    bin_N = np.clip(np.ceil(np.asarray(confidence_N) * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(bin_N, minlength=bins)
    at_least_1 = np.maximum(1, count)
    confidence = np.bincount(bin_N, weights=confidence_N, minlength=bins) / at_least_1
    right = np.bincount(bin_N, weights=np.asarray(right_N, dtype=np.float64), minlength=bins) / at_least_1
    return confidence, right, count


def _reliability(confidence_N: FloatArray, right_N: npt.NDArray[np.bool_]) -> dict[str, list[float]]:
    confidence, right, count = calibration_bins(confidence_N, right_N)
    return {"confidence": confidence.tolist(), "right": right.tolist(), "count": count.tolist()}


def expected_calibration_error(confidence_N: FloatArray, right_N: npt.NDArray[np.bool_]) -> float:
    """How far stated confidence lies from the share of right answers, on average; 0 is perfect."""
    confidence, right, count = calibration_bins(confidence_N, right_N)
    return float((np.abs(confidence - right) * count).sum() / max(1, count.sum()))


__all__ = ["NAMES", "RESAMPLES", "calibration_bins", "expected_calibration_error", "metrics"]
