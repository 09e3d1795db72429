"""Pairs of texts, a source and its target: from tables, JSON lines, dialogues, or two files side by side.

rows     a row of a CSV, TSV or JSON lines file; source and target are two of its columns or keys
turns    JSON lines with a list of turns, strings or objects: each turn from the second is a target, the turns before
         it its source
lines    line by line of two plain-text files
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

from gatework.core.errors import ConfigError, DataError, nearest
from gatework.text.lines import OnFault, read_lines
from gatework.text.rows import Row, read_rows

Column = str | int
SOURCES = ("source", "src", "text", "article", "document", "content", "input", "question", "word")
TARGETS = ("target", "tgt", "summary", "title", "headline", "synopsis", "output", "translation", "answer", "phonemes")
TURNS = ("turns", "dialogue", "dialog", "messages", "utterances")
SAID = ("content", "text", "message", "utterance")
"""Keys of a turn that is an object, of which one holds what is said."""
INSTRUCTING = ("system", "developer")
"""Roles that take no part in the dialogue."""
TURN_END = "\n"
"""Stands between the turns of a source."""
LOOKED_AT = 50
_LANGUAGE = re.compile("[a-z]{2,3}([-_][A-Za-z]{2,4})?")
_ENDINGS = ("txt", "csv", "tsv", "log", "md", "raw", "tok", "bpe", "src", "tgt", "gw", "py")
"""Endings of names that look like a language and are none."""
_TABLES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl"}

OnEmpty = Callable[[int, str], None]
"""Told the line and which side is empty."""


class Pair(NamedTuple):
    """A source and what is to be written from it."""

    source: str
    target: str
    line: int
    """Of the file, from 1."""


class PairSettings(Protocol):
    """What reading needs of the `[data]` section of a recipe."""

    @property
    def source(self) -> Column: ...
    @property
    def target(self) -> Column: ...
    @property
    def context(self) -> int: ...
    @property
    def format(self) -> str: ...
    @property
    def header(self) -> Any: ...
    @property
    def encoding(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class PairFormat:
    """How a file's pairs are read; nothing left to infer."""

    kind: str
    """rows, turns or lines."""
    table: str = ""
    """Of rows: csv, tsv or jsonl."""
    source: Column = 0
    """Position of a column, or a JSON key; of turns the key of their list."""
    target: Column = 1
    header: bool = False
    context: int = 0
    """Of turns: how many stand in a source."""
    encoding: str = "utf-8"

    def describe(self) -> str:
        """In words."""
        if self.kind == "lines":
            return "two files, line by line"
        if self.kind == "turns":
            return f"dialogues in {self.source!r}, {self.context} turns of context"
        names = [f"column {one + 1}" if isinstance(one, int) else repr(one) for one in (self.source, self.target)]
        return f"{self.table}{' with a header' if self.header else ''}, source {names[0]}, target {names[1]}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def pair_format(
    path: Path | str, data: PairSettings, *, beside: Path | str | None = None, dialogue: bool = False
) -> PairFormat:
    """How the pairs of a file are to be read.

    Args:
        path: of the file.
        data: what is known; the rest is inferred.
        beside: the file of the targets, where they stand in one of their own.
        dialogue: whether a list of turns is looked for.
    Raises: DataError: the columns cannot be told, or a file cannot be read. ConfigError: options contradict.
    """
    if beside is not None:
        for name in ("source", "target"):
            if getattr(data, name) != "auto":
                raise ConfigError(f"data.{name} names a column, but data.train_target says there are two files.")
        return PairFormat(kind="lines", encoding=data.encoding)
    table = table_of(Path(path), data)
    faults = _First()
    rows = list(islice(read_rows(path, table, encoding=data.encoding, on_fault=faults), LOOKED_AT))
    if not rows and faults.line:
        raise DataError(f"{path}:{faults.line}: {faults.what}")
    if not rows:
        raise DataError(f"{path}:1: no row that can be read. Give a file with pairs of texts.")
    if table == "jsonl":
        return _of_objects(path, rows[0], data, dialogue)
    return _of_columns(path, rows, table, data)


def target_beside(path: Path | str, data: PairSettings, *, like: str = "") -> str | None:
    """The file of the targets that a plain-text file of sources has beside it: `train.de` for `train.en`.

    Args:
        path: of the sources, its name ending with a language.
        data: what is known; where it names a format or columns, or every line has a tab, there is no such file.
        like: of several such files the one with this ending.
    Raises: ConfigError: there are several, and none is like that.
    """
    own = Path(path)
    packed = ".gz" if own.name.endswith(".gz") else ""
    stem, _, language = own.name.removesuffix(packed).rpartition(".")
    if not stem or not _is_language(language) or not own.is_file():
        return None
    if data.format != "auto" or any(getattr(data, side) != "auto" for side in ("source", "target")):
        return None
    if all("\t" in line for _, line in islice(read_lines(path, data.encoding), LOOKED_AT)):
        return None
    found = {
        other: one
        for one in sorted(own.parent.iterdir())
        if (other := language_of(one)) not in ("", language) and one.name.removesuffix(".gz") == f"{stem}.{other}"
    }
    if len(found) > 1 and like not in found:
        names = ", ".join(one.name for one in found.values())
        raise ConfigError(f"{path}: several files may hold its targets: {names}. Set data.train_target to one of them.")
    chosen = found.get(like) or next(iter(found.values()), None)
    return None if chosen is None else str(chosen)


