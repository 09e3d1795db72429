"""A zip archive in one canonical form: stored entries, aligned, nothing optional.

Any zip tool opens one; this reader opens only this form. Every byte before, between and after the entries' data is
either fixed or follows from the rest, and the data has a checksum, so a file that was cut, patched or crafted is told
from a whole one, and no entry can be larger than its place in the file. `docs/bundle-format.md` states every field.

    entries, back to back:  local header (30) + name + padding field (6 to 69) + data, data at a multiple of 64
    directory:              central header (46) + name, in the order of the entries
    end record (22), the last bytes of the file

Source: PKWARE, APPNOTE.TXT, version 6.3.10, sections 4.3 and 4.4. Padding field: as written by Android's zipalign.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from gatework.core.errors import BundleError, OutputError

ALIGNMENT = 64
MAX_ENTRIES = 256
MAX_NAME = 200
MAX_BYTES = 2**32 - 2
"""Largest archive; beyond it the format would need its 64-bit extension."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_PAD = struct.Struct("<3H")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _MADE_BY, _DATE, _FILE_MODE = 20, 0x0314, 0x0021, 0o100644 << 16
_PAD_ID = 0xD935


class _Entry(NamedTuple):
    name: str
    checksum: int
    size: int
    offset: int


def write_archive(file: BinaryIO, entries: Mapping[str, Iterable[memoryview | bytes]]) -> int:
    """Write an archive from its first byte.

    Args:
        file: opened for writing, at 0.
        entries: name to the pieces of its data; they are gone through twice.
    Returns: bytes written.
    Raises: OutputError: the archive would be larger than the format allows. ValueError: a name is not allowed.
    """
    at, directory = 0, b""
    for name, pieces in entries.items():
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise ValueError(f"archive entry name {name!r} is not allowed")
        checksum, size = _digest(pieces)
        if at + size > MAX_BYTES - (1 << 20):
            raise OutputError(f"the bundle would exceed {MAX_BYTES:,} bytes. Set a smaller export.max_size.")
        entry = _Entry(name, checksum, size, at)
        header = _local_header(entry)
        file.write(header)
        for piece in pieces:
            file.write(piece)
        at += len(header) + size
        directory += _central_header(entry)
    file.write(directory)
    file.write(_end_record(len(entries), len(directory), at))
    return at + len(directory) + _END.size


def archive_size(sizes: Mapping[str, int]) -> int:
    """Bytes `write_archive` would write for entries of these names and sizes."""
    at = 0
    for name, size in sizes.items():
        at += len(_local_header(_Entry(name, 0, 0, at))) + size
    return at + sum(_CENTRAL.size + len(name) for name in sizes) + _END.size


def read_archive(data: memoryview, *, source: str) -> dict[str, memoryview]:
    """The entries of an archive by name, as views of `data`, every byte checked.

    Args:
        data: the whole file.
        source: its name, for errors.
    Raises: BundleError: anything but a whole archive as `write_archive` writes it.
    """
    if bytes(data[:4]) != _LOCAL_SIGN:
        raise BundleError(f"{source}: not a gatework bundle. Give a .gw file made by `gatework train`.")
    start, size, count = _read_end(data, source)
    entries: dict[str, memoryview] = {}
    folded: set[str] = set()
    at = 0
    for entry in _read_directory(data[start : start + size], count, source):
        if entry.name.lower() in folded:
            raise BundleError(f"{source}: entry {entry.name!r} is there twice. Use a file you trust.")
        folded.add(entry.name.lower())
        header = _local_header(entry)
        begin, end = at + len(header), at + len(header) + entry.size
        if entry.offset != at or end > start or data[at:begin] != header:
            raise BundleError(f"{source}: entry {entry.name!r} and the directory disagree. {_DAMAGED}")
        if zlib.crc32(data[begin:end]) != entry.checksum:
            raise BundleError(f"{source}: entry {entry.name!r} has a wrong checksum. {_DAMAGED}")
        entries[entry.name] = data[begin:end]
        at = end
    if at != start:
        raise BundleError(f"{source}: {start - at} bytes belong to no entry. {_DAMAGED}")
    return entries


_DAMAGED = "The file is damaged: copy or export it again."


def _digest(pieces: Iterable[memoryview | bytes]) -> tuple[int, int]:
    checksum = size = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        size += len(piece)
    return checksum, size


def _local_header(entry: _Entry) -> bytes:
    name = entry.name.encode("ascii")
    bare = entry.offset + _LOCAL.size + len(name) + _PAD.size
    zeros = -bare % ALIGNMENT
    fields = (_VERSION, 0, 0, 0, _DATE, entry.checksum, entry.size, entry.size, len(name), _PAD.size + zeros)
    return _LOCAL.pack(_LOCAL_SIGN, *fields) + name + _PAD.pack(_PAD_ID, 2 + zeros, ALIGNMENT) + bytes(zeros)


def _central_header(entry: _Entry) -> bytes:
    name = entry.name.encode("ascii")
    fields = (_MADE_BY, _VERSION, 0, 0, 0, _DATE, entry.checksum, entry.size, entry.size, len(name), 0, 0, 0, 0)
    return _CENTRAL.pack(_CENTRAL_SIGN, *fields, _FILE_MODE, entry.offset) + name


def _end_record(count: int, size: int, start: int) -> bytes:
    return _END.pack(_END_SIGN, 0, 0, count, count, size, start, 0)


def _read_end(data: memoryview, source: str) -> tuple[int, int, int]:
    """Start and size of the directory, and the number of entries."""
    if len(data) > MAX_BYTES:
        raise BundleError(f"{source}: {len(data):,} bytes, at most {MAX_BYTES:,} are read. Use a file you trust.")
    tail = data[-_END.size :]
    if len(data) < _END.size or bytes(tail[:4]) != _END_SIGN:
        raise BundleError(f"{source}: the end of the file is missing. {_DAMAGED}")
    _, _, _, count, _, size, start, _ = _END.unpack(tail)
    if count > MAX_ENTRIES:
        raise BundleError(f"{source}: {count} entries, at most {MAX_ENTRIES} are read. Use a file you trust.")
    if tail != _end_record(count, size, start) or start + size + _END.size != len(data):
        raise BundleError(f"{source}: the end record does not fit the file. {_DAMAGED}")
    return start, size, count


def _read_directory(directory: memoryview, count: int, source: str) -> Iterator[_Entry]:
    at = 0
    for _ in range(count):
        raw = directory[at : at + _CENTRAL.size]
        if len(raw) < _CENTRAL.size:
            raise BundleError(f"{source}: the directory is cut short. {_DAMAGED}")
        found = _CENTRAL.unpack(raw)
        raw_name = bytes(directory[at + _CENTRAL.size : at + _CENTRAL.size + found[10]])
        name = raw_name.decode("ascii", "replace")
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise BundleError(f"{source}: entry name {name[:80]!r} is not allowed. Use a file you trust.")
        if found[4] != 0:
            raise BundleError(f"{source}: entry {name!r} is compressed, bundles are not. Use a file you trust.")
        if found[15] != _FILE_MODE:
            raise BundleError(f"{source}: entry {name!r} is no plain file. Use a file you trust.")
        entry = _Entry(name, found[7], found[9], found[16])
        canonical = _central_header(entry)
        if directory[at : at + len(canonical)] != canonical:
            raise BundleError(f"{source}: the directory record of {name!r} is not as gatework writes it. {_DAMAGED}")
        yield entry
        at += len(canonical)
    if at != len(directory):
        raise BundleError(f"{source}: the directory holds more than its entries. {_DAMAGED}")
