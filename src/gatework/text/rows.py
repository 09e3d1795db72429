"""Records of a data file, cell by cell: CSV, TSV, JSON lines and fastText, each with the line it begins on.

TSV has no quoting: a quote is a character like any other. CSV is read by Python's `csv` in strict mode; a quoted cell
may hold line breaks. Lines without anything on them are passed over (in fastText files too), as they hold no example.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gatework.core.errors import DataError
from gatework.text.lines import OnFault, read_lines

Kind = str
"""csv, tsv, jsonl or fasttext."""

LABEL_PREFIX = "__label__"
LONGEST_CELL = 1 << 28
"""Characters of a CSV cell."""
_LEADING = re.compile(rf"\s*(?:{LABEL_PREFIX}\S*\s*)*")
_TRAILING = re.compile(rf"(?:\s{LABEL_PREFIX}\S*)+\s*\Z")


class Row(NamedTuple):
    """A record."""

    line: int
    cells: list[str] | dict[str, Any]
    """Cells in order (CSV, TSV; fastText: labels joined by a space, then the text), or a JSON object."""


def read_rows(
    path: Path | str, kind: Kind, *, delimiter: str = ",", encoding: str = "utf-8", on_fault: OnFault | None = None
) -> Iterator[Row]:
    """Yields every record that is not blank.

    Args:
        path: of the file.
        kind: its format.
        delimiter: between CSV cells.
        encoding: of its text.
        on_fault: told of records that cannot be read, which are then left out; without it they raise.
    Raises: DataError naming file and line.
    """

    def fault(number: int, what: str) -> None:
        if on_fault is None:
            raise DataError(f"{path}:{number}: {what}")
        on_fault(number, what)

    lines = read_lines(path, encoding, fault)
    if kind == "csv":
        yield from _csv(lines, delimiter, fault)
    elif kind == "tsv":
        yield from (Row(number, line.split("\t")) for number, line in lines if line)
    elif kind == "jsonl":
        yield from _json(lines, fault)
    else:
        yield from (Row(number, split_fasttext(line)) for number, line in lines if line.strip())


def split_fasttext(line: str) -> list[str]:
    """[labels joined by a space, text] of a fastText line, whose labels stand before the text or after it."""
    if found := _LEADING.match(line):
        labels, text = found[0].split(), line[found.end() :]
        if labels:
            return [" ".join(labels), text]
    if tail := _TRAILING.search(line, max(0, line.rfind(LABEL_PREFIX) - 4096)):
        return [" ".join(tail[0].split()), line[: tail.start()]]
    return ["", line]


def _csv(lines: Iterator[tuple[int, str]], delimiter: str, fault: OnFault) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    last = 0

    def fed() -> Iterator[str]:
        nonlocal last
        for number, line in lines:
            last = number
            yield line + "\n"

    reader = csv.reader(fed(), delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault(start, _csv_fault(str(error), start, last))
        else:
            if cells:
                yield Row(start, cells)
        start = last + 1


def _csv_fault(error: str, start: int, last: int) -> str:
    if "unexpected end of data" in error:
        return "a quote opened in this record is never closed. Close it, or double it if it is meant as a character."
    if "expected after" in error:
        where = "" if last == start else f" (seen on line {last})"
        return f"text after a closing quote{where}. Double the quotes inside a quoted cell."
    return f"not CSV: {error}."


def _json(lines: Iterator[tuple[int, str]], fault: OnFault) -> Iterator[Row]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            array = line.lstrip().startswith("[") and number == 1
            hint = " Write one object a line instead of one array." if array else ""
            fault(number, f"not JSON: {str(error) or 'nested too deeply'}.{hint}")
            continue
        if not isinstance(value, dict):
            hint = "Write one object a line instead of one array." if isinstance(value, list) else "Write one object."
            fault(number, f"expected a JSON object, got {type(value).__name__}. {hint}")
            continue
        yield Row(number, value)
