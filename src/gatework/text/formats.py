"""What a data file is: format, delimiter, header, which column is the text and which the label, and the language.

What the settings leave at `auto` is inferred from the name and the first records (`infer`), and `Format.describe` says
what was found and why. The rules, in order:

* format: what the first lines look like (`__label__`, `{`, tabs), then the name's ending.
* columns: see `columns`.
* language: Chinese where a third of the text is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gatework.core.errors import DataError, nearest
from gatework.text.columns import LABEL_NAMES, TEXT_NAMES, choose, find_header, mean_length, named_column, position
from gatework.text.language import cjk_share
from gatework.text.lines import read_lines
from gatework.text.rows import LABEL_PREFIX, Row, read_rows
from gatework.text.settings import Column, DataSettings, Settings

SAMPLE_ROWS = 20_000
"""Records looked at."""
SAMPLE_CHARACTERS = 16_000_000
"""Characters looked at, in all."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one file is read."""

    kind: str
    """csv, tsv, jsonl or fasttext."""
    delimiter: str
    """Between CSV and TSV cells."""
    header: tuple[str, ...] | None
    """Names on the first line; None where there are none."""
    columns: int
    """Cells of a CSV or TSV record; 0 for JSON lines."""
    text: Column
    """Column of the text: a position from 0, or a JSON key."""
    label: Column | None
    """Column of the label; None where labels are not read."""
    multi_label: bool
    label_separator: str
    encoding: str
    language: str
    """`en` or `zh`."""
    why: tuple[str, ...] = ()
    """What was inferred, and from what."""

    def describe(self) -> str:
        """One line: what the file is taken for, and why."""
        said = [{"csv": "CSV", "tsv": "TSV", "jsonl": "JSON lines", "fasttext": "fastText lines"}[self.kind]]
        if self.kind == "csv" and self.delimiter != ",":
            said[0] += f" split by {self.delimiter!r}"
        if self.kind in ("csv", "tsv"):
            said.append(f"header {', '.join(self.header)}" if self.header else "no header")
            said.append(f"text in {self.column_name(self.text)}")
            if self.label is not None:
                said.append(f"label in {self.column_name(self.label)}")
        elif self.kind == "jsonl":
            said.append(f"text in {self.text!r}" + (f", label in {self.label!r}" if self.label is not None else ""))
        if self.multi_label:
            said.append("several labels an example")
        said.append({"en": "words split by spaces", "zh": "Chinese"}[self.language])
        return ", ".join(said) + (f" ({'; '.join(self.why)})" if self.why else "")

    def column_name(self, column: Column) -> str:
        """A column as a person would call it: counted from 1, with its header."""
        if isinstance(column, str):
            return repr(column)
        name = f" ({self.header[column]})" if self.header and column < len(self.header) else ""
        return f"column {column + 1}{name}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def infer(
    path: Path | str, data: DataSettings | None = None, *, like: Format | None = None, labelled: bool = True
) -> Format:
    """Find out how a file is to be read.

    Args:
        path: of the file.
        data: what is known already; everything else is inferred.
        like: the training file's format, for a dev or test file: same columns (by name where both have a header),
            same language, several labels or not.
        labelled: whether labels will be read.
    Raises: DataError: the file is empty, a column asked for is missing, or columns cannot be told apart.
    """
    data = data or Settings()
    kind, delimiter, why = _kind(path, data)
    rows = _sample(path, kind, delimiter, data.encoding)
    if not rows:
        raise DataError(f"{path}:1: the file is empty. Give a file with at least one example.")
    if like is not None:
        data = _alike(data, like, kind, rows[0].cells)
    if kind == "fasttext":
        found = _fasttext(rows, data, labelled)
    elif kind == "jsonl":
        found = _keys(path, rows, data, labelled)
    else:
        found = _columns(path, kind, delimiter, rows, data, labelled)
    if like is not None:
        return replace(found, multi_label=like.multi_label, language=like.language, why=tuple(why) + found.why)
    return replace(found, why=tuple(why) + found.why)


def _alike(data: DataSettings, like: Format, kind: str, first: list[str] | dict[str, Any]) -> Settings:
    """Settings for a file beside the training file; what the user said still counts."""
    tables = ("csv", "tsv")
    same = kind == like.kind or (kind in tables and like.kind in tables)
    named = isinstance(first, list) and like.header is not None and {cell.strip() for cell in first} >= _asked(like)

    def column(said: Column, found: Column | None) -> Column:
        if said != "auto" or found is None or not same or kind == "fasttext":
            return said
        return like.header[found] if named and like.header and isinstance(found, int) else found

    return Settings(
        format=kind,
        header=data.header,
        text=column(data.text, like.text),
        label=column(data.label, like.label),
        label_separator=data.label_separator,
        encoding=data.encoding,
        language=like.language,
    )


def _asked(like: Format) -> set[str]:
    """Names of the columns that are read."""
    return {like.header[place] for place in (like.text, like.label) if like.header and isinstance(place, int)}


