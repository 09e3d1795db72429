"""What a file of tagged sentences is: its format from the name and the first lines, its columns, its schemes.

What settings leave at `auto` is found out: the columns (the first is the token, the last the tag, or FORM and UPOS in
CoNLL-U), the language, and the scheme of spans from every tag in the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from gatework.core.errors import ConfigError, DataError, nearest
from gatework.core.tag_scheme import INSIDE, SCHEMES, Transitions, Undecided
from gatework.text.conll import CONLLU, NAMES
from gatework.text.language import cjk_share
from gatework.text.lines import read_lines
from gatework.text.settings import Column
from gatework.text.tagged import read_raw
from gatework.text.tagged_format import TagDefaults, TagFormat, TagSettings

LOOKED_AT = 2_000
"""Lines of a file that its columns are told from."""
SAMPLE_SENTENCES = 2_000
"""Sentences that its language and unit are told from."""


def looks_tagged(path: Path | str) -> str | None:
    """Why a file seems to hold tagged sentences; None where it does not. Never raises DataError."""
    name = Path(path).name.lower().removesuffix(".gz")
    for ending in (".conll", ".conllu", ".conllup", ".iob", ".iob2", ".bio", ".bioes", ".bmes"):
        if name.endswith(ending):
            return f"named {ending}"
    try:
        lines = [line for _, line in islice(read_lines(path), LOOKED_AT)]
    except DataError:
        return None
    if lines and lines[0].lstrip().startswith("{"):
        return _looks_like_spans(lines[0])
    rows = [line.split("\t") if "\t" in line else line.split() for line in lines if line.strip() and line[0] != "#"]
    blank = sum(not line.strip() for line in lines)
    if blank < 2 or not rows or not all(1 < len(cells) == len(rows[0]) for cells in rows):
        return None
    marked = sum(cells[-1] == "O" or cells[-1][:2] in ("B-", "I-", "S-", "E-", "M-", "U-", "L-") for cells in rows)
    if marked * 10 >= len(rows) * 9 or all(" " not in cells[0] and " " not in cells[-1] for cells in rows):
        return "a token a line, and blank lines between sentences"
    return None


def _looks_like_spans(line: str) -> str | None:
    from gatework.text.tagged_json import SPANS, TEXTS, TOKENS

    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    if any(isinstance(record.get(name), list) for name in TOKENS):
        return "JSON lines with tokens"
    for name in SPANS:
        values = record.get(name)
        if not isinstance(values, list) or not any(key in record for key in TEXTS):
            continue
        if values and all(isinstance(one, dict) and "start" in one for one in values):
            return f"JSON lines with {name}"
        if values and all(isinstance(one, list) and len(one) == 3 and type(one[0]) is int for one in values):
            return f"JSON lines with {name}"
        if not values and name in ("spans", "entities"):
            return f"JSON lines with {name}"
    return None


def infer_tagged(
    path: Path | str, data: TagSettings | None = None, *, like: TagFormat | None = None, labelled: bool = True
) -> TagFormat:
    """Find out how a file of tagged sentences is to be read. The whole file is read once for its scheme.

    Args:
        path: of the file.
        data: what is known already.
        like: the training file's format, for a dev or test file: same columns, schemes and language; of a file of
            another kind the language alone.
        labelled: whether tags will be read.
    Raises: DataError: an empty file, a missing column, or tags that no scheme fits, with lines. ConfigError.
    """
    data = data or TagDefaults()
    found = _layout(path, data, like, labelled)
    if like is not None and (like.kind, like.running_text) != (found.kind, found.running_text):
        return replace(found, schemes=_schemes(path, data, found), language=like.language)
    if like is not None:
        named = data.scheme not in ("auto", like.schemes[0])
        schemes = (data.scheme, *like.schemes[1:]) if named else like.schemes
        return replace(found, schemes=schemes[: len(found.tags)], language=like.language)
    sample = [one.tokens for one, _ in islice(read_raw(path, found, _quiet), SAMPLE_SENTENCES)]
    if not sample:
        raise _no_sentence(path, found)
    language, share = data.language, []
    if language == "auto":
        part = cjk_share(" ".join(tokens) for tokens in sample)
        language = "zh" if part >= 1 / 3 else "en"
        share = [f"{part:.0%} of the text is Chinese characters"] if language == "zh" else []
    found = replace(found, language=language, why=(*found.why, *share))
    return replace(found, schemes=_schemes(path, data, found))


def _layout(path: Path | str, data: TagSettings, like: TagFormat | None, labelled: bool) -> TagFormat:
    head = _head(path, data.encoding)
    kind, why = _kind(path, data, head)
    if kind == "jsonl":
        from gatework.text.tagged_json import layout

        return layout(path, data, like, labelled)
    if like is not None and like.kind != kind:
        like = None  # its columns mean nothing here
    tabbed = kind == "conllu" or sum("\t" in line for line in head) * 2 > len(head)
    rows = [line.split("\t") if tabbed else line.split() for line in head if line.strip()]
    rows = [cells for cells in rows if not (cells[0].startswith("#") and len(cells) == 1)]
    if not rows:
        raise DataError(f"{path}:1: nothing but comments. Give one token a line, with its tag.")
    width = len(CONLLU) if kind == "conllu" else Counter(map(len, rows)).most_common(1)[0][0]
    names, header = _names(kind, data, head, rows, like)
    if names is not None and header:
        width = len(names)
    place = f"{path}:1"
    token = _position(
        place,
        "text",
        data.text,
        names,
        width,
        "FORM" if kind == "conllu" else 0,
        like.token if like is not None else None,
    )
    tags: list[int] = []
    if labelled:
        known = like.tags[0] if like is not None and like.tags else None
        last: Column = "UPOS" if kind == "conllu" else width - 1
        tags.append(_position(place, "label", data.label, names, width, last, known))
        tags += [_position(place, "also", column, names, width, column, None) for column in data.also]
        if width < 2 and not data.segment:
            raise DataError(
                f"{path}:1: one column only; a token and a tag are needed. Split them by a tab, or set data.segment = "
                "true to learn where words end."
            )
        if token in tags and width > 1:
            raise ConfigError(f"data.text and data.label are both column {token + 1}. Name two columns.")
    return TagFormat(
        kind=kind,
        delimiter="\t" if tabbed else " ",
        columns=width,
        names=names,
        header=header,
        token=token,
        tags=tuple(tags) if width > 1 else (),
        layers=_layer_names(data, names, tags) if width > 1 else (),
        schemes=(),
        repair=data.repair,
        unknown=data.unknown,
        segment=data.segment,
        encoding=data.encoding,
        language="en",
        why=tuple(why),
    )


def _head(path: Path | str, encoding: str) -> list[str]:
    faults: list[tuple[int, str]] = []
    lines = islice(read_lines(path, encoding, lambda number, what: faults.append((number, what))), LOOKED_AT)
    head = [line for _, line in lines if line and not line.isspace()]
    if len(faults) > len(head):
        number, what = faults[0]
        raise DataError(f"{path}:{number}: {what}")
    if not head:
        raise DataError(f"{path}:1: the file is empty. Give a file with at least one sentence.")
    if len(head) == 1 and "\r" in head[0]:
        raise DataError(f"{path}:1: its lines end in lone carriage returns. Convert them: tr '\\r' '\\n' < OLD > NEW.")
    return head


def _kind(path: Path | str, data: TagSettings, head: list[str]) -> tuple[str, list[str]]:
    if data.format != "auto":
        if data.format not in ("conll", "conllu", "jsonl"):
            raise ConfigError(f"data.format {data.format!r} holds no tags. Use conll, conllu or jsonl for task 'tag'.")
        return data.format, []
    ending = Path(path).name.lower().removesuffix(".gz").rpartition(".")[2]
    if head[0].lstrip().startswith("{") or ending in ("json", "jsonl", "ndjson"):
        return "jsonl", ["lines are JSON objects"]
    if ending == "conllu":
        return "conllu", ["named .conllu"]
    rows = [line.split("\t") for line in head if not line.startswith("#")]
    if rows and all(len(cells) == len(CONLLU) and cells[0][:1].isdigit() for cells in rows[:100]):
        return "conllu", ["ten columns, the first an ID"]
    return "conll", []


def _names(
    kind: str, data: TagSettings, head: list[str], rows: list[list[str]], like: TagFormat | None
) -> tuple[tuple[str, ...] | None, bool]:
    """Names of the columns, and whether the first line holds them."""
    if kind == "conllu":
        return CONLLU, False
    for line in head[:10]:
        if line.startswith(NAMES):
            return tuple(line.removeprefix(NAMES).split()), False
    if data.header is True:
        return tuple(cell.strip() for cell in rows[0]), True
    if data.header == "auto" and like is not None and like.header and tuple(rows[0]) == like.names:
        return like.names, True
    return None, False


def _position(
    place: str,
    option: str,
    said: Column,
    names: tuple[str, ...] | None,
    width: int,
    default: Column,
    like: Column | None,
) -> int:
    """A column of a row by name or position; raises DataError where there is none such."""
    column = said if said != "auto" else like if like is not None else default
    if isinstance(column, str):
        if names is None:
            raise DataError(
                f"{place}: no columns are named, so there is no {column!r} (data.{option}). Give a position from 0, or "
                "set data.header = true where the first line names them."
            )
        if column not in names:
            raise DataError(f"{place}: no column {column!r} (data.{option}). {nearest(column, names)}")
        return names.index(column)
    if not -width <= column < width:
        raise DataError(f"{place}: no column {column} (data.{option}): rows have {width}, counted from 0.")
    return column % width


def _layer_names(data: TagSettings, names: tuple[str, ...] | None, tags: Sequence[int]) -> tuple[str, ...]:
    """The columns' own names, else the positions the user gave."""
    said = [data.label if data.label != "auto" else tags[0], *data.also] if tags else []
    return tuple(names[place] if names else str(one) for one, place in zip(said, tags, strict=True))


