"""Products with weights as the extension takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatework.kernels import dispatch
from gatework.kernels.layer import Float32


def product(weight: Float32, bias: Float32 | None, *, level: str, precision: str) -> Any:
    """W x + b as the extension has it."""
    rows, width = weight.shape
    parts = {"w": weight, "b": np.zeros(rows) if bias is None else bias, "r": np.zeros((rows, 0))}
    arrays = {name: np.ascontiguousarray(part, dtype=np.float32) for name, part in parts.items()}
    return dispatch.extension().Packed("rnn", level, precision, width, rows, 0, {**arrays, "rb": None, "extra": []})


def plain(values: Float32 | None) -> Float32 | None:
    """An array as the extension takes it."""
    return None if values is None else np.ascontiguousarray(values)
