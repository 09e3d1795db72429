"""Documents of running text, piece by piece: plain text, or records of a table made into text by a template.

    line      a line is a document, less the white space around it; an empty line is an empty document
    blank     what stands between lines without anything on them
    file      the whole file, which has no end: what follows it is not known
    rows      a record of a CSV, TSV or JSON lines file through a template: "{0}\\n{2}", "{title}\\n{poem}"

A document longer than PIECE characters comes in several pieces, cut at a line feed, so that files may be larger than
memory. A line feed is LF, whatever the file has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple, Protocol

from gatework.core.errors import ConfigError, DataError, nearest
from gatework.text.lines import OnFault, read_lines
from gatework.text.rows import Row, read_rows

PIECE = 1 << 16
"""Characters of a piece, from which on it ends at the next line feed."""
LOOKED_AT = 10_000
"""Lines that `auto` looks at."""
KINDS = ("line", "blank", "file", "rows")
_TABLES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl"}


class Piece(NamedTuple):
    """A document, or a part of one."""

    text: str
    ends: bool
    """Whether the document ends after it."""
    line: int
    """Of the file, where it begins, from 1."""


class DocumentSettings(Protocol):
    """What reading needs of the `[data]` section of a recipe."""

    @property
    def template(self) -> str: ...
    @property
    def documents(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def header(self) -> Any: ...
    @property
    def encoding(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class DocumentFormat:
    """How a file's documents are read; nothing left to infer."""

    kind: str
    """One of KINDS."""
    why: str = ""
    table: str = ""
    """Of rows: csv, tsv or jsonl."""
    template: str = ""
    header: bool = False
    """Whether the first row of a CSV or TSV file names the columns."""
    encoding: str = "utf-8"

    def describe(self) -> str:
        """In words."""
        if self.kind == "rows":
            return f"a document a row of {self.table}, by the template {self.template!r}"
        said = {"line": "a document a line", "blank": "documents between blank lines", "file": "one running text"}
        return said[self.kind] + (f" ({self.why})" if self.why else "")


def document_format(path: Path | str, data: DocumentSettings) -> DocumentFormat:
    """How the documents of a file are to be read.

    Raises: ConfigError: the template or the format makes no sense. DataError: the file cannot be read.
    """
    if data.template:
        fields = template_fields(data.template)
        named = [name for name in fields if not name.isdigit()]
        table = _table(Path(path), data.format)
        header = bool(named) if data.header == "auto" else bool(data.header)
        if named and not header and table != "jsonl":
            raise ConfigError(f"data.template names the column {named[0]!r}, but data.header is false. Set it to true.")
        return DocumentFormat(kind="rows", table=table, template=data.template, header=header, encoding=data.encoding)
    if data.format != "auto":
        raise ConfigError(
            f"data.format {data.format!r} needs data.template, such as '{{0}}', to make documents of rows."
        )
    if data.documents != "auto":
        return DocumentFormat(kind=data.documents, encoding=data.encoding)
    if _suffix(Path(path)) in _TABLES:
        raise ConfigError(
            f"{path}: a table. Set data.template, such as '{{0}}', to make documents of its rows, or data.documents to "
            "read it as plain text."
        )
    lines = islice(read_lines(path, data.encoding), LOOKED_AT)
    blank = any(not line.strip() for _, line in lines)
    if blank:
        return DocumentFormat(kind="file", why="it holds blank lines", encoding=data.encoding)
    return DocumentFormat(kind="line", why="it holds no blank line", encoding=data.encoding)


def read_documents(path: Path | str, found: DocumentFormat, *, on_fault: OnFault | None = None) -> Iterator[Piece]:
    """The documents of a file, in order.

    Args:
        path: of the file, plain or gzip.
        found: how to read it.
        on_fault: told of lines and rows that cannot be read, which are then left out; without it they raise.
    Raises: DataError naming file and line.
    """
    if found.kind == "rows":
        return _rows(path, found, on_fault)
    lines = read_lines(path, found.encoding, on_fault, keep_ends=found.kind == "file")
    return {"line": _lines, "blank": _blank, "file": _file}[found.kind](lines)