def language_of(path: Path | str) -> str:
    """The language that a file's name ends with, such as `de` or `pt-BR`; empty where it ends with none."""
    name = Path(path).name.removesuffix(".gz").rpartition(".")[2]
    return name if _is_language(name) else ""


def _is_language(ending: str) -> bool:
    return _LANGUAGE.fullmatch(ending) is not None and ending not in _ENDINGS


def read_pairs(
    path: Path | str,
    found: PairFormat,
    *,
    beside: Path | str | None = None,
    on_fault: OnFault | None = None,
    on_empty: OnEmpty | None = None,
) -> Iterator[Pair]:
    """The pairs of a file, in order, white space around each side taken off.

    Args:
        path: of the file, plain or gzip.
        found: how to read it.
        beside: of the targets, with the kind lines.
        on_fault: told of what cannot be read, which is then left out; without it that raises.
        on_empty: told of pairs with an empty side, which are then left out; without it they raise.
    Raises: DataError naming file and line.
    """

    def fault(number: int, what: str) -> None:
        if on_fault is None:
            raise DataError(f"{path}:{number}: {what}")
        on_fault(number, what)

    if found.kind == "lines":
        assert beside is not None  # whoever infers the kind has it
        raw = _side_by_side(path, beside, found.encoding)
    else:
        raw = _from_rows(path, found, fault)
    for pair in raw:
        source, target = pair.source.strip(), pair.target.strip()
        if source and target:
            yield Pair(source, target, pair.line)
            continue
        side = "target" if source else "source"
        if on_empty is None:
            where = beside if beside is not None and side == "target" else path
            raise DataError(f"{where}:{pair.line}: the {side} is empty. Write it, or take the pair out.")
        on_empty(pair.line, side)


def source_of_turns(turns: Sequence[str], context: int) -> str:
    """The last turns of a dialogue as one source."""
    return TURN_END.join(" ".join(turn.split()) for turn in turns[-context:])


class _First:
    """Keeps the first fault of a file; whoever reads on meets it."""

    def __init__(self) -> None:
        self.line, self.what = 0, ""

    def __call__(self, number: int, what: str) -> None:
        if not self.line:
            self.line, self.what = number, what


def table_of(path: Path, data: PairSettings) -> str:
    """What rows of a file are: csv, tsv or jsonl. Raises: DataError: that cannot be told; ConfigError."""
    if data.format != "auto":
        if data.format not in ("csv", "tsv", "jsonl"):
            raise ConfigError(f"data.format {data.format!r} is none of pairs of texts. Use csv, tsv or jsonl.")
        return data.format
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in _TABLES:
        return _TABLES[suffix]
    head = [line for _, line in islice(read_lines(path, data.encoding), LOOKED_AT) if line.strip()]
    if head and all("\t" in line for line in head):
        return "tsv"
    raise DataError(
        f"{path}:1: no pairs: no tab on its lines. Set data.format to csv, tsv or jsonl, or give the targets' file as "
        "data.train_target (of other parts data.dev_target, data.test_target); train.de beside train.en is found."
    )


def _of_columns(path: Path | str, rows: list[Row], table: str, data: PairSettings) -> PairFormat:
    first = [str(cell).strip() for cell in rows[0].cells]
    said = {"source": data.source, "target": data.target}
    named = [one for one in said.values() if isinstance(one, str) and one != "auto"]
    lower = [cell.lower() for cell in first]
    known = any(cell in SOURCES for cell in lower) and any(cell in TARGETS for cell in lower)
    header = bool(named) or (known and len(first) < 20) if data.header == "auto" else bool(data.header)
    if named and not header:
        raise DataError(f"{path}:1: data.header is off, so there is no column {named[0]!r}. Give a position.")
    if len(first) < 2:
        raise DataError(f"{path}:{rows[0].line}: one column only; a source and a target are needed.")
    found: dict[str, int] = {}
    for side, names, place in (("source", SOURCES, 0), ("target", TARGETS, 1)):
        column = said[side]
        if isinstance(column, str) and column != "auto":
            if column not in first:
                raise DataError(f"{path}:1: no column {column!r} (data.{side}). {nearest(column, first)}")
            found[side] = first.index(column)
        elif isinstance(column, int):
            if not -len(first) <= column < len(first):
                raise DataError(
                    f"{path}:{rows[0].line}: data.{side} = {column}, but there are {len(first)} columns. "
                    f"Use 0 to {len(first) - 1}, or -1 for the last."
                )
            found[side] = column % len(first)
        else:
            found[side] = next((lower.index(name) for name in names if header and name in lower), place)
    if found["source"] == found["target"]:
        raise DataError(f"{path}: data.source and data.target are the same column. Set them apart.")
    return PairFormat(kind="rows", table=table, header=header, encoding=data.encoding, **found)


