"""Which columns of a table hold the text and the label, and whether its first record names them.

* header: the first record, where a column asked for by name is in it, or where it names a known column, or where it
  is like no record after it.
* text: a column of a known name, else the one with the longest values, few different ones counting less.
* label: a column of a known name, else the short one with the fewest different values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatework.core.errors import DataError, nearest
from gatework.text.settings import Column, DataSettings

SHORT = 60
"""Characters; the values of a label column are not longer on average."""

TEXT_NAMES = (
    *("text", "sentence", "review", "content", "message", "comment", "document", "question", "query", "title"),
    *("body", "tweet", "description", "news", "headline", "文本", "内容", "评论", "句子", "正文", "标题", "新闻"),
)
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "tag", "tags", "topic", "topics"),
    *("label_name", "label_desc", "class_name", "polarity", "y", "标签", "类别", "分类", "情感"),
)


def find_header(
    path: Path | str, table: list[list[str]], width: int, data: DataSettings
) -> tuple[list[str] | None, list[str]]:
    """Names of the columns, or None where the first record is an example like the others."""
    first = [cell.strip() for cell in table[0]]
    asked = [name for name in (data.text, data.label) if isinstance(name, str) and name != "auto"]
    if data.header is True:
        return first, []
    if data.header is False:
        if asked:
            raise DataError(f"{path}:1: data.header is off, so there is no column {asked[0]!r}. Give a position.")
        return None, []
    if asked:
        return first, []  # a name that is not there is reported where the column is looked up
    if len(first) != width or not all(first) or len(set(first)) < width or max(map(len, first)) > SHORT:
        return None, []
    known = {*TEXT_NAMES, *LABEL_NAMES}
    named = [cell for cell in first if cell.lower() in known]
    if named and not any(_number(cell) for cell in first) and not _seen_again(table, first, named):
        return first, [f"the first line names {', '.join(map(repr, named))}"]
    if _odd_one_out(table, first):
        return first, ["the first line is like no other"]
    return None, []


def _seen_again(table: list[list[str]], first: list[str], named: list[str]) -> bool:
    """Whether what could be a name is a value of its column further down: then it is a label called so."""
    places = [first.index(name) for name in named]
    return any(cells[place].strip() == first[place] for cells in table[1:] for place in places if place < len(cells))


_NAME = re.compile(r"[^\W\d][\w.-]*(?: [\w.-]+)?")


def _odd_one_out(table: list[list[str]], first: list[str]) -> bool:
    """Every cell could be a name, and a column of few values never has the first line's again."""
    body = [cells for cells in table[1:] if len(cells) == len(first)]
    if len(body) < 8 or not all(_NAME.fullmatch(cell) for cell in first):
        return False
    typical = [sum(len(cells[place]) for cells in body) / len(body) for place in range(len(first))]
    longest = max(range(len(first)), key=typical.__getitem__)
    if 3 * len(first[longest]) > typical[longest]:
        return False
    for place in range(len(first)):
        counts = Counter(cells[place] for cells in body)
        few = place != longest and len(counts) <= max(2, len(body) // 4) and min(counts.values()) > 1
        if few and first[place] not in counts:
            return True
    return False


def _number(cell: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(?:\.\d+)?", cell))


def position(place: str, role: str, said: Column, header: Sequence[str] | None, width: int) -> int | None:
    """The position a user's column means; None for auto."""
    if said == "auto":
        return None
    if isinstance(said, str):
        names = [name.strip() for name in header or ()]
        if said not in names:
            raise DataError(f"{place}: no column {said!r} (data.{role}) on the first line. {nearest(said, names)}")
        return names.index(said)
    if not -width <= said < width:
        raise DataError(
            f"{place}: data.{role} = {said}, but there are {width} columns. Use 0 to {width - 1}, or -1 for the last."
        )
    return said % width


def choose(
    place: str,
    columns: dict[Any, list[Any]],
    names: dict[Any, str],
    text: Any,
    label: Any,
    labelled: bool,
) -> tuple[Any, Any, list[str]]:
    """Text and label column (None where not labelled) and reasons."""
    why: list[str] = []
    if label is None and labelled:
        label = named_column(columns, names, LABEL_NAMES, {text})
    size = {column: mean_length(values) for column, values in columns.items()}
    free = [column for column in columns if column != label]
    if text is None and free:
        text = named_column({c: columns[c] for c in free}, names, TEXT_NAMES, set(), size)
    if text is None and free:
        text = max(free, key=lambda column: size[column] * _variety(columns[column]))
        if len(columns) > 1:
            why.append(f"the text is the longest column, {size[text]:.0f} characters on average")
    if text is None:
        raise DataError(f"{place}: no column for the text. Set data.text.")
    if not labelled:
        return text, None, why
    if label is None:
        label, reason = _fewest(place, columns, text, size)
        why.append(reason)
    if label == text:
        raise DataError(f"{place}: data.text and data.label are the same column. Set them apart.")
    return text, label, why


def named_column(
    columns: dict[Any, list[Any]],
    names: dict[Any, str],
    known: Sequence[str],
    taken: set[Any],
    size: dict[Any, float] | None = None,
) -> Any:
    """The column with a known name, the longest of several for a text, the first in order of `known` for a label."""
    found = {names[column].strip().lower(): column for column in columns if column in names and column not in taken}
    hits = [found[name] for name in known if name in found]
    if not hits:
        return None
    return max(hits, key=lambda column: size[column]) if size else hits[0]


def _fewest(place: str, columns: dict[Any, list[Any]], text: Any, size: dict[Any, float]) -> tuple[Any, str]:
    """The short column with the fewest different values; a column of one value only if there is no other."""
    different = {
        column: len({str(value) for value in values})
        for column, values in columns.items()
        if column != text and size[column] <= SHORT and any(value != "" for value in values)
    }
    varied = {column: count for column, count in different.items() if count > 1} or different
    if not varied:
        raise DataError(f"{place}: no column could be a label: all are long or empty. Set data.label.")
    label = min(varied, key=lambda column: varied[column])
    rows = len(columns[label])
    if rows >= 30 and varied[label] > 0.6 * rows:
        raise DataError(
            f"{place}: no column looks like a label: the one with the fewest values has {varied[label]} in {rows} "
            f"records. Set data.label."
        )
    return label, f"the label is the short column with the fewest values, {varied[label]}"


_IDENTIFIER = re.compile(r"[+-]?[\d.]+|[0-9a-fA-F-]{16,}")


def _variety(values: Sequence[Any]) -> float:
    """Share of different values, in (0, 1]: long names of a few labels are no texts. Near 0 for numbers and ids."""
    if all(_IDENTIFIER.fullmatch(str(value)) for value in values[:100]):
        return 1e-9
    return len({str(value) for value in values}) / max(1, len(values))


def mean_length(values: Sequence[Any]) -> float:
    """Characters of a value on average; what is no string counts as one."""
    return sum(len(value) if isinstance(value, str) else 1 for value in values) / max(1, len(values))
