"""Metrics as a table for a terminal. Chinese labels count two columns a character."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatework.core.plain import display_width

WIDEST_LABEL = 24
MOST_ROWS = 40
"""Classes listed one by one; of more, the worst are shown."""
MOST_MATRIX = 12
"""Classes up to which the confusion matrix is printed."""


def report(metrics: Mapping[str, Any]) -> str:
    """The table of classes, their means, the headline figures with their intervals, and the confusion matrix."""
    per_class: Mapping[str, Mapping[str, float]] = metrics["per_class"]
    lines = [_row("", ("precision", "recall", "f1", "support"))]
    shown = list(per_class)
    if len(shown) > MOST_ROWS:
        shown = sorted(shown, key=lambda label: per_class[label]["f1"])[:MOST_ROWS]
        lines.append(f"(the {MOST_ROWS} of {len(per_class)} labels with the lowest F1)")
    for label in shown:
        one = per_class[label]
        mark = " *" if label == metrics.get("positive") else ""
        lines.append(_row(_cut(label) + mark, (one["precision"], one["recall"], one["f1"], int(one["support"]))))
    lines += ["", *_headline(metrics)]
    confusion = metrics.get("confusion")
    if confusion is not None and len(confusion) <= MOST_MATRIX:
        lines += ["", *_matrix(confusion, list(per_class))]
    return "\n".join(lines)


def _headline(metrics: Mapping[str, Any]) -> list[str]:
    interval: Mapping[str, Sequence[float]] = metrics.get("interval", {})
    positive = metrics.get("positive")
    several = metrics["multi_label"]
    names = {
        "accuracy": "accuracy (all labels of a text right)" if several else "accuracy",
        "f1": f"F1 of {_cut(positive)} (* the positive class)" if positive is not None else "F1",
        "f1_macro": "F1, mean over labels",
        "f1_weighted": "F1, weighted by support",
        "ece": "expected calibration error",
        "nll": "negative log-likelihood (nats)",
    }
    lines = []
    for name, words in names.items():
        if name == "f1" and positive is None and not several:
            continue
        if name == "f1" and several:
            words = "F1, over all decisions"
        line = f"{metrics[name]:.4f}  {words}"
        if name in interval:
            line += f", 95 % interval {interval[name][0]:.4f} to {interval[name][1]:.4f}"
        lines.append(line)
    return [*lines, f"{metrics['n']:,} examples"]


def _matrix(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> list[str]:
    names = [_cut(label, 10) for label in labels]
    width = max(6, *(display_width(name) + 1 for name in names))
    lines = ["confusion (rows: truth, columns: answer)", " " * 12 + "".join(_right(name, width) for name in names)]
    for name, row in zip(names, confusion, strict=True):
        lines.append(_left(name, 12) + "".join(_right(str(count), width) for count in row))
    return lines


def _row(label: str, cells: Sequence[str | float | int]) -> str:
    text = [f"{cell:.4f}" if isinstance(cell, float) else f"{cell}" for cell in cells]
    return _left(label, WIDEST_LABEL + 2) + "".join(_right(cell, 11) for cell in text)


def _cut(label: str, most: int = WIDEST_LABEL) -> str:
    """A label without line breaks, at most `most` columns wide."""
    label = " ".join(label.split()) or "''"
    if display_width(label) <= most:
        return label
    while display_width(label) > most - 1:
        label = label[:-1]
    return label + "…"


def _left(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def _right(text: str, width: int) -> str:
    return " " * (width - display_width(text)) + text
