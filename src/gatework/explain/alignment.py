"""The alignment of a text with its source: how much of each token of the source was looked at for each token written.

Source: Bahdanau, Cho and Bengio, arXiv:1409.0473, figure 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError, DataError
from gatework.explain.figure import new_figure, save_png

MOST_TOKENS = 200
"""Of either side: beyond it a picture shows nothing."""
INCH = 0.32
"""Of a cell."""
END, SPACE = "⏎", "␣"
"""What stands for the end of a text, and for a token of nothing but space."""
UPRIGHT = 2
"""Characters of a token that need not be turned to stand above its column."""


def alignment_png(answer: Any, path: str | Path) -> Path:
    """Draw the attention of an answer as a PNG file: sources across, tokens written from top to bottom.

    Args:
        answer: a `Translation`, with attention.
        path: the file to write.
    Raises: ConfigError: the model has no attention. DataError: nothing was read, or a side has too many tokens.
        MissingExtraError: matplotlib is not installed. OutputError: the file cannot be written.
    """
    if answer.attention is None:
        if answer.reason == "empty":
            raise DataError("An empty text has nothing to draw. Give one with words.")
        raise ConfigError("The model has no attention to draw. Train one with model.attention_kind = 'additive'.")
    across = [token.strip() or SPACE for token in answer.source_tokens[:-1]] + [END]
    down = [token.strip() or SPACE for token in answer.tokens] + ([END] if answer.reason == "end" else [])
    if max(len(across), len(down)) > MOST_TOKENS:
        raise DataError(f"A picture shows at most {MOST_TOKENS} tokens a side. Give a shorter text.")
    figure, families = new_figure(
        width=max(3.0, 1.5 + INCH * len(across)), height=max(2.5, 1.2 + INCH * len(down)), texts=[*across, *down]
    )
    axes = figure.subplots()
    image = axes.imshow(answer.attention, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    axes.xaxis.tick_top()
    upright = all(len(label) <= UPRIGHT for label in across)
    for ticks, labels, turned in ((axes.set_xticks, across, 0 if upright else 90), (axes.set_yticks, down, 0)):
        ticks(np.arange(len(labels)), labels=labels, fontfamily=families, rotation=turned, parse_math=False)
    figure.colorbar(image, ax=axes, shrink=0.6, label="attention")
    return save_png(figure, path)