def _of_objects(path: Path | str, row: Row, data: PairSettings, dialogue: bool) -> PairFormat:
    record: Mapping[str, Any] = row.cells if isinstance(row.cells, dict) else {}
    for side, column in (("source", data.source), ("target", data.target)):
        if isinstance(column, int) or (column != "auto" and column not in record):
            raise DataError(f"{path}:{row.line}: no key {column!r} (data.{side}). {nearest(str(column), record)}")
    if dialogue and data.target == "auto":
        lists = [key for key, value in record.items() if isinstance(value, list)]
        wanted = TURNS if data.source == "auto" else (str(data.source),)
        if turns := [key for key in wanted if key in lists]:
            return PairFormat(
                kind="turns", table="jsonl", source=turns[0], target="", context=data.context, encoding=data.encoding
            )
    texts = [key for key, value in record.items() if isinstance(value, str)]
    source, target = str(data.source), str(data.target)
    if data.source == "auto":
        free = [key for key in texts if key != target]
        source = next((name for name in SOURCES if name in free), (free or [""])[0])
    if data.target == "auto":
        free = [key for key in texts if key != source]
        target = next((name for name in TARGETS if name in free), (free or [""])[0])
    if not source or not target or source == target:
        raise DataError(f"{path}:{row.line}: two keys with texts are needed. Set data.source and data.target.")
    return PairFormat(kind="rows", table="jsonl", source=source, target=target, encoding=data.encoding)


def _from_rows(path: Path | str, found: PairFormat, fault: OnFault) -> Iterator[Pair]:
    rows = read_rows(path, found.table, encoding=found.encoding, on_fault=fault)
    if found.header:
        next(rows, None)
    for row in rows:
        try:
            yield from _turns(row, found) if found.kind == "turns" else (_pair(row, found),)
        except LookupError as error:
            fault(row.line, str(error.args[0]))


def _pair(row: Row, found: PairFormat) -> Pair:
    """Raises LookupError with a sentence."""
    sides: list[str] = []
    for side, column in (("source", found.source), ("target", found.target)):
        if isinstance(row.cells, dict):
            value = row.cells.get(str(column))
            if str(column) not in row.cells:
                raise LookupError(f"{column!r}, the {side}, is missing. {nearest(str(column), row.cells)}")
            if not isinstance(value, str):
                raise LookupError(f"{column!r}, the {side}, is {type(value).__name__}, not a string. Write it as one.")
            sides.append(value)
        elif int(column) < len(row.cells):
            sides.append(row.cells[int(column)])
        else:
            raise LookupError(f"{len(row.cells)} columns, but the {side} is column {int(column) + 1}.")
    return Pair(sides[0], sides[1], row.line)


def _said(turns: object) -> list[str] | None:
    """What is said turn by turn, by strings or by objects as chat services keep them; instructions are no turn."""
    if not isinstance(turns, list):
        return None
    objects = [turn for turn in turns if isinstance(turn, dict)]
    if objects and len(objects) == len(turns):
        key = next((key for key in SAID if key in objects[0]), "")
        turns = [turn.get(key) for turn in objects if turn.get("role") not in INSTRUCTING]
    texts = [turn for turn in turns if isinstance(turn, str)]
    return texts if len(texts) == len(turns) else None


def _turns(row: Row, found: PairFormat) -> Iterator[Pair]:
    """Raises LookupError with a sentence."""
    turns = _said(row.cells.get(str(found.source)) if isinstance(row.cells, dict) else None)
    if turns is None:
        raise LookupError(
            f"{found.source!r} must be a list of strings, the turns of a dialogue, or of objects that have them in "
            f"{' or '.join(map(repr, SAID))}."
        )
    for place in range(1, len(turns)):
        yield Pair(source_of_turns(turns[:place], found.context), " ".join(turns[place].split()), row.line)


def _side_by_side(path: Path | str, beside: Path | str, encoding: str) -> Iterator[Pair]:
    both = zip_longest(read_lines(path, encoding), read_lines(beside, encoding))
    odd = 0
    for number, (one, other) in enumerate(both, start=1):
        if one is None or other is None:
            _uneven(path, beside, encoding, odd)
        source, target = one[1], other[1]
        odd = odd or (number if bool(source.strip()) != bool(target.strip()) else 0)
        yield Pair(source, target, number)


def _uneven(path: Path | str, beside: Path | str, encoding: str, odd: int) -> NoReturn:
    """Raise DataError for files of different line counts, `odd` the first line where one side alone is empty."""
    counts = [sum(1 for _ in read_lines(one, encoding)) for one in (path, beside)]
    line = odd or min(counts) + 1
    shown = [next((text for at, text in read_lines(one, encoding) if at == line), None) for one in (path, beside)]
    said = [
        f"{Path(one).name} has {'nothing' if text is None else repr(text[:60])}"
        for one, text in zip((path, beside), shown, strict=True)
    ]
    where = "one side alone is empty first" if odd else "one file ends"
    raise DataError(
        f"{path}:{line}: {counts[0]:,} lines, but {counts[1]:,} in {beside}: line {line} is where {where} "
        f"({', '.join(said)}). Give files whose lines belong together."
    )