# ── format ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _kind(path: Path | str, data: DataSettings) -> tuple[str, str, list[str]]:
    """Format, delimiter and reasons."""
    head = _head(path, data.encoding)
    if not head:
        raise DataError(f"{path}:1: the file is empty. Give a file with at least one example.")
    if len(head) == 1 and "\r" in head[0]:
        raise DataError(f"{path}:1: its lines end in lone carriage returns. Convert them: tr '\\r' '\\n' < OLD > NEW.")
    if sum(line.count("\0") for line in head[:20]) * 4 > sum(map(len, head[:20])):
        raise DataError(f"{path}:1: full of NUL bytes: not text, or UTF-16. Set data.encoding = 'utf-16' for that.")
    ending = Path(path).name.lower().removesuffix(".gz").rpartition(".")[2]
    kind, why = (data.format, []) if data.format != "auto" else _guess_kind(path, head, ending)
    if kind == "csv":
        return kind, _delimiter(head), why
    return kind, "\t", why


def _head(path: Path | str, encoding: str) -> list[str]:
    """The first lines that hold something. A few that cannot be decoded are left out: whoever reads on meets them."""
    faults: list[tuple[int, str]] = []
    lines = islice(read_lines(path, encoding, lambda number, what: faults.append((number, what))), 200)
    head = [line for _, line in lines if line.strip()]
    if len(faults) > len(head):  # most likely another encoding altogether
        number, what = faults[0]
        raise DataError(f"{path}:{number}: {what}")
    return head


def _guess_kind(path: Path | str, head: Sequence[str], ending: str) -> tuple[str, list[str]]:
    first = head[0].lstrip()
    if first.startswith(LABEL_PREFIX):
        return "fasttext", [f"lines begin with {LABEL_PREFIX}"]
    if first.startswith("{") and (ending in ("json", "jsonl", "ndjson") or first.rstrip().endswith("}")):
        return "jsonl", ["lines are JSON objects"]
    if ending in ("json", "jsonl", "ndjson"):
        if first.startswith("["):
            raise DataError(f"{path}:1: one JSON array. Write one JSON object a line.")
        return "jsonl", [f"named .{ending}"]
    tabbed = sum("\t" in line for line in head)
    if ending == "csv" and "," not in head[0] and tabbed == len(head) and not any('"' in line for line in head):
        return "tsv", ["named .csv, but split by tabs without quotes"]
    if ending in ("csv", "tsv", "tab"):
        return ("csv" if ending == "csv" else "tsv"), [f"named .{ending}"]
    if sum(LABEL_PREFIX in line for line in head) * 2 > len(head):
        return "fasttext", [f"lines hold {LABEL_PREFIX}"]
    if tabbed * 10 >= 9 * len(head):
        return "tsv", ["lines hold tabs"]
    if sum("," in line for line in head) * 10 >= 9 * len(head):
        return "csv", ["lines hold commas"]
    raise DataError(
        f"{path}:1: cannot tell its format: no tabs, commas, JSON objects or {LABEL_PREFIX}. "
        f"Set data.format to csv, tsv, jsonl or fasttext."
    )


def _delimiter(head: Sequence[str]) -> str:
    """The CSV delimiter that splits the first record's line most evenly with those after it."""
    counts = {sign: head[0].count(sign) for sign in (",", ";", "\t", "|")}
    if counts[","]:
        # Commas in an unquoted text are common, so a rival must be on every line equally often.
        rivals = [sign for sign in ("\t", ";", "|") if counts[sign]]
        for sign in rivals:
            uneven = len({line.count(",") for line in head}) > 1
            if len(head) > 1 and uneven and len({line.count(sign) for line in head}) == 1:
                return sign
        return ","
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else ","


def _sample(path: Path | str, kind: str, delimiter: str, encoding: str) -> list[Row]:
    """The first records. Those that cannot be read are left out, unless all are: whoever reads on meets them."""
    rows: list[Row] = []
    faults: list[tuple[int, str]] = []
    characters = 0
    try:
        for row in read_rows(
            path, kind, delimiter=delimiter, encoding=encoding, on_fault=lambda line, what: faults.append((line, what))
        ):
            rows.append(row)
            values = row.cells.values() if isinstance(row.cells, dict) else row.cells
            characters += sum(len(value) for value in values if isinstance(value, str))
            if len(rows) >= SAMPLE_ROWS or characters >= SAMPLE_CHARACTERS:
                break
    except DataError:
        if len(rows) < 2:
            raise
    if faults and not rows:
        number, what = faults[0]
        raise DataError(f"{path}:{number}: {what}")
    return rows


