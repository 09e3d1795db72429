"""What each token of a text does for a label, without gradients: the text is answered again without the token.

    weight_t = log odds p(label | text) - log odds p(label | text without token t)     nats; above 0: it speaks for it

The probabilities are those the model answers with. T + 1 texts of about T tokens are answered.

Source: Zeiler and Fergus, arXiv:1311.2901, section 4.2; for words: Li, Monroe and Jurafsky, arXiv:1612.08220.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from gatework.runtime.model import Model

MOST_TOKENS = 512
"""Of a text, that are left out one after the other."""
LEAST = 1e-7
"""Probabilities are kept this far from 0 and 1: beyond it float32 says nothing."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """What tokens do for a label."""

    label: str
    score: float
    """Probability of the label."""
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    """Of the tokens in the caller's string."""
    weights: tuple[float, ...]
    """Of each token, nats of log odds."""
    left_out: int
    """Tokens at the end of the text that were not looked at."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "score": self.score,
            "left_out": self.left_out,
            "tokens": [
                {"text": token, "start": start, "end": end, "weight": round(weight, 4)}
                for token, (start, end), weight in zip(self.tokens, self.offsets, self.weights, strict=True)
            ],
        }


def occlusion(model: Model, text: str, *, label: str | None = None, limit: int = MOST_TOKENS) -> Attribution:
    """What each token of a text does for a label of a classifier.

    Args:
        model: of the task classify.
        text: a string.
        label: None for the one the model gives.
        limit: tokens looked at, from the beginning; at least 1.
    Raises: ConfigError: the model gives no labels to texts, or not this one; the limit is below 1. DataError: the text
        is no string, or has nothing to read.
    """
    if model.task != "classify":
        raise ConfigError(f"occlusion is of classifiers; this model is of the task {model.task}.")
    if not isinstance(text, str):
        raise DataError(f"a text must be a string, got {type(text).__name__}.")
    if limit < 1:
        raise ConfigError(f"limit must be at least 1, got {limit}.")
    if label is not None and label not in model.labels:
        raise ConfigError(f"label {label!r} is unknown. {nearest(label, model.labels)}")
    offsets = model.codec.text.offsets(text)  # type: ignore[attr-defined]
    if not offsets:
        raise DataError("the text has nothing to read. Give one with words.")
    kept = offsets[:limit]
    answers = model.predict_batch([text, *(text[:start] + text[end:] for start, end in kept)])
    label = answers[0].label if label is None else label
    whole = _log_odds(answers[0].scores[label])
    return Attribution(
        label=label,
        score=answers[0].scores[label],
        tokens=tuple(text[start:end] for start, end in kept),
        offsets=tuple(kept),
        weights=tuple(whole - _log_odds(answer.scores[label]) for answer in answers[1:]),
        left_out=len(offsets) - len(kept),
    )


def _log_odds(p: float) -> float:
    p = min(max(p, LEAST), 1.0 - LEAST)
    return math.log(p / (1.0 - p))
