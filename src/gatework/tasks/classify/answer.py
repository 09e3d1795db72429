"""From logits to answers: temperature, thresholds, the default for an empty text, and what the caller gets.

    single label:  p = softmax(z / T),  the answer is argmax(p - t)      t = 0 unless two labels had a threshold tuned
    multi-label:   p = sigmoid(z / T),  every label with p >= t is given

B texts, C labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import BundleError, ConfigError
from gatework.core.plain import one_field

_FEW = 7
"""Labels up to which NumPy adds up one after the other, as Python does."""
FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer for one text."""

    label: str
    """The label; of several, the likeliest, whether or not it reached its threshold."""
    score: float
    """Probability of `label`."""
    scores: dict[str, float]
    """Probabilities, best first: of every label, or of the `top_k` asked for (and any other label that was given)."""
    labels: tuple[str, ...] | None = None
    """Multi-label: the labels given, likeliest first, perhaps none. Single label: None."""
    empty: bool = False
    """The text had nothing to read; the answer is how often each label occurred in training."""
    uncertain: bool | None = None
    """Single label, where the caller set a threshold: whether the score lies below it."""

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {"label": self.label, "score": self.score}
        if self.labels is not None:
            values["labels"] = list(self.labels)
        values["scores"] = dict(self.scores)
        values["empty"] = self.empty
        if self.uncertain is not None:
            values["uncertain"] = self.uncertain
        return values

    def to_line(self, top_k: int | None = None) -> str:
        """Label, tab, score, and so on; `uncertain` at the end where a threshold says so.

        Args:
            top_k: how many labels; None for the answer alone, or, where several may hold, for those that were given.
        """
        if top_k is None and self.labels is not None:
            ranked = [(label, self.scores[label]) for label in self.labels] or [("", self.score)]
        else:
            others = [(label, score) for label, score in self.scores.items() if label != self.label]
            ranked = [(self.label, self.score), *others][: top_k or 1]
        fields = [word for label, score in ranked for word in (one_field(label), f"{score:.4f}")]
        return "\t".join([*fields, "uncertain"] if self.uncertain else fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a model's logits are read: the `decode` object of `config.json`."""

    multi_label: bool = False
    temperature: float = 1.0
    """Divides the logits; above 1 it takes confidence away (Guo et al. 2017)."""
    thresholds: tuple[float, ...] = ()
    """For each label, as in the head of this file; empty for none (single label), 0.5 (multi-label)."""
    prior: tuple[float, ...] = ()
    """Share of training examples with each label: the answer for an empty text."""
    positive: int | None = None
    """Two labels: the one that `precision`, `recall` and `f1` are about, the rarer in training."""

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "multi_label": self.multi_label,
            "temperature": self.temperature,
            "thresholds": list(self.thresholds),
            "prior": list(self.prior),
            "positive": None if self.positive is None else labels[self.positive],
        }

    @classmethod
    def from_dict(cls, values: Any, labels: Sequence[str], *, source: str) -> Settings:
        """Read what `to_dict` wrote. Raises BundleError naming `source` and the offending entry."""
        if not isinstance(values, Mapping):
            raise BundleError(f"{source}: decode must be an object, got {type(values).__name__}. Export again.")
        multi_label = values.get("multi_label", False)
        if not isinstance(multi_label, bool):
            raise BundleError(f"{source}: decode.multi_label must be true or false, got {multi_label!r}. Export again.")
        positive = values.get("positive")
        if positive is not None and positive not in labels:
            raise BundleError(f"{source}: decode.positive {positive!r} is not one of the labels. Export again.")
        [temperature] = _numbers([values.get("temperature", 1.0)], 1, "temperature", 1e-3, 1e3, source)
        return cls(
            multi_label=multi_label,
            temperature=temperature,
            thresholds=_numbers(values.get("thresholds") or [], len(labels), "thresholds", 0.0, 1.0, source),
            prior=_numbers(values.get("prior") or [], len(labels), "prior", 0.0, 1.0, source),
            positive=None if positive is None else list(labels).index(positive),
        )


