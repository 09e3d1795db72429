"""An explanation as a picture: its tokens with their weights, and the gates of one layer as heat maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError, DataError
from gatework.explain.figure import new_figure, save_png
from gatework.explain.html import summary

MOST_TOKENS = 60
"""Beyond it a picture shows nothing."""
INCH = 0.3
"""Of a token."""
SIGNED = ("g", "n", "c", "h")
"""Not between 0 and 1."""


def explanation_png(explanation: dict[str, Any], path: str | Path) -> Path:
    """Draw an explanation as a PNG file: what there is to say of each token above, below it what each gate of the top
    layer, read forward where it is, did at it.

    Args:
        explanation: as `explain` returns it.
        path: the file to write.
    Raises: ConfigError: there are no gates. DataError: too many tokens. MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    gates = explanation["gates"]
    if gates is None:
        raise ConfigError("The encoder has no gates to draw. Write a .html file instead.")
    tokens = [token.strip() or "␣" for token in gates["tokens"]]
    if len(tokens) > MOST_TOKENS:
        raise DataError(f"A picture shows at most {MOST_TOKENS} tokens, not {len(tokens)}. Write a .html file instead.")
    top = max(one["layer"] for one in gates["layers"])
    layer = next(one for one in gates["layers"] if one["layer"] == top)
    names = list(layer["values"])
    bars = _bars(explanation)
    title = summary(explanation)
    figure, families = new_figure(
        width=max(5.0, 1.6 + INCH * len(tokens)),
        height=1.2 + 1.3 * len(names) + (1.4 if bars is not None else 0.0),
        texts=[*tokens, title],
    )
    axes = figure.subplots(len(names) + (bars is not None), 1, squeeze=False)[:, 0]
    figure.suptitle(title[:120], fontfamily=families, fontsize=10, parse_math=False)
    places = np.arange(len(tokens))
    if bars is not None:
        caption, values = bars
        axes[0].bar(places, values, color=["#2166ac" if value >= 0 else "#d6601e" for value in values])
        axes[0].set_ylabel(caption, fontsize=8)
        axes[0].set_xlim(-0.5, len(tokens) - 0.5)
        axes[0].set_xticks([])
        axes = axes[1:]
    for own, name in zip(axes, names, strict=True):
        values_HT = np.array(layer["values"][name])
        signed = name in SIGNED or gates["cell"].startswith("rnn")
        most = float(np.abs(values_HT).max()) or 1.0
        span = {"cmap": "PuOr", "vmin": -most, "vmax": most} if signed else {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0}
        image = own.imshow(values_HT, aspect="auto", interpolation="nearest", **span)
        own.set_ylabel(name, rotation=0)
        own.set_yticks([])
        own.set_xticks([])
        figure.colorbar(image, ax=own)
    axes[-1].set_xticks(places, labels=tokens, fontfamily=families, rotation=90, parse_math=False)
    return save_png(figure, path)


def _bars(explanation: dict[str, Any]) -> tuple[str, list[float]] | None:
    """What there is to say of each token in a number."""
    tokens, count = explanation["tokens"], len(explanation["gates"]["tokens"])
    if explanation["task"] == "classify":
        return f"for “{explanation['label']}”,\nnats", [token["weight"] for token in tokens[:count]]
    if explanation["task"] == "lm":
        return "nats", [token["nats"] for token in tokens[:count]]
    if explanation["task"] == "tag":
        return "probability\nof the tag", [token["score"] for token in tokens[:count]]
    return None
