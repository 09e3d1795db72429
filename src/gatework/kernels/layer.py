"""Shapes and weights of a recurrent layer, as the extension takes them.

T time, B batch, N rows of a packed batch, I inputs, H units, P width of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.cells import Cell
from gatework.core.errors import ConfigError, DataError

Float32 = npt.NDArray[np.float32]

PRECISIONS = ("float32", "bfloat16", "int8")


def check_precision(precision: str, allowed: tuple[str, ...] = PRECISIONS) -> str:
    """`precision`, if it is one of those allowed; else a ConfigError."""
    if precision not in allowed:
        raise ConfigError(f"precision {precision!r} is unknown here. Known: {', '.join(allowed)}.")
    return precision


def float32_params(kind: Cell, params: Mapping[str, Any] | Any) -> Any:
    """The cell's NamedTuple of contiguous float32 arrays."""
    return kind.Params(*(np.ascontiguousarray(part, dtype=np.float32) for part in kind.params(params)))


def check_shapes(kind: Cell, arrays: Any) -> tuple[int, int, int]:
    """Inputs, units and outputs that the arrays agree on, or a ConfigError."""
    units = arrays.b_G.size // len(kind.gates)
    inputs = arrays.w_GI.shape[-1] if arrays.w_GI.ndim == 2 else 0
    projection = arrays.v_PH.shape[0] if kind.projects else 0
    for name, shape in kind.parameters(inputs, units, projection).items():
        have = getattr(arrays, name).shape
        if have != shape:
            raise ConfigError(f"{kind.name}: parameter {name} has shape {have}, expected {shape}.")
    return inputs, units, kind.outputs(units, projection)


def native_weights(kind: Cell, arrays: Any, prefix: str = "") -> dict[str, Any]:
    """The parameters under the extension's names: w, r, b, rb, and the rest in order."""
    has_rb = "rb_G" in kind.Params._fields
    return {
        f"{prefix}w": arrays[0],
        f"{prefix}r": arrays[1],
        f"{prefix}b": arrays[2],
        f"{prefix}rb": arrays[3] if has_rb else None,
        f"{prefix}extra": list(arrays[4 if has_rb else 3 :]),
    }


def check_state(kind: Cell, state: Any, batch: int, units: int, outputs: int) -> Any:
    """The start state as contiguous float32 arrays of the right shape; zeros for None."""
    widths = [outputs] + [units] * (len(kind.State._fields) - 1)
    if state is None:
        return kind.State(*(np.zeros((batch, width), dtype=np.float32) for width in widths))
    if not isinstance(state, kind.State):
        raise ConfigError(f"{kind.name}: state must be a {kind.State.__name__}, got {type(state).__name__}.")
    parts = kind.State(*(np.ascontiguousarray(part, dtype=np.float32) for part in state))
    for name, part, width in zip(kind.State._fields, parts, widths, strict=True):
        if part.shape != (batch, width):
            raise DataError(f"{kind.name}: state {name} has shape {part.shape}, expected {(batch, width)}.")
    return parts


def rows_of(x: npt.NDArray[Any]) -> Float32:
    """`x` as float32 with its last axis contiguous; other axes keep their strides."""
    rows = np.asarray(x, dtype=np.float32)
    return rows if rows.size == 0 or rows.strides[-1] == 4 else np.ascontiguousarray(rows)
