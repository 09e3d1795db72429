"""The reliability diagram: how often answers given with some confidence are right.

Points on the diagonal mean probabilities that can be taken at their word; below it the model is too sure of itself.
Source: Guo et al., "On calibration of modern neural networks", ICML 2017, figure 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatework.explain.figure import new_figure, save_png


def reliability_png(metrics: Mapping[str, Any], path: str | Path, *, title: str = "") -> Path:
    """Draw the reliability diagram of `metrics` as a PNG file.

    Args:
        metrics: what a classification evaluation gave.
        path: the file to write.
        title: drawn above.
    Raises: MissingExtraError: matplotlib is not installed. OutputError: the file cannot be written.
    """
    bins = metrics["reliability"]
    confidence, right, count = (np.asarray(bins[name], dtype=np.float64) for name in ("confidence", "right", "count"))
    figure, families = new_figure(width=5.0, height=5.5, texts=[title])
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    used = count > 0
    edges, width = np.arange(len(count)) / len(count), 1 / len(count)
    upper.plot([0, 1], [0, 1], color="gray", linestyle="--", linewidth=1, label="perfect")
    upper.bar(edges[used], right[used], width=width, align="edge", color="#9ecae1", edgecolor="white")
    upper.plot(confidence[used], right[used], "o", color="#08519c", markersize=4, label="bins")
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(title=f"ECE {metrics['ece']:.4f}", loc="upper left")
    upper.set_title(title, fontfamily=families, parse_math=False)
    lower.bar(edges, count / count.sum(), width=width, align="edge", color="#6baed6", edgecolor="white")
    lower.set(xlabel="confidence", ylabel="share")
    return save_png(figure, path)
