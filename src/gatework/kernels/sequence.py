"""A recurrent layer over whole ragged batches, forward, float32: the compiled kernels, or the cells' definition.

T time, B batch, I inputs, H width of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.cells import CELLS, Cell, scan
from gatework.core.errors import ConfigError, DataError
from gatework.kernels import dispatch

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights of one layer and direction, ready for one level; make it once, when a model is opened."""

    cell: Cell
    level: str
    inputs: int
    units: int
    outputs: int
    nbytes: int
    """Bytes the weights take in memory."""
    params: Any
    """The cell's NamedTuple of float32 arrays where the definition computes; else None."""
    native: Any
    """The extension's panels where a kernel computes; else None."""


def pack(cell: str, params: Mapping[str, Any] | Any, *, level: str | None = None) -> Packed:
    """Prepare weights for `sequence`.

    Args:
        cell: a name in `CELLS`.
        params: the cell's parameters by name, or its NamedTuple; converted to float32.
        level: an entry of `levels()`; None for the one in use. Cells without a kernel always use the definition.
    Raises: ConfigError: a parameter is missing, unknown or of the wrong shape, or the level is not there.
    """
    kind = CELLS[cell]
    chosen = dispatch.check_level(level) if level is not None else dispatch.level()
    weights = kind.params(params)
    arrays = kind.Params(*(np.ascontiguousarray(part, dtype=np.float32) for part in weights))
    inputs, units, outputs = _check_shapes(kind, arrays)
    if chosen == dispatch.NUMPY or cell not in dispatch.native_cells():
        nbytes = sum(part.nbytes for part in arrays)
        return Packed(kind, dispatch.NUMPY, inputs, units, outputs, nbytes, arrays, None)
    bias = arrays.rb_G if "rb_G" in kind.Params._fields else None
    panels = dispatch.extension().Packed(cell, chosen, arrays.w_GI, arrays.r_GH, arrays.b_G, bias)
    return Packed(kind, chosen, inputs, units, outputs, panels.nbytes, None, panels)


def sequence(
    cell: str,
    x_TBI: npt.NDArray[np.floating],
    lengths_B: npt.NDArray[np.integer],
    params: Packed | Mapping[str, Any] | Any,
    state: Any = None,
    *,
    reverse: bool = False,
    level: str | None = None,
) -> tuple[Float32, Any]:
    """Run a layer in one direction over every sequence. No work on padding; the interpreter lock is released.

    Args:
        cell: a name in `CELLS`.
        x_TBI: inputs, time first, computed with as float32; what lies past a length is not read.
        lengths_B: steps of each sequence, 0 to T.
        params: weights from `pack` (worth it from the second call on), or the cell's parameters.
        state: the cell's State before the first step, each part (B, width); None for zeros.
        reverse: read each sequence from its own last step to its first; outputs stay at the time of their input.
        level: force a level; not together with packed weights.
    Returns: y_TBH, zero past each length, and the State after each sequence's last step read.
    Raises:
        ConfigError: weights do not fit the cell, or the level is not there.
        DataError: shapes or lengths do not fit.
    """
    if isinstance(params, Packed):
        if params.cell.name != cell or level is not None:
            raise ConfigError(f"weights are packed for {params.cell.name} at {params.level}. Pack them again.")
        packed = params
    else:
        packed = pack(cell, params, level=level)
    x = np.ascontiguousarray(x_TBI, dtype=np.float32)
    if x.ndim != 3 or x.shape[2] != packed.inputs:
        raise DataError(f"x_TBI has shape {x.shape}, but the layer takes (T, B, {packed.inputs}).")
    start = _state(packed, x.shape[1], state)
    if packed.native is None:
        y_TBH, last = scan(packed.cell, np, x, lengths_B, start, packed.params, reverse=reverse)
        return y_TBH, last
    lengths = np.ascontiguousarray(lengths_B, dtype=np.int64)
    y = np.empty((x.shape[0], x.shape[1], packed.outputs), dtype=np.float32)
    last = packed.cell.State(*(np.empty_like(part) for part in start))
    memory = (start[1], last[1]) if len(start) > 1 else (None, None)
    try:
        dispatch.extension().forward(packed.native, x, lengths, start[0], memory[0], y, last[0], memory[1], reverse)
    except ValueError as error:
        raise DataError(f"lengths_B {lengths.tolist()[:8]} do not fit x_TBI of shape {x.shape}: {error}.") from None
    return y, last


def _state(packed: Packed, batch: int, state: Any) -> Any:
    """The start state as contiguous float32 arrays of the right shape."""
    kind = packed.cell
    widths = [packed.outputs] + [packed.units] * (len(kind.State._fields) - 1)
    if state is None:
        return kind.State(*(np.zeros((batch, width), dtype=np.float32) for width in widths))
    if not isinstance(state, kind.State):
        raise ConfigError(f"{kind.name}: state must be a {kind.State.__name__}, got {type(state).__name__}.")
    parts = kind.State(*(np.ascontiguousarray(part, dtype=np.float32) for part in state))
    for name, part, width in zip(kind.State._fields, parts, widths, strict=True):
        if part.shape != (batch, width):
            raise DataError(f"{kind.name}: state {name} has shape {part.shape}, expected {(batch, width)}.")
    return parts


def _check_shapes(kind: Cell, arrays: Any) -> tuple[int, int, int]:
    """Inputs, units and outputs that the arrays agree on, or a ConfigError."""
    units = arrays.b_G.size // len(kind.gates)
    inputs = arrays.w_GI.shape[-1] if arrays.w_GI.ndim == 2 else 0
    projection = arrays.v_PH.shape[0] if kind.projects else 0
    for name, shape in kind.parameters(inputs, units, projection).items():
        have = getattr(arrays, name).shape
        if have != shape:
            raise ConfigError(f"{kind.name}: parameter {name} has shape {have}, expected {shape}.")
    return inputs, units, kind.outputs(units, projection)
