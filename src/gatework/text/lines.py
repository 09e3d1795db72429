"""Lines of a text file, plain or gzip, with their numbers, decoded one by one so that a fault has a place.

Lines end at LF (a CR before it goes too), as editors and `grep -n` count them. A byte-order mark is dropped. Encodings
whose line feed is not the byte 0x0A (UTF-16, UTF-32) are read through Python's decoder, without a byte offset.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from gatework.core.errors import ConfigError, DataError, nearest

LONGEST_LINE = 1 << 28
"""Bytes; a longer line is refused."""

OnFault = Callable[[int, str], None]
"""Told line number and what is wrong there; it may raise."""

_MARKS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@contextmanager
def open_bytes(path: Path | str) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where it is gzip (told by its first bytes). Raises DataError: it cannot be opened."""
    path = Path(path)
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise DataError(missing(path)) from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder. Give a file.") from None
    except OSError as error:
        if path.is_dir():
            raise DataError(f"{path}: is a folder. Give a file.") from None
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    with raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield cast(BinaryIO, unpacked)


def missing(path: Path) -> str:
    """The message for a file that is not there, with the nearest name that is."""
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: no such file; the folder {folder} does not exist either."
    try:
        names = [found.name for found in folder.iterdir()]
    except OSError:
        names = []
    sentence = nearest(path.name, names)
    hint = sentence[sentence.rindex(" Did you mean") :] if " Did you mean" in sentence else ""
    return f"{path}: no such file.{hint or ' Check the path.'}"


def read_lines(
    path: Path | str, encoding: str = "utf-8", on_fault: OnFault | None = None, *, keep_ends: bool = False
) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line without its end).

    Args:
        path: of the file.
        encoding: of its text.
        keep_ends: give each line with its end, LF, where it has one.
        on_fault: told of lines that cannot be decoded, which are then left out; without it they raise.
    Raises: DataError naming file and line: wrong encoding, damaged gzip, a line beyond LONGEST_LINE.
        ConfigError: `encoding` is not known to Python.
    """

    def fault(number: int, what: str) -> None:
        if on_fault is None:
            raise DataError(f"{path}:{number}: {what}")
        on_fault(number, what)

    codec = _codec(encoding)
    number = 0
    with open_bytes(path) as file:
        try:
            if codec.startswith(("utf-16", "utf-32")):
                yield from _wide_lines(file, codec, fault, keep_ends)
                return
            offset = 0
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise DataError(f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB. Split it.")
                text = _decode(raw, codec, number, offset, fault)
                offset += len(raw)
                if text is not None:
                    yield number, f"{text}\n" if keep_ends and raw.endswith(b"\n") else text
        except _Foreign as error:
            raise DataError(f"{path}:{number}: {error}") from None
        except EOFError:
            raise DataError(f"{path}:{number + 1}: the gzip file is cut off. Fetch or pack it again.") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}:{number + 1}: the gzip file is damaged: {error}. Fetch it again.") from None
        except OSError as error:
            raise DataError(f"{path}:{number + 1}: cannot be read: {error.strerror or error}.") from None


class _Foreign(Exception):
    """The whole file is in another encoding."""


def _codec(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError(
            f"data.encoding {encoding!r} is unknown. Use a name that Python knows, such as 'utf-8' or 'gb18030'."
        ) from None


def _decode(raw: bytes, codec: str, number: int, offset: int, fault: OnFault) -> str | None:
    """A line without its end, or None where it cannot be decoded and `fault` did not raise."""
    if number == 1:
        if codec == "utf-8" and raw.startswith(codecs.BOM_UTF8):
            raw, offset = raw[3:], offset + 3
        for mark, name in _MARKS:
            if raw.startswith(mark) and codec == "utf-8":
                raise _Foreign(f"the file begins with the mark of {name.upper()}. Set data.encoding = '{name}'.")
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        fault(
            number,
            f"not {codec}: byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line "
            f"(byte {offset + error.start + 1} of the file).{_hint(raw, codec)}",
        )
        return None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _hint(raw: bytes, codec: str) -> str:
    """A guess at what else the line could be."""
    if raw.count(0) * 4 > len(raw):
        return " It looks like UTF-16: set data.encoding = 'utf-16'."
    for other in ("utf-8", "gb18030", "cp1252", "latin-1"):
        if other == codec:
            continue
        try:
            text = raw.decode(other)
        except UnicodeDecodeError:
            continue
        if other == "gb18030" and not _chinese(raw, text):
            continue
        return f" It could be {other}: set data.encoding = '{other}', or convert the file."
    return " Convert the file, or set data.encoding."


def _chinese(raw: bytes, text: str) -> bool:
    """Whether what GB 18030 reads is likely meant: mostly Chinese, and mostly of two bytes beyond ASCII, where a letter
    of Latin-1 is one before a letter of ASCII."""
    odd = sum(character > "\x7f" for character in text)
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in text)
    return 2 * chinese >= odd and 2 * sum(byte > 0x7F for byte in raw) >= 3 * odd


def _wide_lines(file: BinaryIO, codec: str, fault: OnFault, keep_ends: bool) -> Iterator[tuple[int, str]]:
    """Lines of UTF-16 or UTF-32. After a fault nothing more can be read."""
    number = 0
    with io.TextIOWrapper(file, encoding=codec, newline="\n") as text:
        try:
            for number, line in enumerate(text, start=1):
                bare = line.removesuffix("\n").removesuffix("\r").removeprefix("\ufeff")
                yield number, f"{bare}\n" if keep_ends and line.endswith("\n") else bare
        except UnicodeError as error:
            fault(number + 1, f"not {codec}: {error}. Set data.encoding, or convert the file.")
