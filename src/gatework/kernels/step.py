"""Single steps, for streaming and decoding: layers on top of each other, their state kept inside, one call a step.

stepper = Stepper([pack("lstm", below), pack("lstm", above)], batch=4)
y_BP = stepper.step(x_BI)
stepper.select([2, 0, 0, 1])                 # beams: each row goes on from the row named
saved = stepper.state                        # a RecurrentState: copied, written to bytes, put back

B sequences stepped together, I inputs, P outputs, V ids, S slots of W x + b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.kernels import dispatch
from gatework.kernels.layer import Float32, check_precision
from gatework.kernels.sequence import Packed
from gatework.kernels.state import RecurrentState

TABLE_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows of W x + b for each row of an embedding: a step by id leaves that product out."""

    packed: Packed
    rows_VS: npt.NDArray[Any]
    """In the slots of the packed weights; bfloat16 as uint16. Where the definition computes, the embedding itself."""
    precision: str

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.rows_VS.nbytes)


def fold(packed: Packed, embedding_VI: npt.NDArray[np.floating], *, precision: str = "float32") -> Folded:
    """Multiply an embedding's rows by a layer's input weights, once and for all.

    Args:
        precision: "float32": a step by id has the bits of a step with the id's row. "bfloat16": half the memory.
    Raises: DataError: the embedding does not have the layer's inputs.
    """
    check_precision(precision, TABLE_PRECISIONS)
    rows = np.ascontiguousarray(embedding_VI, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != packed.inputs or not len(rows):
        raise DataError(f"The embedding has shape {rows.shape}, but the layer takes rows of {packed.inputs}.")
    if packed.native is None:
        return Folded(packed, rows, "float32")
    native = dispatch.extension().step
    rows_VS = np.empty((len(rows), native.project_width(packed.native)), dtype=np.float32)
    native.project(packed.native, rows, rows_VS)
    return Folded(packed, _bfloat16(rows_VS) if precision == "bfloat16" else rows_VS, precision)


def _bfloat16(values: Float32) -> npt.NDArray[np.uint16]:
    bits = values.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


class Stepper:
    """Layers of one direction, and the state of B sequences in them. For one thread at a time.

    The weights are shared with whoever packed them; a Stepper adds only its state. Products of batches and of single
    rows agree bit for bit in float32, and with `sequence`.
    """

    __slots__ = ("_layers", "_native", "_table", "step", "step_id")

    step: Callable[..., Float32]
    """`step(x_BI, out=None)`: one step on; returns the last layer's output y_BP.

    x is float32 with contiguous rows, (B, I), or (I,) for a batch of one. The result is the caller's own; with `out`, a
    float32 (B, P), it is written there and `out` returned. Raises DataError: x or out is not such an array."""

    step_id: Callable[..., Float32]
    """`step_id(ids, out=None)`: the same for ids of the table given to the Stepper: an int for a batch of one, or
    int64 (B,)."""

    def __init__(self, layers: Packed | Sequence[Packed], batch: int = 1, *, table: Folded | None = None) -> None:
        """All zeros.

        Args:
            layers: weights from `pack`, bottom first.
            batch: sequences stepped together, B.
            table: from `fold` with the bottom layer's weights, for `step_id`.
        Raises: ConfigError: the layers do not fit each other or the table, or the batch is below 1.
        """
        self._layers = (layers,) if isinstance(layers, Packed) else tuple(layers)
        if not self._layers:
            raise ConfigError("A Stepper needs at least one layer.")
        for below, above in zip(self._layers, self._layers[1:], strict=False):
            if below.outputs != above.inputs:
                raise ConfigError(
                    f"A layer takes {above.inputs} inputs, but the one below has {below.outputs} outputs."
                )
        if table is not None and table.packed is not self._layers[0]:
            raise ConfigError("The table was folded with other weights than the bottom layer's. Fold it again.")
        self._table = table
        compiled = [packed.native is not None for packed in self._layers]
        if all(compiled):
            packs, sample = [packed.native for packed in self._layers], np.zeros((2, 3), dtype=np.float32)
            native = dispatch.extension().step
            self._native = native.Stepper(packs, _count(batch), DataError, np.empty, sample)
            if table is not None:
                self._native.set_table(table.rows_VS, len(table.rows_VS), table.precision == "bfloat16")
        elif any(compiled):
            raise ConfigError("Layers packed at the level numpy and at others cannot be stepped together.")
        else:
            self._native = _Definition(self._layers, _count(batch), table)
        self.step, self.step_id = self._native.step, self._native.step_id

    @property
    def batch(self) -> int:
        """Sequences stepped together, B."""
        return int(self._native.batch)

    @property
    def inputs(self) -> int:
        """Width of x, I."""
        return self._layers[0].inputs

    @property
    def outputs(self) -> int:
        """Width of the output, P."""
        return self._layers[-1].outputs

    @property
    def h_BH(self) -> Float32:
        """A copy of the last layer's output."""
        return cast(Float32, self.state.layers[-1][0])

    @property
    def state(self) -> RecurrentState:
        """A copy of all layers' states. Set it to go on from there; the batch becomes that of the state."""
        state = RecurrentState.zeros([(own.cell.name, own.units, own.outputs) for own in self._layers], self.batch)
        for place, parts in enumerate(state.layers):
            self._native.save(place, parts[0], parts[1] if len(parts) > 1 else None)
        return state

    @state.setter
    def state(self, state: RecurrentState) -> None:
        want = tuple((own.cell.name, own.units, own.outputs) for own in self._layers)
        got = getattr(state, "shapes", type(state).__name__)
        if got != want:
            raise DataError(f"A state of {got} is not one of these layers, {want} (cell, units, outputs).")
        if len(state) != self.batch:
            self._native.resize(_count(len(state)))
        for place, parts in enumerate(state.layers):
            whole = [np.ascontiguousarray(part, dtype=np.float32) for part in parts]
            self._native.load(place, whole[0], whole[1] if len(whole) > 1 else None)

    def reset(self, rows: Sequence[int] | npt.NDArray[np.integer] | None = None) -> None:
        """Set all sequences, or those of some rows, back to zeros. Raises DataError: there is no such row."""
        self._native.reset(None if rows is None else self._rows(rows))

    def select(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Sequence k goes on from sequence rows[k], as beams do; their number may change.

        Raises: DataError: there is no such row, or none is given.
        """
        chosen = self._rows(rows)
        if not len(chosen):
            raise DataError("select: no rows. A Stepper holds at least one sequence.")
        self._native.select(chosen)

    def _rows(self, rows: Any) -> npt.NDArray[np.int64]:
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise DataError(f"Rows must be a list of integers, got {rows!r:.80}.")
        if chosen.size and (chosen.min() < 0 or chosen.max() >= self.batch):
            raise DataError(f"Rows span {chosen.min()} to {chosen.max()}, but there are {self.batch}, counted from 0.")
        return np.ascontiguousarray(chosen, dtype=np.int64)


def _count(batch: Any) -> int:
    if type(batch) is int and batch >= 1:
        return batch
    raise ConfigError(f"batch must be a whole number from 1, got {batch!r}.")


class _Definition:
    """The same by the cells' definition, with NumPy."""

    def __init__(self, layers: tuple[Packed, ...], batch: int, table: Folded | None) -> None:
        self._layers, self._table = layers, table
        self.resize(batch)

    def resize(self, batch: int) -> None:
        self.batch = batch
        self._states = [
            own.cell.initial_state(np, batch, own.units, own.outputs if own.cell.projects else 0, dtype=np.float32)
            for own in self._layers
        ]

    def step(self, x_BI: Float32, out: Float32 | None = None) -> Float32:
        x = np.asarray(x_BI)
        if x.ndim == 1 and self.batch == 1:
            x = x[None]
        if x.dtype != np.float32 or x.shape != (self.batch, self._layers[0].inputs):
            want = (self.batch, self._layers[0].inputs)
            raise DataError(f"step: x must be a float32 array of shape {want}; got {x.dtype} of shape {x.shape}.")
        for place, own in enumerate(self._layers):
            self._states[place] = own.cell.step(np, x, self._states[place], own.params)
            x = own.cell.output(self._states[place])
        if out is None:
            return x.copy()
        if out.dtype != np.float32 or out.shape not in (x.shape, x.shape[1:] if self.batch == 1 else x.shape):
            raise DataError(f"step: out must be a float32 array of shape {x.shape}; got {out.dtype} of {out.shape}.")
        out[...] = x
        return out

    def step_id(self, ids: Any, out: Float32 | None = None) -> Float32:
        rows = np.atleast_1d(np.asarray(ids))
        table = None if self._table is None else self._table.rows_VS
        good = table is not None and rows.shape == (self.batch,) and rows.dtype.kind == "i"
        if table is None or not good or rows.min() < 0 or rows.max() >= len(table):
            raise DataError(
                f"step_id takes an id or {self.batch} ids of the table given to the Stepper. Got {ids!r:.80}."
            )
        return self.step(table[rows], out)

    def load(self, place: int, h: Float32, c: Float32 | None) -> None:
        parts = (h,) if c is None else (h, c)
        self._states[place] = self._layers[place].cell.State(*(part.copy() for part in parts))

    def save(self, place: int, h: Float32, c: Float32 | None) -> None:
        h[...] = self._states[place][0]
        if c is not None:
            c[...] = self._states[place][1]

    def select(self, rows: npt.NDArray[np.int64]) -> None:
        self._states = [type(state)(*(part[rows] for part in state)) for state in self._states]
        self.batch = len(rows)

    def reset(self, rows: npt.NDArray[np.int64] | None) -> None:
        for state in self._states:
            for part in state:
                part[slice(None) if rows is None else rows] = 0.0