def _numbers(values: Any, count: int, name: str, low: float, high: float, source: str) -> tuple[float, ...]:
    """`values` as floats within bounds: none of them, or `count`."""
    if not isinstance(values, list | tuple) or len(values) not in (0, count):
        raise BundleError(f"{source}: decode.{name} must be a list of {count} numbers. Export the model again.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BundleError(f"{source}: decode.{name} has {value!r}, outside [{low:g}, {high:g}]. Export again.")
    return tuple(float(value) for value in values)


def probabilities(logits_BC: FloatArray, settings: Settings, empty_B: BoolArray | None = None) -> FloatArray:
    """Probabilities of each label, float64, (B, C). Rows of empty texts hold the training prior.

    Args:
        logits_BC: raw outputs of the network.
        settings: temperature, prior, and whether several labels may hold at once.
        empty_B: which texts had nothing to read.
    """
    z_BC = np.asarray(logits_BC, dtype=np.float64) / settings.temperature
    if settings.multi_label:
        # exp of a negative number alone, so that no logit overflows.
        e_BC = np.exp(-np.abs(z_BC))
        p_BC = np.where(z_BC >= 0, 1.0, e_BC) / (1.0 + e_BC)
    else:
        e_BC = np.exp(z_BC - z_BC.max(axis=1, keepdims=True))
        p_BC = e_BC / e_BC.sum(axis=1, keepdims=True)
    if empty_B is not None and settings.prior and np.any(empty_B):
        p_BC[np.asarray(empty_B, dtype=bool)] = settings.prior
    return p_BC


def decisions(p_BC: FloatArray, settings: Settings, empty_B: BoolArray | None = None) -> npt.NDArray[Any]:
    """The answers as numbers: label ids, int64, (B,), or for multi-label which labels are given, bool, (B, C)."""
    chosen: npt.NDArray[Any]
    if settings.multi_label:
        chosen = p_BC >= (np.asarray(settings.thresholds) if settings.thresholds else 0.5)
        return chosen
    if not settings.thresholds:
        chosen = p_BC.argmax(axis=1)
        return chosen
    # A tuned threshold weighs the evidence of a text; an empty text has none, so its answer is the commonest label.
    t_BC = np.where(np.zeros(len(p_BC), bool) if empty_B is None else empty_B, 0.0, 1.0)[:, None] * settings.thresholds
    chosen = (p_BC - t_BC).argmax(axis=1)
    return chosen


def decode(
    logits_BC: FloatArray,
    empty_B: Sequence[bool] | BoolArray,
    settings: Settings,
    labels: Sequence[str],
    *,
    top_k: int | None = None,
    threshold: float | None = None,
) -> list[Classification]:
    """An answer for each row of logits.

    Args:
        logits_BC: raw outputs of the network.
        empty_B: which texts had nothing to read.
        settings: of the model.
        labels: names of the C outputs.
        top_k: how many labels `scores` holds; None for all.
        threshold: multi-label: given from this probability on, for every label; single label: marks answers below
            it as uncertain. None for the model's own thresholds.
    Raises: ConfigError: `top_k` is below 1 or `threshold` outside [0, 1].
    """
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k must be at least 1, got {top_k}. Leave it out for every label.")
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"threshold must be in [0, 1], got {threshold}. Leave it out for the model's own.")
    if settings.multi_label and threshold is not None:
        settings = _with_threshold(settings, threshold, len(labels))
    if len(logits_BC) == 1 and len(labels) <= _FEW and not settings.multi_label and not any(empty_B):
        p_C = _softmax([float(z) / settings.temperature for z in logits_BC[0].tolist()])
        if p_C is not None:
            margins = p_C if not settings.thresholds else [p - t for p, t in zip(p_C, settings.thresholds, strict=True)]
            order = sorted(range(len(p_C)), key=lambda index: -p_C[index])
            return [_one(p_C, margins.index(max(margins)), order, labels, False, top_k, threshold)]
    p_BC = probabilities(logits_BC, settings, np.asarray(empty_B, dtype=bool) if any(empty_B) else None)
    chosen = decisions(p_BC, settings, np.asarray(empty_B, dtype=bool))
    order_BC = np.argsort(-p_BC, axis=1, kind="stable").tolist()
    rows = zip(p_BC.tolist(), chosen.tolist(), order_BC, empty_B, strict=True)
    if settings.multi_label:
        return [_several(p_C, given_C, order, labels, bool(empty), top_k) for p_C, given_C, order, empty in rows]
    return [_one(p_C, best, order, labels, bool(empty), top_k, threshold) for p_C, best, order, empty in rows]


def _softmax(z_C: list[float]) -> list[float] | None:
    """`probabilities` of one text with few labels, without arrays: a tenth of the time. None unless all are finite."""
    highest = max(z_C)
    e_C = [math.exp(z - highest) for z in z_C]
    total = sum(e_C)
    return [e / total for e in e_C] if total - total == 0.0 else None


def _with_threshold(settings: Settings, threshold: float, count: int) -> Settings:
    return Settings(
        multi_label=True,
        temperature=settings.temperature,
        thresholds=(threshold,) * count,
        prior=settings.prior,
        positive=settings.positive,
    )


def _one(
    p_C: list[float],
    best: int,
    order: list[int],
    labels: Sequence[str],
    empty: bool,
    top_k: int | None,
    threshold: float | None,
) -> Classification:
    shown = order[:top_k]
    if best not in shown:  # a tuned threshold chose a label that is not the likeliest
        shown = [*shown, best]
    return Classification(
        label=labels[best],
        score=p_C[best],
        scores={labels[index]: p_C[index] for index in shown},
        empty=empty,
        uncertain=None if threshold is None else p_C[best] < threshold,
    )


def _several(
    p_C: list[float], given_C: list[bool], order: list[int], labels: Sequence[str], empty: bool, top_k: int | None
) -> Classification:
    shown = order if top_k is None else [index for rank, index in enumerate(order) if rank < top_k or given_C[index]]
    return Classification(
        label=labels[order[0]],
        score=p_C[order[0]],
        scores={labels[index]: p_C[index] for index in shown},
        labels=tuple(labels[index] for index in order if given_C[index]),
        empty=empty,
    )
