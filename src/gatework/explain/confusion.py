"""The confusion matrix as a picture: rows the truth, columns the answer, shade the share of the row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError
from gatework.explain.figure import new_figure, save_png

MOST_NUMBERS = 30
"""Labels up to which each cell shows its count; above, shades alone can be read."""
LONGEST_NAME = 20


def confusion_png(metrics: Mapping[str, Any], path: str | Path, *, title: str = "") -> Path:
    """Draw the confusion matrix of `metrics` as a PNG file.

    Args:
        metrics: what a classification evaluation gave.
        path: the file to write.
        title: drawn above.
    Raises: ConfigError: these metrics hold no matrix (multi-label, or more than 100 labels).
        MissingExtraError: matplotlib is not installed. OutputError: the file cannot be written.
    Warns: UserWarning: no installed font has the characters of a label.
    """
    if metrics.get("confusion") is None:
        raise ConfigError("these metrics hold no confusion matrix: the task is multi-label or has over 100 labels.")
    counts_CC = np.asarray(metrics["confusion"], dtype=np.int64)
    labels = [_short(label) for label in metrics["per_class"]]
    side = min(16.0, 2.5 + 0.5 * len(labels))
    figure, families = new_figure(width=side + 1.0, height=side, texts=[*labels, title])
    axes = figure.add_subplot()
    share_CC = counts_CC / np.maximum(1, counts_CC.sum(axis=1, keepdims=True))
    picture = axes.imshow(share_CC, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the row")
    positions = np.arange(len(labels))
    axes.set_xticks(positions, labels, rotation=45, ha="right", rotation_mode="anchor", fontfamily=families)
    axes.set_yticks(positions, labels, fontfamily=families)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(title, fontfamily=families, parse_math=False)
    for tick in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        tick.set_parse_math(False)  # a label may hold a dollar sign
    if len(labels) <= MOST_NUMBERS:
        for row, column in np.argwhere(counts_CC > 0):
            dark = share_CC[row, column] > 0.5
            text = f"{counts_CC[row, column]}"
            axes.text(column, row, text, ha="center", va="center", size=8, color="white" if dark else "black")
    return save_png(figure, path)


def _short(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= LONGEST_NAME else label[: LONGEST_NAME - 1] + "…"
