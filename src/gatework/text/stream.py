"""Token streams on disk: the tokens of documents one after the other, read through memory maps.

A stream `name` in a folder is these files, numbers little-endian:

    name.tokens.i32    token ids, of each document with the end it has
    name.starts.i64    where each document begins, and the end
    name.json          counts; written last, so that a stream without it is not whole

N documents, T tokens of all, V vocabulary.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import OutputError
from gatework.text.documents import Piece
from gatework.text.running import END, UNKNOWN, RunningCodec


class TokenStream:
    """Read access to a stream; `write` makes one."""

    def __init__(self, folder: Path, name: str, head: dict[str, Any], counts_V: npt.NDArray[np.int64]) -> None:
        stem = Path(folder) / name
        self.tokens: npt.NDArray[np.int32] = _map(f"{stem}.tokens.i32", "<i4")
        self.starts: npt.NDArray[np.int64] = np.fromfile(f"{stem}.starts.i64", dtype="<i8")
        """Where documents begin, and the end, (N + 1,)."""
        self.lengths_N: npt.NDArray[np.int64] = np.diff(self.starts)
        self.counts_V = counts_V
        """How often each token occurs."""
        self.characters, self.bytes = int(head["characters"]), int(head["bytes"])
        """Of the text; the end of a document counts as one."""

    def __len__(self) -> int:
        return len(self.lengths_N)

    @property
    def unknown(self) -> int:
        """Tokens that are unknown."""
        return int(self.counts_V[UNKNOWN])

    @classmethod
    def write(cls, folder: Path, name: str, pieces: Iterable[Piece], codec: RunningCodec) -> TokenStream:
        """Encode documents into a stream, replacing one of that name. Raises OutputError: the disk is full, say."""
        stem = Path(folder) / name
        head = Path(f"{stem}.json")
        counts_V = np.zeros(codec.vocabulary, dtype=np.int64)
        starts, at, characters, size, open_document = array("q"), 0, 0, 0, False
        try:
            head.unlink(missing_ok=True)
            with open(f"{stem}.tokens.i32", "wb") as file:
                for piece in pieces:
                    if not open_document:
                        starts.append(at)
                    ids_T = codec.encode(piece.text)
                    ids_T = np.append(ids_T, np.int32(END)) if piece.ends else ids_T
                    file.write(np.ascontiguousarray(ids_T, dtype="<i4").data)
                    counts_V += np.bincount(ids_T, minlength=codec.vocabulary)
                    at += len(ids_T)
                    characters += len(piece.text) + piece.ends
                    size += len(piece.text.encode("utf-8", "replace")) + piece.ends
                    open_document = not piece.ends
            starts.append(at)
            np.array(starts, dtype="<i8").tofile(f"{stem}.starts.i64")
            values = {"characters": characters, "bytes": size}
            head.write_text(json.dumps(values), encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot write encoded text: {error.strerror or error}. Free some space, or choose another "
                "output folder."
            ) from error
        return cls(folder, name, values, counts_V)


def _map(path: str, dtype: str) -> npt.NDArray[Any]:
    if Path(path).stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)
