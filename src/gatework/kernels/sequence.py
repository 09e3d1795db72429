"""A recurrent layer over whole ragged batches, forward: the compiled kernels, or the cells' definition.

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
from gatework.kernels.layer import (
    Float32,
    check_precision,
    check_shapes,
    check_state,
    float32_params,
    native_weights,
    rows_of,
)


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights of one layer and direction, ready for one level; make it once, when a model is opened."""

    cell: Cell
    level: str
    precision: str
    inputs: int
    units: int
    outputs: int
    nbytes: int
    """Bytes the weights take in memory."""
    params: Any
    """The cell's NamedTuple of float32 arrays where the definition computes; else None."""
    native: Any
    """The extension's panels where a kernel computes; else None."""


def pack(cell: str, params: Mapping[str, Any] | Any, *, precision: str = "float32", level: str | None = None) -> Packed:
    """Prepare weights for `sequence`.

    Args:
        cell: a name in `CELLS`.
        params: the cell's parameters by name, or its NamedTuple; converted to float32.
        precision: of the products: "float32"; "bfloat16"; or "int8", both sides rounded to 8 bits with a scale for each
            column of weights and each row of activations. Sums, gates and states have 32 bits. The NumPy level always
            takes float32.
        level: an entry of `levels()`; None for the one in use.
    Raises: ConfigError: a parameter is missing, unknown or of the wrong shape, or the level is not there.
    """
    kind = CELLS[cell]
    check_precision(precision)
    chosen = dispatch.check_level(level) if level is not None else dispatch.level()
    arrays = float32_params(kind, params)
    inputs, units, outputs = check_shapes(kind, arrays)
    if chosen == dispatch.NUMPY or cell not in dispatch.native_cells():
        nbytes = sum(part.nbytes for part in arrays)
        return Packed(kind, dispatch.NUMPY, "float32", inputs, units, outputs, nbytes, arrays, None)
    weights = native_weights(kind, arrays)
    panels = dispatch.extension().Packed(cell, chosen, precision, inputs, units, outputs, weights)
    return Packed(kind, chosen, precision, inputs, units, outputs, panels.nbytes, None, panels)


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
    x = rows_of(x_TBI)
    if x.ndim != 3 or x.shape[2] != packed.inputs:
        raise DataError(f"x_TBI has shape {x.shape}, but the layer takes (T, B, {packed.inputs}).")
    start = check_state(packed.cell, state, x.shape[1], packed.units, packed.outputs)
    if packed.native is None:
        y_TBH, last = scan(packed.cell, np, x, lengths_B, start, packed.params, reverse=reverse)
        return y_TBH, last
    y, lasts = _run(packed, x, lengths_B, [(packed, start)], reverse=reverse)
    return y, lasts[0]


def both_ways(
    cell: str,
    x_TBI: npt.NDArray[np.floating],
    lengths_B: npt.NDArray[np.integer],
    forwards: Packed,
    backwards: Packed,
    states: tuple[Any, Any] | None = None,
) -> tuple[Float32, tuple[Any, Any]]:
    """`sequence` in both directions at once, on two threads where there are two.

    Returns: y_TBO with the directions' outputs side by side, O = 2 H, and their last states.
    """
    packs, given = (forwards, backwards), states or (None, None)
    if forwards.native is None or backwards.native is None:
        halves = [
            sequence(cell, x_TBI, lengths_B, packed, state, reverse=place == 1)
            for place, (packed, state) in enumerate(zip(packs, given, strict=True))
        ]
        return np.concatenate([y for y, _ in halves], axis=2), (halves[0][1], halves[1][1])
    x = rows_of(x_TBI)
    if x.ndim != 3 or any(x.shape[2] != packed.inputs for packed in packs):
        raise DataError(f"x_TBI has shape {x.shape}, but the layer takes (T, B, {forwards.inputs}).")
    starts = [
        check_state(packed.cell, state, x.shape[1], packed.units, packed.outputs)
        for packed, state in zip(packs, given, strict=True)
    ]
    y, lasts = _run(forwards, x, lengths_B, list(zip(packs, starts, strict=True)))
    return y, (lasts[0], lasts[1])


def _run(
    packed: Packed,
    x: Float32,
    lengths_B: npt.NDArray[np.integer],
    ways: list[tuple[Packed, Any]],
    *,
    reverse: bool = False,
) -> tuple[Float32, list[Any]]:
    lengths = np.ascontiguousarray(lengths_B, dtype=np.int64)
    y = dispatch.empty((*x.shape[:2], packed.outputs * len(ways)))
    directions, lasts = [], []
    for own, start in ways:
        last = own.cell.State(*(np.empty_like(part) for part in start))
        lasts.append(last)
        memory = {"c0": start[1], "c": last[1]} if len(start) > 1 else {"c0": None, "c": None}
        rest = {"packed": own.native, "h0": start[0], "h": last[0], "mask": None, "keep_h": None, "keep_c": None}
        directions.append(memory | rest)
    sizes = (packed.units, packed.outputs)
    try:
        dispatch.extension().forward(
            packed.level, packed.cell.name, packed.precision, x, lengths, directions, *sizes, y, None, reverse=reverse
        )
    except ValueError as error:
        raise DataError(f"lengths_B {lengths.tolist()[:8]} do not fit x_TBI of shape {x.shape}: {error}.") from None
    return y, lasts