def _schemes(path: Path | str, data: TagSettings, found: TagFormat) -> tuple[str, ...]:
    """The scheme of each layer, from all tags of the file."""
    if data.scheme != "auto" and data.scheme not in (*SCHEMES, "none"):
        raise ConfigError(f"data.scheme {data.scheme!r} is unknown. {nearest(data.scheme, (*SCHEMES, 'none', 'auto'))}")
    if data.segment or not found.tags:
        return ("none",) * len(found.tags)
    if found.running_text:
        return (INSIDE,)
    layers = [Transitions() for _ in found.tags]
    if data.scheme == "auto" or len(layers) > 1:
        for sentence, lines in read_raw(path, found, _quiet):
            for layer, tags in zip(layers, sentence.tags, strict=True):
                layer.add(tags, lines)
    schemes: list[str] = []
    for index, layer in enumerate(layers):
        if index == 0 and data.scheme != "auto":
            schemes.append(data.scheme)
            continue
        try:
            schemes.append(layer.scheme())
        except Undecided as error:
            raise SchemeError(f"{path}:{error.line}: {error}") from None
    return tuple(schemes)


class SchemeError(DataError):
    """The tags of a file fit no scheme."""


def _quiet(number: int, what: str) -> None:
    """Faults met while looking at a file: whoever reads on meets them."""


class NoSentence(DataError):
    """No sentence of a file can be read."""

    def __init__(self, what: str, found: TagFormat) -> None:
        super().__init__(what)
        self.found = found
        """What is known of it."""


def _no_sentence(path: Path | str, found: TagFormat) -> NoSentence:
    faults: list[tuple[int, str]] = []
    for _ in read_raw(path, found, lambda line, what: faults.append((line, what))):
        break
    what = "no sentence. Give one token a line, with its tag, and a blank line after a sentence."
    line, what = faults[0] if faults else (1, what)
    return NoSentence(f"{path}:{line}: {what}", found)
