"""Tensors of the Open Inference Protocol: names, types, shapes, and their values as bytes or as JSON.

As bytes they are little-endian, row by row; BOOL is a byte; an element of BYTES is a uint32 length and the bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.server.refusal import Refusal

Array = npt.NDArray[Any]

DTYPES: dict[str, str] = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
MOST_RANK = 8
MOST_ELEMENTS = 1 << 28
_LENGTH = struct.Struct("<I")


class Tensor(NamedTuple):
    """Values of a type; BYTES are a flat list, row by row, others an array of the shape."""

    datatype: str
    shape: tuple[int, ...]
    values: Any


def texts(values: Sequence[str]) -> Tensor:
    """BYTES [B] of strings."""
    return Tensor("BYTES", (len(values),), [value.encode("utf-8", "replace") for value in values])


def numbers(datatype: str, values: Any) -> Tensor:
    """An array of a type."""
    array = np.asarray(values, dtype=DTYPES[datatype])
    return Tensor(datatype, array.shape, array)


def checked_shape(name: str, datatype: Any, shape: Any) -> tuple[int, ...]:
    """Raises Refusal 400: the type is unknown, or the shape none, or too large."""
    if not isinstance(datatype, str) or (datatype not in DTYPES and datatype != "BYTES"):
        known = ", ".join((*DTYPES, "BYTES"))
        raise Refusal(400, f"input {name[:60]!r}: datatype {str(datatype)[:20]!r} is not read. Known: {known}.")
    if not isinstance(shape, list | tuple) or len(shape) > MOST_RANK:
        raise Refusal(400, f"input {name[:60]!r}: shape must be a list of up to {MOST_RANK} numbers.")
    if not all(type(size) is int and 0 <= size <= MOST_ELEMENTS for size in shape):
        raise Refusal(400, f"input {name[:60]!r}: shape {str(shape)[:60]} has a size that is none.")
    if math.prod(shape) > MOST_ELEMENTS:
        raise Refusal(400, f"input {name[:60]!r}: shape {str(shape)[:60]} is too large.")
    return tuple(shape)


def from_bytes(name: str, datatype: Any, shape: Any, raw: bytes | memoryview) -> Tensor:
    """A tensor from its bytes. Raises Refusal 400: they are not of this shape."""
    sizes = checked_shape(name, datatype, shape)
    count = math.prod(sizes)
    if datatype == "BYTES":
        return Tensor(datatype, sizes, _elements(name, bytes(raw), count))
    dtype = np.dtype(DTYPES[datatype])
    if len(raw) != count * dtype.itemsize:
        raise _wrong_size(name, sizes, f"{count * dtype.itemsize} bytes", f"{len(raw)}")
    return Tensor(datatype, sizes, np.frombuffer(raw, dtype=dtype).reshape(sizes))


def from_json(name: str, datatype: Any, shape: Any, data: Any) -> Tensor:
    """A tensor from JSON, flat or nested. Raises Refusal 400: values of another type or number."""
    sizes = checked_shape(name, datatype, shape)
    flat = _flat(data, len(sizes)) if isinstance(data, list) else [data]
    if len(flat) != math.prod(sizes):
        raise _wrong_size(name, sizes, f"{math.prod(sizes)} values", f"{len(flat)}")
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in flat):
            raise Refusal(400, f"input {name[:60]!r}: values of BYTES are strings in JSON.")
        return Tensor(datatype, sizes, [value.encode() for value in flat])
    return Tensor(datatype, sizes, numbers_of(name, datatype, flat).reshape(sizes))


def numbers_of(name: str, datatype: str, flat: Sequence[Any]) -> Array:
    """A flat array of a type from Python's values. Raises Refusal 400: one is of another type, or out of range."""
    kinds = {bool} if datatype == "BOOL" else {int, float} if datatype.startswith("FP") else {int}
    if not set(map(type, flat)) <= kinds:
        raise Refusal(400, f"input {name[:60]!r}: a value is no {datatype}.")
    try:
        with np.errstate(over="raise"):
            return np.array(flat, dtype=DTYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise Refusal(400, f"input {name[:60]!r}: a value is out of the range of {datatype}.") from None


def to_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor."""
    if tensor.datatype == "BYTES":
        return b"".join(part for value in tensor.values for part in (_LENGTH.pack(len(value)), value))
    found: bytes = tensor.values.tobytes()
    return found


def to_json(tensor: Tensor) -> list[Any]:
    """The values of a tensor, flat; BYTES as strings, numbers that are none as None."""
    if tensor.datatype == "BYTES":
        return [value.decode("utf-8", "replace") for value in tensor.values]
    flat = tensor.values.ravel().tolist()
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in flat]


def strings(name: str, tensor: Tensor) -> list[str]:
    """The texts of a tensor of BYTES. Raises Refusal 400: one is not UTF-8."""
    try:
        return [value.decode() for value in tensor.values]
    except UnicodeDecodeError as error:
        raise Refusal(400, f"input {name[:60]!r}: not UTF-8 ({error.reason}).") from None


def _elements(name: str, raw: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    for _ in range(count):
        if at + 4 > len(raw):
            break
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4 + length
        if at > len(raw):
            break
        found.append(raw[at - length : at])
    if len(found) != count or at != len(raw):
        raise Refusal(400, f"input {name[:60]!r}: its bytes are not {count} elements with their lengths.")
    return found


def _flat(data: list[Any], depth: int) -> list[Any]:
    """Values of lists within lists, `depth` of them at most."""
    for _ in range(depth - 1):
        if list not in map(type, data):
            break
        data = [value for one in data for value in (one if type(one) is list else (one,))]
    return data


def _wrong_size(name: str, sizes: Sequence[int], wanted: str, got: str) -> Refusal:
    return Refusal(400, f"input {name[:60]!r}: shape {list(sizes)} takes {wanted}, got {got}.")
