"""Word vectors from a file: word2vec text and binary, GloVe, fastText `.vec`, plain or gzip.

    word2vec text, fastText   "count width" on the first line, then a word and its numbers, split by spaces
    GloVe                     the same without the first line; a word may hold spaces
    word2vec binary           "count width" on the first line, then a word, a space, and width float32, little-endian

Only the rows a vocabulary asks for are held. V ids of the vocabulary, E width of a vector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.text.lines import open_bytes, read_lines
from gatework.text.vocabulary import FIRST, Vocabulary

Float32 = npt.NDArray[np.float32]
WIDEST = 100_000
LONGEST_WORD = 10_000
"""Bytes of a word in a binary file; a longer one means that it is not a vectors file."""


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Vectors of the words of a vocabulary."""

    matrix_VE: Float32
    """One row an id; zero where the file has no vector."""
    found_V: npt.NDArray[np.bool_]
    """Whether the file has a vector for an id."""
    rows: int
    """Vectors in the file."""

    @property
    def width(self) -> int:
        return int(self.matrix_VE.shape[1])

    @property
    def coverage(self) -> float:
        """Share of the vocabulary's words with a vector."""
        return int(self.found_V.sum()) / max(1, len(self.found_V) - FIRST)

    def describe(self) -> str:
        return (
            f"{self.rows:,} vectors of width {self.width}; {int(self.found_V.sum()):,} of "
            f"{len(self.found_V) - FIRST:,} words have one ({self.coverage:.1%})"
        )


def read_vectors(
    path: Path | str,
    vocabulary: Vocabulary,
    *,
    width: int | None = None,
    option: str = "model.embedding",
    normalise: Callable[[str], str] | None = None,
    encoding: str = "utf-8",
) -> Vectors:
    """Read the vectors of a vocabulary's words.

    Args:
        path: of the file.
        vocabulary: whose words are looked for.
        width: what the vectors must have; None takes any.
        option: of the recipe that says the width.
        normalise: how the vocabulary writes a word. A word of the file that is one only after normalising (`The`)
            counts where no word is one as it stands; of several such the first.
        encoding: of the words.
    Raises: DataError naming file and line (or vector number): wrong width, NaN or infinity, a file cut off.
    """
    path = Path(path)
    taken: dict[int, bool] = {}
    matrix: Float32 | None = None
    rows = 0

    def wanted(word: str) -> bool:
        return word in vocabulary or (normalise is not None and normalise(word) in vocabulary)

    for word, vector, place in _vectors(path, encoding, wanted):
        rows += 1
        if vector is None:
            continue
        if matrix is None:
            if width is not None and len(vector) != width:
                raise DataError(
                    f"{place}: vectors of width {len(vector)}, but {option} is {width}. "
                    f"Set {option} to {len(vector)}, or use another file."
                )
            matrix = np.zeros((len(vocabulary), len(vector)), dtype=np.float32)
        if not np.isfinite(vector).all():
            raise DataError(f"{place}: the vector of {word!r} holds NaN or infinity. Take it out, or mend the file.")
        exact = word in vocabulary
        index = vocabulary.ids.get(word if exact or normalise is None else normalise(word))
        if index is not None and (index not in taken or (exact and not taken[index])):
            matrix[index] = vector
            taken[index] = exact
    if matrix is None:
        raise DataError(f"{path}:1: no vectors. Give a word2vec, GloVe or fastText .vec file.")
    found = np.zeros(len(vocabulary), dtype=bool)
    found[list(taken)] = True
    return Vectors(matrix_VE=matrix, found_V=found, rows=rows)


def _vectors(path: Path, encoding: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Float32 | None, str]]:
    """Yields word, vector (None for a sound line of a word not wanted) and where it stands."""
    with open_bytes(path) as file:
        head = file.readline(LONGEST_WORD)
        if not head:
            raise DataError(f"{path}:1: the file is empty. Give a word2vec, GloVe or fastText .vec file.")
        count = _header(head)
        if count is not None and _is_binary(path, file, *count):
            yield from _binary(path, file, *count)
            return
    yield from _text(path, encoding, count, wanted)