def template_fields(template: str) -> list[str]:
    """Names and positions of the columns a template takes. Raises ConfigError: it takes none, or is no template."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"data.template {template!r}: {error}. Write {{{{ for a brace.") from None
    fields = [name for _, name, _, _ in parts if name is not None]
    if not fields or not all(fields):
        raise ConfigError(f"data.template {template!r} names no column. Write such as '{{0}}' or '{{title}}'.")
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigError(f"data.template {template!r}: columns take no ':' and no '!'. Write their names alone.")
    return fields


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _table(path: Path, format: str) -> str:
    kind = _TABLES.get(_suffix(path), "") if format == "auto" else format
    if kind not in ("csv", "tsv", "jsonl"):
        raise ConfigError(f"{path}: data.template is for tables. Set data.format to csv, tsv or jsonl.")
    return kind


def _lines(lines: Iterable[tuple[int, str]]) -> Iterator[Piece]:
    for number, line in lines:
        yield Piece(line.strip(), True, number)


def _blank(lines: Iterable[tuple[int, str]]) -> Iterator[Piece]:
    held: list[str] = []
    size = first = 0
    for number, line in lines:
        if not line.strip():
            if held:
                yield Piece("\n".join(held), True, first)
            held, size = [], 0
            continue
        if size >= PIECE:
            yield Piece("\n".join([*held, ""]), False, first)
            held, size = [], 0
        first = first if held else number
        held.append(line)
        size += len(line)
    if held:
        yield Piece("\n".join(held), True, first)


def _file(lines: Iterable[tuple[int, str]]) -> Iterator[Piece]:
    held: list[str] = []
    size = first = 0
    for number, line in lines:
        first = first if held else number
        held.append(line)
        size += len(line)
        if size >= PIECE:
            yield Piece("".join(held), False, first)
            held, size = [], 0
    if held:
        yield Piece("".join(held), False, first)


def _rows(path: Path | str, found: DocumentFormat, on_fault: OnFault | None) -> Iterator[Piece]:
    def fault(number: int, what: str) -> None:
        if on_fault is None:
            raise DataError(f"{path}:{number}: {what}")
        on_fault(number, what)

    rows = read_rows(path, found.table, encoding=found.encoding, on_fault=fault)
    names: Mapping[str, int] = {}
    if found.header and found.table != "jsonl":
        head = next(rows, None)
        names = {name.strip(): place for place, name in enumerate(head.cells)} if head is not None else {}
    fill = _filler(found.template, names)
    for row in rows:
        try:
            yield Piece(fill(row), True, row.line)
        except LookupError as error:
            fault(row.line, str(error.args[0]))


def _filler(template: str, names: Mapping[str, int]) -> Callable[[Row], str]:
    parts = list(Formatter().parse(template))

    def fill(row: Row) -> str:
        said = (literal + (_cell(row, name, names) if name is not None else "") for literal, name, _, _ in parts)
        return "".join(said).replace("\r\n", "\n")

    return fill


def _cell(row: Row, name: str, names: Mapping[str, int]) -> str:
    """Raises LookupError with a sentence: there is no such cell, or it is no text."""
    if isinstance(row.cells, dict):
        if name not in row.cells:
            raise LookupError(f"no key {name!r}, which data.template takes. {nearest(name, row.cells)}")
        value = row.cells[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise LookupError(f"{name!r} is {type(value).__name__}; data.template takes strings and numbers.")
        return str(value)
    place = int(name) if name.isdigit() and name not in names else names.get(name, -1)
    if place < 0:
        raise LookupError(f"no column {name!r}, which data.template takes. {nearest(name, names)}")
    if place >= len(row.cells):
        raise LookupError(f"{len(row.cells)} columns; data.template takes number {place}, counted from 0.")
    return row.cells[place]
