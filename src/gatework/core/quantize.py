"""Weights as 8-bit integers with a scale a row, the storage of small bundles.

    q[r, ...] = round(w[r, ...] / s[r]) in [-127, 127];    w ~ q s;    s[r] = max |w[r, ...]| / 127

A row is an index of the first dimension: a token, an n-gram, a unit's gate. The scale is rounded up to a bfloat16
before the division, so that storing it in two bytes adds no error of its own. |error| <= s / 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.tensors import from_bfloat16

Float32 = npt.NDArray[np.float32]

SCALE = ".scale"
"""The scales of the tensor `name` are the tensor `name.scale`."""
LEVELS = 127


def quantize(weights: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.int8], Float32]:
    """`weights` (R, ...) as q of the same shape and scales (R,), float32 that fit bfloat16. At least two dimensions."""
    flat = np.asarray(weights, dtype=np.float32).reshape(len(weights), -1)
    largest = np.abs(flat).max(axis=1, initial=0.0) / np.float32(LEVELS)
    scales = from_bfloat16((np.ascontiguousarray(largest).view("<u4") + np.uint32(0xFFFF)) >> np.uint32(16))
    # A row of zeros, or of values so small that bfloat16 has no scale for them, is stored as zeros.
    scales = np.where(scales < np.float32(1e-37), np.float32(1.0), scales)
    levels = np.rint(flat / scales[:, None]).clip(-LEVELS, LEVELS)
    return levels.astype(np.int8).reshape(weights.shape), scales


def dequantize(levels: npt.NDArray[np.int8], scales: npt.NDArray[np.floating]) -> Float32:
    """float32 weights; any rows of a table with their scales."""
    shape: tuple[Any, ...] = (-1,) + (1,) * (levels.ndim - 1)
    result: Float32 = levels.astype(np.float32)
    result *= np.asarray(scales, dtype=np.float32).reshape(shape)
    return result
