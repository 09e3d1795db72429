"""Lines of a stream, none dropped, none merged.

Only a line feed ends a line, so a text may hold a form feed, U+0085 or U+2028, which other tools split at. A carriage
return before the line feed belongs to the line end. A line feed at the end of the file adds no line; an empty line
is a line.
"""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from gatework.core.errors import DataError

CHUNK = 1 << 16


def file_batches(path: Path, *, most: int = 512) -> Iterator[list[str]]:
    """`line_batches` of a file, plain or gzip. Raises DataError."""
    with opened_file(path) as stream:
        yield from line_batches(stream, str(path), most=most)


def opened_file(path: Path) -> BinaryIO:
    """A file, plain or gzip, to be read as bytes. Raises DataError."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        return cast(BinaryIO, opener(path, "rb"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None


def characters(stream: Any, source: str) -> Iterator[str]:
    """A stream's text in pieces, cut anywhere, as soon as their bytes are there; less a byte order mark.

    Raises: DataError naming source and line where the bytes are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1
    while True:
        chunk = _read(stream, source)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += bytes(error.object[: error.start]).count(b"\n")
            raise DataError(f"{source}:{line}: not UTF-8. Convert it first: iconv -t UTF-8.") from None
        if not chunk:
            if text:
                yield text
            return
        line += text.count("\n")
        yield text


def line_batches(stream: Any, source: str, *, most: int = 512) -> Iterator[list[str]]:
    """Batches of decoded lines, each batch as soon as its bytes are there, so that a pipe is answered while it is open.

    Args:
        stream: binary, with `read1`.
        source: its name for errors.
        most: lines in a batch.
    Raises: DataError naming source and line where the bytes are not UTF-8.
    """
    number, partial = 0, []
    while chunk := _read(stream, source):
        first, *others = chunk.split(b"\n")
        partial.append(first)
        if not others:
            continue
        lines = [b"".join(partial), *others]
        partial = [lines.pop()]
        for start in range(0, len(lines), most):
            batch = lines[start : start + most]
            yield [_decoded(line, source, number + index + 1) for index, line in enumerate(batch)]
            number += len(batch)
    last = b"".join(partial)
    if last:
        yield [_decoded(last, source, number + 1)]


def _read(stream: Any, source: str) -> bytes:
    try:
        return bytes(stream.read1(CHUNK))
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{source}: damaged gzip file: {error}.") from None


def _decoded(line: bytes, source: str, number: int) -> str:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}:{number}: not UTF-8 at byte {error.start} of the line. Convert it first: iconv -t UTF-8."
        ) from None
