"""Named arrays in the safetensors format: read in place, written in order, no code in the file.

    8 bytes   N, length of the header, unsigned little endian
    N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {..}}
    rest      the arrays, row-major little endian, back to back, offsets counted from here

Written here, N pads the header with spaces so that the rest begins at a multiple of 64 from the start of the file,
and arrays of wide elements come first, so that each is aligned to its elements and maps into memory as it lies.
NumPy has no bfloat16: it is stored as the upper half of a float32, and widened when it is read.

Source: huggingface/safetensors, README.md.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core import strict_json
from gatework.core.errors import BundleError
from gatework.core.files import atomic_write

Array = npt.NDArray[Any]
Buffer = bytes | bytearray | memoryview | mmap.mmap

ALIGNMENT = 64
MAX_HEADER = 100_000_000
"""Longest header read, bytes: the limit of the format's own reader."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


class Slot(NamedTuple):
    """Where one array lies in the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile(Mapping[str, Array]):
    """Arrays by name, read-only views of the file's bytes (bfloat16: a float32 copy, made at each look-up)."""

    def __init__(self, data: memoryview, slots: Mapping[str, Slot], metadata: Mapping[str, str]) -> None:
        self._data = data
        self.slots = slots
        self.metadata = metadata

    def __getitem__(self, name: str) -> Array:
        slot = self.slots[name]
        raw = np.frombuffer(self._data[slot.begin : slot.end], dtype=DTYPES[slot.dtype])
        if slot.dtype == "BF16":
            raw = from_bfloat16(raw)
        array = raw.reshape(slot.shape)
        array.flags.writeable = False
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.slots)

    def __len__(self) -> int:
        return len(self.slots)


def to_bfloat16(array: Array) -> npt.NDArray[np.uint16]:
    """Upper halves of float32 values, rounded to nearest, ties to even. NaN stays NaN."""
    values = np.ascontiguousarray(array, dtype="<f4")
    bits = values.view("<u4")
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    # Rounding up the payload of a NaN could carry into the sign; a quiet NaN of the same sign cannot be mistaken.
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype("<u2")


