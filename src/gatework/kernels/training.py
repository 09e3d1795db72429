"""A recurrent layer there and back: outputs, and the gradients of everything that went in.

y, last, tape = recurrent_forward("lstm", x, lengths_B, [params], [state])
dx, dparams, dstates = recurrent_backward("lstm", tape, x, lengths_B, [params], [state], dy, [dlast])

T time, B batch, N rows of a packed batch, I inputs, H units, P width of the output, D directions (1 or 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.cells import CELLS, Cell
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

TRAINING_PRECISIONS = ("float32", "bfloat16")
Masks = Sequence[npt.NDArray[Any]] | None


def recurrent_forward(
    cell: str,
    x: npt.NDArray[Any],
    lengths_B: npt.NDArray[Any],
    params: Sequence[Any],
    states: Sequence[Any] | None,
    *,
    recurrent_masks: Masks = None,
    keep_h: Masks = None,
    keep_c: Masks = None,
    keep: bool = True,
    precision: str = "float32",
    level: str | None = None,
) -> tuple[Float32, tuple[Any, ...], Float32 | None]:
    """One layer in one or two directions over a ragged batch, and what its way back needs.

    Args:
        cell: a name in `CELLS`.
        x: (T, B, I), any strides on T and B; or (N, I), the rows of a torch `PackedSequence` (time by time, lengths
            falling, N their sum).
        lengths_B: steps of each sequence, 0 to T.
        params: the cell's parameters, for each direction; the second reads backwards.
        states: the cell's State before the first step, for each direction, each part (B, width); None for zeros.
        recurrent_masks: for each direction (B, P), factors of h wherever it meets a recurrent matrix.
        keep_h, keep_c: for each direction uint8 in rows as x, 1 where a unit keeps its old value.
        keep: whether to keep a tape for `recurrent_backward`.
        precision: "float32", or "bfloat16" for products of bfloat16 numbers with float32 sums.
        level: an entry of `levels()`; None for the one in use.
    Returns: y like x with last axis D x P, zero past lengths; the states after each sequence's last step; the tape,
        float32, or None.
    Raises:
        ConfigError: weights do not fit the cell, or there is no compiled extension.
        DataError: shapes or lengths do not fit.
    """
    call = _Call(cell, x, lengths_B, params, states, recurrent_masks, keep_h, keep_c, precision, level)
    width = call.outputs * len(call.params)
    y = dispatch.empty((*call.x.shape[:-1], width))
    last = tuple(call.kind.State(*(np.empty_like(part) for part in state)) for state in call.states)
    tape = None
    if keep:
        rows, batch = int(call.lengths.sum()), len(call.lengths)
        size = dispatch.extension().tape_floats(
            cell, rows, batch, call.units, call.outputs, len(call.params), recurrent_masks is not None
        )
        tape = dispatch.extension().buffer(size)
    directions = call.directions()
    for direction, end in zip(directions, last, strict=True):
        direction |= {"packed": None, "h": end[0], "c": end[1] if len(end) > 1 else None}
    call.run("forward", directions, y, tape)
    return y, last, tape


def recurrent_backward(
    cell: str,
    tape: Float32,
    x: npt.NDArray[Any],
    lengths_B: npt.NDArray[Any],
    params: Sequence[Any],
    states: Sequence[Any] | None,
    dy: npt.NDArray[Any] | None,
    dlast: Sequence[Any] | None,
    *,
    recurrent_masks: Masks = None,
    keep_h: Masks = None,
    keep_c: Masks = None,
    need_x: bool = True,
    precision: str = "float32",
    level: str | None = None,
) -> tuple[Float32 | None, tuple[Any, ...], tuple[Any, ...]]:
    """Gradients of what `recurrent_forward` was given; called as it was, with its tape, which is used up.

    Args:
        dy: gradient of y, in its shape; None for zeros. What lies past a length is not read.
        dlast: gradients of the last states, a State for each direction; None for zeros.
        need_x: whether the gradient of x is wanted.
    Returns: the gradients of x (or None), of the parameters and of the first states, for each direction.
    Source: Werbos, "Backpropagation Through Time", Proceedings of the IEEE 78(10), 1990.
    """
    call = _Call(cell, x, lengths_B, params, states, recurrent_masks, keep_h, keep_c, precision, level)
    kind, batch = call.kind, len(call.lengths)
    dx = dispatch.empty(call.x.shape) if need_x else None
    gradients = tuple(kind.Params(*(dispatch.empty(part.shape) for part in own)) for own in call.params)
    starts = tuple(kind.State(*(np.empty_like(part) for part in state)) for state in call.states)
    directions = call.directions()
    for place, direction in enumerate(directions):
        direction |= native_weights(kind, gradients[place], "g_")
        end = None
        if dlast is not None and dlast[place] is not None:
            end = check_state(kind, dlast[place], batch, call.units, call.outputs)
        start = starts[place]
        direction |= {"dh": None if end is None else end[0], "dh0": start[0]}
        memory = len(start) > 1
        direction |= {"dc": end[1] if memory and end is not None else None, "dc0": start[1] if memory else None}
    dy_rows = None
    if dy is not None:
        dy_rows = rows_of(dy)
        want = (*call.x.shape[:-1], call.outputs * len(call.params))
        if dy_rows.shape != want:
            raise DataError(f"dy has shape {dy_rows.shape}, expected {want}.")
    call.run("backward", directions, dy_rows, dx, tape)
    return dx, gradients, starts


def tape_size(
    cell: str,
    rows: int,
    batch: int,
    inputs: int,
    units: int,
    projection: int = 0,
    directions: int = 1,
    precision: str = "float32",
    *,
    masked: bool = False,
) -> int:
    """Floats of a tape, at most; `rows` is the sum of the lengths, `masked` whether there are recurrent masks."""
    outputs = CELLS[cell].outputs(units, projection)
    return int(dispatch.extension().tape_floats(cell, rows, batch, units, outputs, directions, masked))


class _Call:
    """The arguments forward and backward share, checked, and in the form the extension takes."""

    def __init__(
        self,
        cell: str,
        x: npt.NDArray[Any],
        lengths_B: npt.NDArray[Any],
        params: Sequence[Any],
        states: Sequence[Any] | None,
        masks: Masks,
        keep_h: Masks,
        keep_c: Masks,
        precision: str,
        level: str | None,
    ) -> None:
        self.kind: Cell = CELLS[cell]
        self.precision = check_precision(precision, TRAINING_PRECISIONS)
        self.level = dispatch.check_level(level) if level is not None else dispatch.level()
        if self.level == dispatch.NUMPY:
            raise ConfigError(
                "Training kernels need the compiled extension, and this is the level numpy. "
                "Install a C++20 compiler and install gatework again, or train with torch's own modules."
            )
        if len(params) not in (1, 2):
            raise ConfigError(f"{cell}: params has {len(params)} entries, expected one for each of 1 or 2 directions.")
        self.x = rows_of(x)
        self.lengths = np.ascontiguousarray(lengths_B, dtype=np.int64)
        if self.x.ndim not in (2, 3) or self.lengths.ndim != 1:
            raise DataError(
                f"x must be (T, B, I) or (N, I) and lengths (B,), got {self.x.shape}, {self.lengths.shape}."
            )
        self.params = [float32_params(self.kind, own) for own in params]
        shapes = {check_shapes(self.kind, own) for own in self.params}
        if len(shapes) > 1:
            raise ConfigError(f"{cell}: the two directions have weights of different shapes.")
        ((inputs, self.units, self.outputs),) = shapes
        if self.x.shape[-1] != inputs:
            raise DataError(f"x has shape {self.x.shape}, but the layer takes {inputs} inputs.")
        batch, given = len(self.lengths), states if states is not None else [None] * len(params)
        self.states = [check_state(self.kind, state, batch, self.units, self.outputs) for state in given]
        self.masks, self.keep_h, self.keep_c = masks, keep_h, keep_c

    def directions(self) -> list[dict[str, Any]]:
        """What each direction is given, under the extension's names."""
        directions = []
        for place, (params, state) in enumerate(zip(self.params, self.states, strict=True)):
            mask = None if self.masks is None else np.ascontiguousarray(self.masks[place], dtype=np.float32)
            keep_h = None if self.keep_h is None else _bytes(self.keep_h[place])
            keep_c = None if self.keep_c is None or len(state) < 2 else _bytes(self.keep_c[place])
            c0 = state[1] if len(state) > 1 else None
            own = {"h0": state[0], "c0": c0, "mask": mask, "keep_h": keep_h, "keep_c": keep_c}
            directions.append(native_weights(self.kind, params) | own)
        return directions

    def run(self, function: str, directions: list[dict[str, Any]], *arrays: Any) -> None:
        """Call the extension; what it does not accept becomes a DataError."""
        call = getattr(dispatch.extension(), function)
        sizes = (self.units, self.outputs)
        try:
            call(self.level, self.kind.name, self.precision, self.x, self.lengths, directions, *sizes, *arrays)
        except (ValueError, BufferError) as error:
            lengths = self.lengths.tolist()[:8]
            raise DataError(f"{self.kind.name}: {error}; x is {self.x.shape}, lengths begin {lengths}.") from None


def _bytes(keep: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    rows = np.asarray(keep)
    return np.ascontiguousarray(rows.view(np.uint8) if rows.dtype == np.bool_ else rows.astype(np.uint8, copy=False))