# ── columns ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(
    path: Path | str, kind: str, delimiter: str, rows: list[Row], data: DataSettings, labelled: bool
) -> Format:
    table = [row.cells for row in rows if isinstance(row.cells, list)]
    width = Counter(len(cells) for cells in table[:1000]).most_common(1)[0][0]
    first = table[0]
    header, why = find_header(path, table, width, data)
    body = [cells for cells in (table[1:] if header else table) if len(cells) == width]
    if header:
        width = len(header)
        body = [cells for cells in table[1:] if len(cells) == width]
    place = f"{path}:{rows[0].line}"
    text = position(place, "text", data.text, header, width)
    label = position(place, "label", data.label, header, width) if labelled else None
    if width == 1 and labelled and label is None:
        raise DataError(
            f"{place}: one column only, {_shorten(first[0])!r}; a text and a label are needed. "
            f"Check data.format (taken for {kind}, split by {delimiter!r})."
        )
    columns = {number: [cells[number] for cells in body] for number in range(width)}
    names = {number: header[number] for number in range(width)} if header else {}
    chosen_text, chosen_label, reasons = choose(place, columns, names, text, label, labelled)
    language, share = _language(data, columns[chosen_text])
    return Format(
        kind=kind,
        delimiter=delimiter,
        header=tuple(header) if header else None,
        columns=width,
        text=chosen_text,
        label=chosen_label,
        multi_label=bool(data.label_separator),
        label_separator=data.label_separator,
        encoding=data.encoding,
        language=language,
        why=tuple(why + reasons + share),
    )


def _language(data: DataSettings, texts: Sequence[Any]) -> tuple[str, list[str]]:
    if data.language != "auto":
        return data.language, []
    share = cjk_share(text[:1000] for text in texts[:2000] if isinstance(text, str))
    language = "zh" if share >= 1 / 3 else "en"
    return language, ([f"{share:.0%} of the text is Chinese characters"] if language == "zh" else [])


# ── formats without columns ───────────────────────────────────────────────────────────────────────────────────────


def _fasttext(rows: list[Row], data: DataSettings, labelled: bool) -> Format:
    cells = [row.cells for row in rows if isinstance(row.cells, list)]
    language, share = _language(data, [text for _, text in cells])
    several = any(" " in labels for labels, _ in cells)
    return Format(
        kind="fasttext",
        delimiter="",
        header=None,
        columns=2,
        text=1,
        label=0 if labelled else None,
        multi_label=several or bool(data.label_separator),
        label_separator=data.label_separator,
        encoding=data.encoding,
        language=language,
        why=tuple((["some lines have several labels"] if several else []) + share),
    )


def _keys(path: Path | str, rows: list[Row], data: DataSettings, labelled: bool) -> Format:
    objects = [row.cells for row in rows if isinstance(row.cells, dict)]
    place = f"{path}:{rows[0].line}"
    seen = Counter(key for record in objects for key in record)
    # A position means nothing in an object.
    for role, said in (("text", data.text), ("label", data.label)):
        if isinstance(said, int):
            raise DataError(f"{place}: data.{role} = {said}, but JSON objects have keys. {nearest('', seen)}")
        if said not in ("auto", *seen) and (role == "text" or labelled):
            raise DataError(f"{place}: no key {said!r} (data.{role}) in the objects. {nearest(said, seen)}")
    columns: dict[Any, list[Any]] = {key: [record[key] for record in objects if key in record] for key in seen}
    texts: set[Any] = {key for key, values in columns.items() if _most(values, lambda value: isinstance(value, str))}
    label = None if data.label == "auto" else data.label
    text = None if data.text == "auto" else data.text
    if text is None and not (texts - {label}):
        raise DataError(f"{place}: no key holds text in every object. {nearest('text', seen)}")
    usable = {key: values for key, values in columns.items() if key in texts or _most(values, _label_like)}
    usable.update({key: columns.get(key, []) for key in (text, label) if key is not None})
    if text is None:
        text = _text_key(usable, texts - {label}, label, labelled)
    text, label, why = choose(place, usable, {key: key for key in usable}, text, label, labelled)
    several = label is not None and any(isinstance(value, list) for value in usable[label])
    language, share = _language(data, usable[text])
    return Format(
        kind="jsonl",
        delimiter="",
        header=None,
        columns=0,
        text=text,
        label=label,
        multi_label=several or bool(data.label_separator),
        label_separator=data.label_separator,
        encoding=data.encoding,
        language=language,
        why=tuple(why + (["labels are lists"] if several else []) + share),
    )


def _text_key(columns: dict[Any, list[Any]], texts: set[Any], label: Column | None, labelled: bool) -> str:
    """The text among the keys that hold strings: one of a known name that is no label's, else the longest."""
    if label is None and labelled:
        texts = texts - {named_column(columns, {key: key for key in columns}, LABEL_NAMES, set())} or texts
    size = {key: mean_length(columns[key]) for key in texts}
    named = named_column({key: columns[key] for key in texts}, {key: key for key in texts}, TEXT_NAMES, set(), size)
    found: str = named if named is not None else max(sorted(texts), key=lambda key: size[key])
    return found


def _most(values: Sequence[Any], test: Callable[[Any], bool]) -> bool:
    """More than half of the values pass: a few that do not are faults, which whoever reads on meets."""
    return 2 * sum(map(test, values)) > len(values)


def _label_like(value: Any) -> bool:
    return isinstance(value, str | int | bool) or _strings(value)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