def from_bfloat16(halves: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """float32 values whose upper halves are given."""
    wide = halves.astype("<u4")
    wide <<= np.uint32(16)
    return wide.view("<f4")


def pack_header(
    tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None, *, bfloat16: Collection[str] = ()
) -> tuple[bytes, list[str]]:
    """The bytes before the arrays, and the names in the order their bytes follow.

    Args:
        tensors: arrays by name. Of `bfloat16` arrays only the shape counts.
        metadata: strings by name, kept under `__metadata__`.
        bfloat16: names of float arrays stored as bfloat16.
    Raises: TypeError: an array of a type the format does not have.
    """
    kinds = {name: "BF16" if name in bfloat16 else _kind(name, array) for name, array in tensors.items()}
    order = sorted(tensors, key=lambda name: -DTYPES[kinds[name]].itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name in order:
        shape = np.shape(tensors[name])
        end = begin + int(np.prod(shape, dtype=np.int64)) * DTYPES[kinds[name]].itemsize
        header[name] = {"dtype": kinds[name], "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = strict_json.dump(header)
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, order


def tensor_chunks(
    tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None, *, bfloat16: Collection[str] = ()
) -> Iterator[memoryview]:
    """The bytes of a file of arrays, piece by piece, one array at a time. Arguments as in `pack_header`."""
    header, order = pack_header(tensors, metadata, bfloat16=bfloat16)
    yield memoryview(header)
    for name in order:
        array = tensors[name]
        stored = to_bfloat16(array) if name in bfloat16 else np.ascontiguousarray(array, _little(array.dtype))
        yield stored.reshape(-1).view(np.uint8).data


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file of arrays, whole or not at all. Raises OutputError."""
    with atomic_write(path) as file:
        for chunk in tensor_chunks(tensors, metadata):
            file.write(chunk)


def load_tensors(path: str | os.PathLike[str]) -> TensorFile:
    """Map a file of arrays into memory. Raises BundleError naming the file and what is wrong with it."""
    source = os.fspath(path)
    return parse_tensors(map_file(path), source=source)


def map_file(path: str | os.PathLike[str]) -> memoryview:
    """The bytes of a regular file, mapped read-only. Raises BundleError."""
    source = os.fspath(path)
    try:
        if "\0" in source:
            raise BundleError(f"{source!r}: not a file name. Give the path of a file.")
        if not os.path.isfile(path) and os.path.exists(path):
            raise BundleError(f"{source}: not a regular file. Give the path of a file.")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise BundleError(f"{source}: the file is empty. Write it again.")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise BundleError(f"{source}: there is no such file. Check the path.") from None
    except OSError as error:
        raise BundleError(f"{source}: cannot be read ({error.strerror or error}). Check its permissions.") from error


def parse_tensors(data: Buffer, *, source: str, max_header: int = MAX_HEADER) -> TensorFile:
    """Arrays in `data`, as views of it.

    Args:
        data: the whole file.
        source: its name, for errors.
        max_header: longest header accepted, bytes.
    Raises: BundleError: anything but a well-formed file whose arrays fill the data exactly, without overlap.
    """
    view = memoryview(data)
    if len(view) < 8:
        raise BundleError(f"{source}: {len(view)} bytes are too few. The file is cut short: write it again.")
    length = int.from_bytes(view[:8], "little")
    if length > max_header:
        raise BundleError(f"{source}: a header of {length} bytes, at most {max_header} are read. The file is damaged.")
    if length > len(view) - 8:
        raise BundleError(f"{source}: the header is cut short. The file is damaged: write it again.")
    header = strict_json.parse(view[8 : 8 + length], source=source)
    if not isinstance(header, dict):
        raise BundleError(f"{source}: the header is no object. The file is damaged: write it again.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BundleError(f"{source}: metadata must be strings by name. The file is damaged: write it again.")
    body = view[8 + length :]
    slots = {name: _slot(entry, source=f"{source}: tensor {name[:80]!r}") for name, entry in header.items()}
    _check_cover(slots, len(body), source=source)
    return TensorFile(body.toreadonly(), slots, metadata)


def _slot(entry: Any, *, source: str) -> Slot:
    """One header entry, its size agreeing with its shape."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BundleError(f"{source}: needs dtype, shape and data_offsets. The file is damaged.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise BundleError(f"{source}: element type {str(dtype)[:40]!r} is unknown. Known: {', '.join(DTYPES)}.")
    if not _naturals(shape) or len(shape) > 8 or not _naturals(offsets) or len(offsets) != 2:
        raise BundleError(f"{source}: shape or data_offsets are not natural numbers. The file is damaged.")
    size = DTYPES[dtype].itemsize
    for extent in shape:
        size *= extent
    if offsets[1] - offsets[0] != size:
        raise BundleError(f"{source}: shape {shape} takes {size} bytes, offsets give {offsets[1] - offsets[0]}.")
    return Slot(dtype, tuple(shape), offsets[0], offsets[1])


def _check_cover(slots: Mapping[str, Slot], size: int, *, source: str) -> None:
    """Arrays follow each other from 0 to `size` without a gap or an overlap."""
    at = 0
    for name, slot in sorted(slots.items(), key=lambda item: (item[1].begin, item[1].end)):
        if slot.begin != at:
            fault = "overlaps the one before" if slot.begin < at else "leaves a gap before it"
            raise BundleError(f"{source}: tensor {name[:80]!r} {fault}. The file is damaged: write it again.")
        at = slot.end
    if at != size:
        fault = "cut short" if at > size else "followed by other bytes"
        raise BundleError(f"{source}: the data is {fault} ({at} bytes named, {size} there). Write it again.")


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _kind(name: str, array: Array) -> str:
    kind = _NAMES.get(_little(array.dtype))
    if kind is None:
        raise TypeError(f"tensor {name!r} is of type {array.dtype}, which safetensors does not have")
    return kind
