"""Where a text stands: what a language model needs to go on with it later or elsewhere.

bytes: "GWLS", then little-endian uint32: version 1, direction (0 forward, 1 backward), number N of recent ids; uint64
position; N int32 ids; uint32 CRC-32 of all before; then a `kernels.RecurrentState` of one sequence as its own bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.kernels import RecurrentState
from gatework.kernels.generation import REMEMBERED as RECENT

Int32 = npt.NDArray[np.int32]

END = 2
"""Id of the end of a document, which is read before the first token of a text."""
_MAGIC, _VERSION = b"GWLS", 1
_HEAD = struct.Struct("<4sIIIQ")
_DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True, slots=True, eq=False)
class LanguageState:
    """One text, read up to a token: the next token is predicted by reading `last` from `recurrent`."""

    direction: str
    recurrent: RecurrentState
    """Of one sequence, before `last` is read."""
    recent: Int32
    """The last ids of the text, at most RECENT, the newest last; empty at the start."""
    position: int = 0
    """Tokens of the text so far."""

    @property
    def last(self) -> int:
        """The newest id; at the start that of the end of a document."""
        return int(self.recent[-1]) if len(self.recent) else END

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.recent.nbytes + sum(part.nbytes for layer in self.recurrent.layers for part in layer))

    def after(self, recurrent: RecurrentState, ids_T: npt.NDArray[np.integer]) -> LanguageState:
        """The state with `ids_T` more, where `recurrent` is what came of reading all but the newest of them."""
        recent = np.concatenate([self.recent, ids_T[-RECENT:].astype(np.int32)])[-RECENT:]
        return LanguageState(self.direction, recurrent, recent, self.position + len(ids_T))

    def to_bytes(self) -> bytes:
        """The state as bytes, a few for each unit of the model, however long the text."""
        head = (
            _HEAD.pack(_MAGIC, _VERSION, _DIRECTIONS.index(self.direction), len(self.recent), self.position)
            + self.recent.astype("<i4").tobytes()
        )
        return head + struct.pack("<I", zlib.crc32(head)) + self.recurrent.to_bytes()

    @classmethod
    def from_bytes(cls, data: Any) -> LanguageState:
        """Read what `to_bytes` wrote. Raises DataError: it is something else, cut, changed, or of a later version."""
        raw = bytes(data)
        if len(raw) < _HEAD.size or raw[:4] != _MAGIC:
            raise DataError("These bytes are no state of a text. Give what LanguageState.to_bytes returned.")
        _, version, direction, count, position = _HEAD.unpack_from(raw)
        if version != _VERSION:
            raise DataError(f"A state of version {version}, but this gatework reads {_VERSION}. Update it.")
        end = _HEAD.size + 4 * count
        if count > RECENT or direction >= len(_DIRECTIONS) or len(raw) < end + 4:
            raise DataError("A state of a text is cut, or out of bounds.")
        if struct.unpack_from("<I", raw, end)[0] != zlib.crc32(raw[:end]):
            raise DataError("A state's checksum is wrong: its bytes were changed.")
        recent = np.frombuffer(raw, dtype="<i4", count=count, offset=_HEAD.size).astype(np.int32)
        recurrent = RecurrentState.from_bytes(raw[end + 4 :])
        if len(recurrent) != 1:
            raise DataError(f"A state of a text has one sequence, this one {len(recurrent)}.")
        return cls(_DIRECTIONS[direction], recurrent, recent, position)
