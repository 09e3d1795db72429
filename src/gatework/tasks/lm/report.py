"""Metrics of a language model as a text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatework.core.counted import counted

WORDS = {
    "perplexity": "perplexity a token",
    "bits_per_char": "bits a character",
    "nats_per_char": "nats a character",
    "bits_per_byte": "bits a byte",
}


def report(metrics: Mapping[str, Any]) -> str:
    """Scores, then what was counted."""
    return "\n".join(_lines(metrics))


def _lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    interval = metrics.get("interval", {})
    for name, words in WORDS.items():
        between = f", 95 % interval {interval[name][0]:.4f} to {interval[name][1]:.4f}" if name in interval else ""
        yield f"{metrics[name]:.4f}  {words}{between}"
    if "backward" in metrics:
        yield f"{metrics['backward']['perplexity']:.4f}  perplexity a token, read backwards"
    yield ""
    sizes = ((metrics["n"], "document"), (metrics["tokens"], "token"), (metrics["characters"], "character"))
    yield ", ".join(counted(count, thing) for count, thing in sizes)
    if metrics["unknown"]:
        yield f"{metrics['unknown']:.2%} of the tokens are unknown: figures by character and byte are too good"