def _header(line: bytes) -> tuple[int, int] | None:
    """Count and width, where a line has those and nothing else."""
    parts = line.split()
    if len(parts) == 2 and all(part.isdigit() and len(part) < 12 for part in parts):
        return int(parts[0]), int(parts[1])
    return None


def _is_binary(path: Path, file: BinaryIO, count: int, width: int) -> bool:
    """Whether what follows the first line is not words and numbers in text."""
    if not 0 < width <= WIDEST:
        raise DataError(f"{path}:1: the width {width} is not in [1, {WIDEST}]. Is it a vectors file?")
    start = file.tell()
    line = file.readline(40 * width + LONGEST_WORD)
    file.seek(start)
    if count == 0 or not line:
        return False
    try:
        np.array(line.split()[-width:], dtype=np.float64)
    except ValueError:
        # A faulty text file is still text: its bytes are printable, which packed floats hardly ever are.
        return any(byte < 32 and byte not in b"\t\r\n" for byte in line) or not _decodes(line)
    return len(line.split()) < width // 2


def _decodes(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary(path: Path, file: BinaryIO, count: int, width: int) -> Iterator[tuple[str, Float32, str]]:
    size = 4 * width
    rest = b""
    for number in range(1, count + 1):
        place = f"{path}: vector {number}"
        while b" " not in rest and len(rest) <= LONGEST_WORD:
            more = file.read(1 << 16)
            if not more:
                raise DataError(f"{place}: the file is cut off; it should hold {count}. Fetch it again.")
            rest += more
        word, space, rest = rest.partition(b" ")
        if not space or len(word) > LONGEST_WORD:
            raise DataError(f"{place}: no word within {LONGEST_WORD} bytes. Is it a word2vec file of width {width}?")
        if len(rest) < size:
            rest += file.read(max(size, 1 << 16))
        if len(rest) < size:
            raise DataError(f"{place}: the file is cut off; it should hold {count}. Fetch it again.")
        vector = np.frombuffer(rest[:size], dtype="<f4").astype(np.float32)
        rest = rest[size:]
        yield word.lstrip(b"\n").decode("utf-8", "replace"), vector, place


def _text(
    path: Path, encoding: str, count: tuple[int, int] | None, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, Float32 | None, str]]:
    width = count[1] if count is not None else 0
    rows = 0
    number = 1
    for number, line in read_lines(path, encoding):
        fields = line.rstrip().replace("\t", " ").split(" ")
        if (number == 1 and count is not None) or fields == [""]:
            continue
        place = f"{path}:{number}"
        width = width or len(fields) - 1
        if width < 1:
            raise DataError(f"{place}: a word and its numbers are needed, split by spaces. Is it a vectors file?")
        word, numbers = " ".join(fields[:-width]), fields[-width:]
        if not word or _too_many(fields, width, count is not None):
            raise DataError(f"{place}: {len(fields) - 1} numbers where {width} are expected. Mend the line.")
        # Reading numbers is slow: only where they are wanted, or could be anything but finite numbers.
        needed = rows == 0 or wanted(word) or _ODD.search(line, len(word)) is not None
        rows += 1
        yield word, _numbers(numbers, place) if needed else None, place
    if count is not None and rows != count[0]:
        raise DataError(
            f"{path}:{number}: the file ends after {rows} vectors; its first line says {count[0]}. Fetch it again."
        )


_ODD = re.compile(r"[^0-9eE+\-. \t\r]")


def _too_many(fields: list[str], width: int, headed: bool) -> bool:
    """Whether a line has more numbers than it should. A word of GloVe may hold spaces, but hardly numbers after one."""
    extra = fields[1:-width]
    return bool(extra) and (headed or all(map(_is_number, extra)))


def _numbers(fields: list[str], place: str) -> Float32:
    try:
        return cast(Float32, np.array(fields, dtype=np.float32))
    except ValueError:
        bad = next((field for field in fields if not _is_number(field)), fields[0])
        short = bad if len(bad) <= 30 else bad[:27] + "..."
        raise DataError(
            f"{place}: {short!r} is not a number; {len(fields)} are expected after the word. Mend the line."
        ) from None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
