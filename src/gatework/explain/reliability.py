"""The reliability diagram: how often answers given with some confidence are right.

Points on the diagonal mean probabilities that can be taken at their word; below it the model is too sure of itself.
Source: Guo et al., "On calibration of modern neural networks", ICML 2017, figure 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.explain.figure import new_figure, save_png
from gatework.tasks.classify.metrics import calibration_bins, expected_calibration_error


def reliability_png(
    confidence_N: npt.NDArray[np.floating],
    right_N: npt.NDArray[np.bool_],
    path: str | Path,
    *,
    bins: int = 15,
    title: str = "",
) -> Path:
    """Draw the reliability diagram as a PNG file.

    Args:
        confidence_N: probability of the answer given, for each example, in [0, 1].
        right_N: whether that answer was right.
        path: the file to write.
        bins: equal bins of confidence.
        title: drawn above.
    Raises: DataError: no examples, or the two differ in length. MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    if not len(confidence_N) or len(confidence_N) != len(right_N):
        raise DataError(f"a reliability diagram needs as many confidences as answers, at least one; got "
                        f"{len(confidence_N)} and {len(right_N)}.")  # fmt: skip
    confidence, right, count = calibration_bins(confidence_N, right_N, bins)
    figure, families = new_figure(width=5.0, height=5.5, texts=[title])
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    used = count > 0
    edges = np.arange(bins) / bins
    upper.plot([0, 1], [0, 1], color="gray", linestyle="--", linewidth=1, label="perfect")
    upper.bar(edges[used], right[used], width=1 / bins, align="edge", color="#9ecae1", edgecolor="white")
    upper.plot(confidence[used], right[used], "o", color="#08519c", markersize=4, label="bins")
    error = expected_calibration_error(confidence_N, right_N)
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(title=f"ECE {error:.4f}", loc="upper left", frameon=False)
    upper.set_title(title, fontfamily=families, parse_math=False)
    lower.bar(edges, count / count.sum(), width=1 / bins, align="edge", color="#6baed6", edgecolor="white")
    lower.set(xlabel="confidence", ylabel="share")
    return save_png(figure, path)
