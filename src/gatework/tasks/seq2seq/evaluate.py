"""Measuring a loaded model on pairs: how likely the targets are, and how good what it writes is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import DataError
from gatework.tasks.bootstrap import RESAMPLES
from gatework.tasks.rows import open_rows
from gatework.tasks.seq2seq.scores import BLEU, Written, has_bleu, lead, scores

if TYPE_CHECKING:
    from gatework.text.pairs import Pair

COLUMNS = ("line", "source", "target", "answer", "score", "reason")


def evaluate(
    model: Any,
    examples: Iterable[Pair],
    *,
    names: Sequence[str],
    listed: bool,
    source: str = "data",
    predictions: Path | str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Metrics of a model; see `scores` for what they are.

    Args:
        model: a loaded model.
        examples: pairs; read once.
        names: metrics wanted.
        listed: whether pairs with one source are one example with several right targets.
        source: name of the data for errors.
        predictions: a file for a row with each answer.
        resamples, seed: of the bootstrap over answers; 0 resamples for no intervals.
        options: of `predict`, such as `beams`.
    Raises: DataError: no pairs. ConfigError: an option is unknown.
    """
    pairs = list(examples)
    if not pairs:
        raise DataError(f"{source}: no pairs. Give a file with some.")
    metrics: dict[str, Any] = {"n": len(pairs), **perplexity(*_nats(model, pairs))}
    grouped: dict[str, list[Pair]] = {}
    for place, pair in enumerate(pairs):
        grouped.setdefault(pair.source if listed else str(place), []).append(pair)
    firsts = [group[0] for group in grouped.values()]
    answers = model.predict_batch([pair.source for pair in firsts], **options)
    written: list[Written] = []
    with open_rows(predictions, COLUMNS) as write:
        for answer, group in zip(answers, grouped.values(), strict=True):
            references = tuple(dict.fromkeys(pair.target for pair in group))
            written.append(Written(answer.text, references))
            if write is not None:
                first = group[0]
                row = {"line": first.line, "source": first.source, "target": first.target, "answer": answer.text}
                write(row | {"score": answer.score, "reason": answer.reason})
    metrics["answers"] = len(written)
    metrics["cut"] = sum(answer.reason != "end" for answer in answers)
    metrics |= scores(written, names, resamples=resamples, seed=seed)
    if "rouge1" in names:
        metrics["lead"] = lead([pair.source for pair in firsts], written)
    if set(names) & set(BLEU) and not has_bleu():
        metrics["left_out"] = "BLEU and chrF, which need the extra 'eval': pip install 'gatework[eval]'"
    return metrics


def perplexity(nats: float, tokens: int) -> dict[str, Any]:
    """exp of the mean of -log p of the targets' tokens, their ends counted."""
    return {"perplexity": math.exp(min(nats / max(1, tokens), 700.0)), "tokens": tokens}


def _nats(model: Any, pairs: Sequence[Pair]) -> tuple[float, int]:
    scored = model.score((pair.source, pair.target) for pair in pairs)
    return -sum(one.log_p for one in scored), sum(one.tokens for one in scored)
