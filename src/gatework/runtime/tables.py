"""Tables of which an answer needs few rows: token vectors, n-gram logits.

They stay as they lie in the mapped file, int8 or float32; the rows asked for become float32. So opening a large model
costs little, and processes that serve the same file share its memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import BundleError
from gatework.core.quantize import SCALE, dequantize
from gatework.core.tensors import TensorFile

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


class Table:
    """R rows of E values."""

    def __init__(self, weights: TensorFile, name: str, *, source: str) -> None:
        self._rows: npt.NDArray[Any] = weights[name]
        self._scales: Float32 | None = None
        if weights.slots[name].dtype == "I8":
            self._scales = np.ascontiguousarray(weights[name + SCALE], dtype=np.float32)
        self._name, self._source = name, source

    def __getitem__(self, ids: IntArray) -> Float32:
        """Rows of the ids, (..., E), float32. Raises BundleError where an id is not in the table."""
        try:
            rows = self._rows.take(ids, axis=0)
        except IndexError:
            raise BundleError(
                f"{self._source}: the tokenizer has ids beyond the {len(self._rows)} rows of {self._name}. "
                "Export the model again."
            ) from None
        if self._scales is None:
            return rows
        values: Float32 = rows.astype(np.float32)
        values *= self._scales.take(ids)[..., None]
        return values

    @property
    def stored(self) -> tuple[npt.NDArray[Any], Float32 | None]:
        """The rows as they lie, int8 or float32, and the scale of each int8 row."""
        return self._rows, self._scales


def stored(weights: TensorFile, name: str) -> tuple[npt.NDArray[Any], Float32] | None:
    """A tensor of 8 bits as it lies, with the scale of each row; None for others."""
    if weights.slots[name].dtype != "I8":
        return None
    return weights[name], np.ascontiguousarray(weights[name + SCALE], dtype=np.float32)


def dense(weights: TensorFile, name: str) -> Float32:
    """A whole tensor as float32."""
    if weights.slots[name].dtype == "I8":
        return dequantize(weights[name], weights[name + SCALE])
    return weights[name]
