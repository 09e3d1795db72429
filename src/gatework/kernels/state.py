"""The state of layers of one direction for B sequences: what a stream needs to go on later or elsewhere.

bytes: "GWRS", then little-endian uint32: version 1, layers, sequences; for each layer uint32 length of the cell's
name, the name (UTF-8), uint32 units and outputs; then for each layer its parts, float32, row by row; last the CRC-32
of all before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.cells import CELLS
from gatework.core.errors import ConfigError, DataError

_MAGIC, _VERSION = b"GWRS", 1
_MOST_LAYERS, _MOST_NAME, _MOST = 1024, 64, 1 << 24

Shape = tuple[str, int, int]
"""Cell, units and outputs of a layer."""


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentState:
    """Parts by name for every layer, bottom first: the cell's State, each part (B, width), float32."""

    cells: tuple[str, ...]
    """Names in `CELLS`, one a layer."""
    layers: tuple[Any, ...]
    """Each layer's State."""
    units: tuple[int, ...]
    """H of each layer."""

    def __len__(self) -> int:
        """Sequences, B."""
        return len(self.layers[0][0])

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Cell, units and outputs of each layer."""
        return tuple(
            (cell, units, int(parts[0].shape[1]))
            for cell, units, parts in zip(self.cells, self.units, self.layers, strict=True)
        )

    @classmethod
    def zeros(cls, shapes: Sequence[Shape], batch: int) -> RecurrentState:
        """The state before a first step. Raises ConfigError: a cell is unknown or its sizes do not fit."""
        layers = []
        for cell, units, outputs in shapes:
            projection = outputs if CELLS[cell].projects else 0
            state = CELLS[cell].initial_state(np, batch, units, projection, dtype=np.float32)
            if state[0].shape[1] != outputs:
                raise ConfigError(f"{cell}: {units} units have {state[0].shape[1]} outputs, not {outputs}.")
            layers.append(state)
        return cls(tuple(shape[0] for shape in shapes), tuple(layers), tuple(shape[1] for shape in shapes))

    def copy(self) -> RecurrentState:
        """The same in arrays of its own."""
        return self._each(lambda part: part.copy())

    def select(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> RecurrentState:
        """The sequences of these rows, in their order. Raises DataError: there is no such row."""
        chosen = np.asarray(rows, dtype=np.int64) if len(rows) else np.zeros(0, dtype=np.int64)
        if chosen.ndim != 1 or (chosen.size and (chosen.min() < 0 or chosen.max() >= len(self))):
            raise DataError(f"select: rows {rows!r:.80} are not all among the {len(self)} sequences, counted from 0.")
        return self._each(lambda part: part[chosen])

    @classmethod
    def stack(cls, states: Sequence[RecurrentState]) -> RecurrentState:
        """The sequences of several states as one batch, in their order. Raises DataError: their layers differ."""
        if not states:
            raise DataError("stack: no states. Give at least one.")
        first = states[0]
        for state in states:
            if state.shapes != first.shapes:
                raise DataError(f"stack: states of {state.shapes} and of {first.shapes} do not go together.")
        layers = tuple(
            type(parts)(
                *(np.concatenate([state.layers[place][part] for state in states]) for part in range(len(parts)))
            )
            for place, parts in enumerate(first.layers)
        )
        return cls(first.cells, layers, first.units)

    def to_bytes(self) -> bytes:
        """See the module."""
        head = [_MAGIC, struct.pack("<3I", _VERSION, len(self.layers), len(self))]
        for cell, units, outputs in self.shapes:
            name = cell.encode()
            head.append(struct.pack("<I", len(name)) + name + struct.pack("<2I", units, outputs))
        body = [np.ascontiguousarray(part, dtype="<f4").tobytes() for parts in self.layers for part in parts]
        data = b"".join(head + body)
        return data + struct.pack("<I", zlib.crc32(data))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> RecurrentState:
        """Read what `to_bytes` wrote. Takes no more memory than the bytes have.

        Raises: DataError: they are something else, cut, changed, or of a later version.
        """
        reader = _Reader(bytes(data))
        if reader.take(4) != _MAGIC:
            raise DataError("These bytes are no recurrent state. Give what RecurrentState.to_bytes returned.")
        version = reader.integer()
        if version != _VERSION:
            raise DataError(f"A recurrent state of version {version}, but this gatework reads {_VERSION}. Update it.")
        layers, batch = reader.integer(), reader.integer()
        if not 1 <= layers <= _MOST_LAYERS or batch > _MOST:
            raise DataError(f"A recurrent state of {layers} layers and {batch} sequences is out of bounds.")
        shapes = [reader.shape() for _ in range(layers)]
        counts = []
        for cell, units, outputs in shapes:
            counts.append([outputs] + [units] * (len(CELLS[cell].State._fields) - 1))
        expected = reader.at + 4 * batch * sum(sum(widths) for widths in counts) + 4
        if expected != len(reader.data):
            raise DataError(
                f"A recurrent state has {len(reader.data)} bytes, expected {expected}. It was cut or extended."
            )
        if struct.unpack("<I", reader.data[-4:])[0] != zlib.crc32(reader.data[:-4]):
            raise DataError("A recurrent state's checksum is wrong: its bytes were changed.")
        parts = [
            CELLS[cell].State(*(reader.floats(batch, width) for width in widths))
            for (cell, _, _), widths in zip(shapes, counts, strict=True)
        ]
        return cls(tuple(shape[0] for shape in shapes), tuple(parts), tuple(shape[1] for shape in shapes))

    def _each(self, change: Any) -> RecurrentState:
        layers = tuple(type(parts)(*(change(part) for part in parts)) for parts in self.layers)
        return RecurrentState(self.cells, layers, self.units)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise DataError(f"A recurrent state ends after {len(self.data)} bytes, in the middle. It was cut.")
        self.at += count
        return piece

    def integer(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def shape(self) -> Shape:
        length = self.integer()
        if length > _MOST_NAME:
            raise DataError(f"A recurrent state names a cell with {length} letters.")
        try:
            cell = self.take(length).decode()
            units, outputs = self.integer(), self.integer()
            if units > _MOST or outputs > _MOST:
                raise DataError(f"A recurrent state of {units} units is out of bounds.")
            if CELLS[cell].outputs(units, outputs if CELLS[cell].projects else 0) != outputs:
                raise DataError(f"A recurrent state of {cell}: {units} units do not have {outputs} outputs.")
        except (UnicodeDecodeError, ConfigError) as error:
            raise DataError(f"A recurrent state of an unknown kind: {error}") from None
        return cell, units, outputs

    def floats(self, batch: int, width: int) -> npt.NDArray[np.float32]:
        values = np.frombuffer(self.take(4 * batch * width), dtype="<f4").astype(np.float32)
        return values.reshape(batch, width)
