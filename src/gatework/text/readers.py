"""Examples from a data file: text, labels, and the line they stand on; one at a time, never the whole file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gatework.core.errors import DataError, nearest
from gatework.text.formats import Format, infer
from gatework.text.lines import OnFault, read_lines
from gatework.text.rows import LABEL_PREFIX, Row, read_rows
from gatework.text.settings import DataSettings

_SURROGATE = re.compile("[\ud800-\udfff]")


class Example(NamedTuple):
    """A labelled text."""

    text: str
    """May be empty: an empty text is kept, and answered by the training prior."""
    labels: tuple[str, ...]
    """One, or any number where the task is multi-label; none where labels are not read."""
    line: int
    """Line of the file it begins on, from 1."""


def read_examples(
    path: Path | str,
    data: DataSettings | None = None,
    *,
    format: Format | None = None,
    labelled: bool = True,
    on_fault: OnFault | None = None,
) -> Iterator[Example]:
    """Yields the examples of a file, plain or gzip.

    Args:
        path: of the file.
        data: the `[data]` settings; what they leave open is inferred.
        format: what `infer` found, to save doing it again.
        labelled: whether labels are read; without it their column need not be there.
        on_fault: told of records that cannot be read, which are then left out; without it they raise.
    Raises: DataError naming file and line: a record that cannot be read, a missing column, an empty label.
    """
    found = format or infer(path, data, labelled=labelled)

    def fault(number: int, what: str) -> None:
        if on_fault is None:
            raise DataError(f"{path}:{number}: {what}")
        on_fault(number, what)

    rows = read_rows(path, found.kind, delimiter=found.delimiter, encoding=found.encoding, on_fault=fault)
    if found.header is not None:
        next(rows, None)
    for row in rows:
        try:
            yield _example(row, found, labelled and found.label is not None)
        except _Unreadable as error:
            fault(row.line, str(error))


def read_texts(path: Path | str, *, encoding: str = "utf-8") -> Iterator[str]:
    """Yields the lines of a plain-text file, blank ones too: unlabelled texts, one a line."""
    for _, line in read_lines(path, encoding):
        yield line


def text_key(text: str) -> int:
    """A 64-bit number of a text; texts that differ in white space only have the same."""
    data = " ".join(text.split()).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class _Unreadable(Exception):
    """What is wrong with a record; the caller knows the place."""


def _example(row: Row, found: Format, labelled: bool) -> Example:
    if isinstance(row.cells, dict):
        return _from_object(row.cells, row.line, found, labelled)
    cells = row.cells
    if len(cells) != found.columns:
        raise _Unreadable(_wrong_width(len(cells), found))
    text = cells[int(found.text)]
    if not labelled:
        return Example(text, (), row.line)
    cell = cells[int(found.label or 0)]
    if found.kind == "fasttext":
        named = [label.removeprefix(LABEL_PREFIX) for label in cell.split()]
        if not all(named):
            raise _Unreadable(f"{LABEL_PREFIX} without a name after it. Write the label's name.")
        return Example(text, _checked(named, found, f"no label. Begin the line with {LABEL_PREFIX}NAME."), row.line)
    return Example(text, _split(cell, found), row.line)


def _from_object(record: dict[str, Any], line: int, found: Format, labelled: bool) -> Example:
    text = record.get(str(found.text))
    if not isinstance(text, str):
        if str(found.text) not in record:
            raise _Unreadable(f"no key {found.text!r} for the text. {nearest(str(found.text), record)}")
        raise _Unreadable(f"{found.text!r} is {type(text).__name__}, a string is needed. Write it in quotes.")
    # JSON may spell half of a surrogate pair, which no file can hold.
    text = _SURROGATE.sub("\ufffd", text)
    if not labelled:
        return Example(text, (), line)
    key = str(found.label)
    if key not in record:
        raise _Unreadable(f"no key {key!r} for the label. {nearest(key, record)}")
    value = record[key]
    if isinstance(value, list):
        named = [_scalar(one, key) for one in value]
        return Example(text, _checked([one for one in named if one], found, f"{key!r} is an empty list."), line)
    return Example(text, _split(_scalar(value, key), found), line)


def _scalar(value: Any, key: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, int | float):
        return str(value)
    raise _Unreadable(f"{key!r} is {type(value).__name__}; a label is a string or a number. Write it so.")


def _split(cell: str, found: Format) -> tuple[str, ...]:
    parts = cell.split(found.label_separator) if found.label_separator else [cell]
    return _checked([part.strip() for part in parts if part.strip()], found, "the label is empty. Write one.")


def _checked(labels: list[str], found: Format, none: str) -> tuple[str, ...]:
    if found.multi_label:
        return tuple(dict.fromkeys(labels))
    if not labels:
        raise _Unreadable(none)
    if len(labels) > 1:
        raise _Unreadable(
            f"{len(labels)} labels ({', '.join(labels[:3])}), but examples before it have one. "
            f"Set data.label_separator for several labels an example, or keep one."
        )
    return (labels[0],)


def _wrong_width(got: int, found: Format) -> str:
    name = "tabs" if found.kind == "tsv" else f"{found.delimiter!r}"
    if got < found.columns:
        missing = [role for role, column in (("text", found.text), ("label", found.label)) if column is not None]
        missing = [role for role in missing if int(getattr(found, role)) >= got]
        what = f"the {' and the '.join(missing)} column is missing" if missing else "a column is missing"
        return f"{got} columns where {found.columns} are expected: {what}. Columns are split by {name}."
    return f"{got} columns where {found.columns} are expected. Columns are split by {name}: take it out of the text" + (
        ", or put the cell in quotes." if found.kind == "csv" else "."
    )
