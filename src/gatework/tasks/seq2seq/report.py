"""Metrics of sequence to sequence as a text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatework.core.counted import counted
from gatework.tasks.seq2seq.choosing import TOP

WORDS = {
    "bleu": "BLEU, mixed case",
    "bleu_lowercase": "BLEU, lower case",
    "chrf": "chrF",
    "rouge1": "ROUGE-1, F1",
    "rouge2": "ROUGE-2, F1",
    "rougeL": "ROUGE-L, F1",
    "exact_match": "of the answers are exactly right",
    "per": "edits a token (phoneme error rate)",
    "wer": "of the sources are answered wrongly (word error rate)",
    "distinct1": "different words a word",
    "distinct2": "different word pairs a pair",
    "perplexity": "perplexity a token of the targets",
}


def report(metrics: Mapping[str, Any]) -> str:
    """Scores, then what was counted."""
    return "\n".join(_lines(metrics))


def _lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    interval = metrics.get("interval", {})
    for name, words in WORDS.items():
        if name in metrics:
            ends = interval.get(name)
            between = f", 95 % interval {ends[0]:.4f} to {ends[1]:.4f}" if ends else ""
            yield f"{metrics[name]:.4f}  {words}{between}"
    if "recall" in metrics:
        found = metrics["recall"]
        said = ", ".join(f"{found[f'recall@{k}']:.4f}" for k in TOP if f"recall@{k}" in found)
        ranks = ", ".join(str(k) for k in TOP if f"recall@{k}" in found)
        yield (
            f"{said}  of the given replies are among the first {ranks} of {found['candidates']} candidates, "
            f"in {counted(found['n'], 'dialogue')}"
        )
    if "lead" in metrics:
        said = ", ".join(f"{metrics['lead'][name]:.4f}" for name in ("rouge1", "rouge2", "rougeL"))
        first = counted(metrics["lead"]["words"], "word")
        yield f"{said}  ROUGE-1, 2, L of the first {first} of each source, to compare"
    for name, signature in metrics.get("signature", {}).items():
        yield f"{name}: {signature}"
    if "left_out" in metrics:
        yield f"Left out: {metrics['left_out']}."
    yield ""
    yield f"{counted(metrics['n'], 'pair')}, {counted(metrics['tokens'], 'token')} of targets, ends counted"
    if metrics.get("cut"):
        yield f"{counted(metrics['cut'], 'answer')} had no end and were cut at the length limit"
