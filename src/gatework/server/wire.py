"""Protocol buffers on the wire, as far as the Open Inference Protocol needs them: messages as dicts, no generated code.

A message is a tuple of fields; what a peer sends beside them is skipped. Fields that hold their default are not sent,
except in a `oneof`, whose field is there because it was set.

    tag = number << 3 | type;  types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

MOST_FIELDS = 1 << 16
"""Of a message with all that are in it: two bytes make one, and each takes memory of hundreds."""
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_WIRE = {
    "bool": _VARINT, "int32": _VARINT, "int64": _VARINT, "uint32": _VARINT, "uint64": _VARINT, "enum": _VARINT,
    "double": _EIGHT, "float": _FOUR, "string": _BYTES, "bytes": _BYTES,
}  # fmt: skip
_FIXED = {"double": struct.Struct("<d"), "float": struct.Struct("<f")}
_ARRAYS = {"double": "<f8", "float": "<f4"}
_MASK = (1 << 64) - 1
_SHORT = 64
"""Bytes up to which Python's loop reads packed numbers as fast as NumPy."""
_HIGHEST = (1 << 29) - 1
"""Number of a field."""
_LONGEST = 10
"""Bytes of a varint."""


class WireError(ValueError):
    """Bytes that are no such message."""


class Field(NamedTuple):
    """A field of a message."""

    number: int
    name: str
    kind: str | tuple[Field, ...]
    """A scalar type, or the message it holds."""
    repeated: bool = False
    entry: bool = False
    """A map: a repeated message of a key and a value, here a dict."""
    choice: bool = False
    """Of a `oneof`: sent though it holds its default."""


Message = tuple[Field, ...]


def encode(message: Message, values: Mapping[str, Any]) -> bytes:
    """The bytes of a message; names that it does not have are an error of ours."""
    parts: list[bytes] = []
    known = {field.name: field for field in message}
    for name, value in values.items():
        field = known[name]
        if field.entry:
            for key, one in value.items():
                _append(parts, field, {"key": key, "value": one})
        elif field.repeated:
            _append_all(parts, field, value)
        elif value or field.choice or isinstance(value, dict):
            _append(parts, field, value)
    return b"".join(parts)


def decode(message: Message, data: bytes | memoryview) -> dict[str, Any]:
    """The values of a message: every repeated field, and those others that were sent. Raises WireError."""
    return _decoded(message, memoryview(data), [MOST_FIELDS])


def _decoded(message: Message, view: memoryview, left: list[int]) -> dict[str, Any]:
    """`left`: how many fields there may be still."""
    values: dict[str, Any] = {field.name: {} if field.entry else [] for field in message if field.repeated}
    known = {field.number: field for field in message}
    for number, wire, raw in _fields(view):
        left[0] -= 1
        if left[0] < 0:
            raise WireError(f"more than {MOST_FIELDS:,} fields")
        field = known.get(number)
        if field is None:
            continue
        wanted = _BYTES if isinstance(field.kind, tuple) else _WIRE[field.kind]
        if wire != wanted and not (wire == _BYTES and field.repeated):
            raise WireError(f"field {number} has the type {wire}, not {wanted}")
        if not field.repeated:
            if field.choice:  # the last one that was sent is the choice
                for other in message:
                    if other.choice:
                        values.pop(other.name, None)
            values[field.name] = _value(field, raw, left)
        elif field.entry:
            pair = _value(field, raw, left)
            values[field.name][pair.get("key", "")] = pair.get("value", {})
        elif wire == wanted:
            values[field.name].append(_value(field, raw, left))
        else:
            values[field.name] += _packed(field.kind, raw)
    return values


def varint(value: int) -> bytes:
    """A whole number; a negative one takes ten bytes."""
    value &= _MASK
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _append(parts: list[bytes], field: Field, value: Any) -> None:
    wire = _BYTES if isinstance(field.kind, tuple) else _WIRE[field.kind]
    parts.append(varint(field.number << 3 | wire))
    raw = _raw(field.kind, value)
    if wire == _BYTES:
        parts.append(varint(len(raw)))
    parts.append(raw)


def _append_all(parts: list[bytes], field: Field, values: Any) -> None:
    if isinstance(field.kind, tuple) or _WIRE[field.kind] == _BYTES:
        for value in values:
            _append(parts, field, value)
    elif values:
        raw = b"".join(_raw(field.kind, value) for value in values)
        parts += [varint(field.number << 3 | _BYTES), varint(len(raw)), raw]


def _raw(kind: str | Message, value: Any) -> bytes:
    if isinstance(kind, tuple):
        return encode(kind, value)
    if kind == "string":
        return str(value).encode("utf-8", "replace")
    if kind == "bytes":
        return bytes(value)
    return _FIXED[kind].pack(value) if kind in _FIXED else varint(int(value))


def _fields(view: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, type, and the varint or the bytes of each field."""
    at = 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= _HIGHEST:
            raise WireError("a field without a number")
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(view, at)
        elif wire in (_EIGHT, _FOUR):
            size = 8 if wire == _EIGHT else 4
        else:
            raise WireError(f"a field of the type {wire}")
        if size > len(view) - at:
            raise WireError("a field that goes beyond the end")
        yield number, wire, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise WireError("a number that does not end")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
        shift += 7


def _packed(kind: Any, raw: memoryview) -> list[Any]:
    """The elements of a packed field."""
    if kind in _ARRAYS:
        dtype = np.dtype(_ARRAYS[kind])
        if len(raw) % dtype.itemsize:
            raise WireError("numbers that are cut")
        found: list[Any] = np.frombuffer(raw, dtype).tolist()
        return found
    values = _varints(raw) if len(raw) > _SHORT else _few_varints(raw)
    reader = _READERS.get(kind)
    return values if reader is None else [reader(value) for value in values]


def _few_varints(raw: memoryview) -> list[int]:
    """Numbers behind each other."""
    found, at = [], 0
    while at < len(raw):
        value, at = _varint(raw, at)
        found.append(value)
    return found


def _varints(raw: memoryview) -> list[int]:
    """The same for many of them, a hundred times as fast."""
    data_N = np.frombuffer(raw, np.uint8)
    ends_E = np.flatnonzero(data_N < 0x80)
    if not len(ends_E) or ends_E[-1] != len(data_N) - 1:
        raise WireError("a number that does not end")
    begins_E = np.append(0, ends_E[:-1] + 1)
    sizes_E = ends_E - begins_E + 1
    if sizes_E.max() > _LONGEST:
        raise WireError("a number that does not end")
    values_E = np.zeros(len(ends_E), np.uint64)
    for place in range(sizes_E.max()):
        longer = sizes_E > place
        bits = data_N[begins_E[longer] + place].astype(np.uint64) & np.uint64(0x7F)
        values_E[longer] |= bits << np.uint64(7 * place)
    found: list[int] = values_E.tolist()
    return found


def _value(field: Field, raw: Any, left: list[int]) -> Any:
    kind = field.kind
    if isinstance(kind, tuple):
        return _decoded(kind, raw, left)
    reader = _READERS.get(kind)
    return reader(raw) if reader is not None else raw


def _text(raw: memoryview) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise WireError("a string that is not UTF-8") from None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _short(value: int) -> int:
    """The lower half of a number, as protocol buffers read more than fits."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


_READERS: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int32": _short,
    "int64": _signed,
    "uint32": lambda value: value & 0xFFFFFFFF,
    "string": _text,
    "float": lambda raw: _FIXED["float"].unpack(raw)[0],
    "double": lambda raw: _FIXED["double"].unpack(raw)[0],
}
"""Of other kinds values stay as they come: numbers, or views of bytes."""
