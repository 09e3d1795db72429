"""Tagged text in JSON lines, one object a line, of either kind:

    {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}
    {"text": "EU rejects it", "spans": [[0, 2, "ORG"]]}

A span is [start, end, label] or an object with those keys (`label` may be called `type`, `tag` or `entity`); start and
end count characters of the text, the end not included. Texts are cut into tokens by the unit of the recipe. Spans must
lie within the text, hold something, and not overlap; one that begins or ends inside a token is widened to whole tokens
where `repair` allows, and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from gatework.core.errors import DataError, nearest
from gatework.core.tag_scheme import Span, tags_of
from gatework.text.lines import OnFault
from gatework.text.rows import read_rows
from gatework.text.sentence import Sentence
from gatework.text.tagged_format import TagFormat, TagSettings
from gatework.text.units import pieces

TOKENS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "labels", "upos", "pos_tags", "label")
TEXTS = ("text", "sentence", "content")
SPANS = ("spans", "entities", "label", "labels", "ents")
LABEL = ("label", "type", "tag", "entity")
WIDENED = "spans that begin or end inside a token, widened to whole tokens"
_SURROGATE = re.compile("[\ud800-\udfff]")
Cut = Callable[[str], list[tuple[int, int]]]


def layout(path: Path | str, data: TagSettings, like: TagFormat | None, labelled: bool) -> TagFormat:
    """How the objects of a file are read. Raises DataError: a key is missing."""
    faults: list[tuple[int, str]] = []
    head = list(islice(_objects(path, data.encoding, lambda line, what: faults.append((line, what))), 200))
    if not head:
        line, what = faults[0] if faults else (1, "the file is empty. Give one JSON object a line.")
        raise DataError(f"{path}:{line}: {what}")
    place, first = f"{path}:{head[0][0]}", head[0][1]
    if like is not None and (like.kind != "jsonl" or str(like.token) not in first):
        like = None  # its keys mean nothing here
    said = data.text if data.text != "auto" else like.token if like is not None else None
    token = _key(place, "text", said, (*TOKENS, *TEXTS), first)
    is_tokens = isinstance(first[token], list)
    tags: list[str] = []
    if labelled:
        said = data.label if data.label != "auto" else like.tags[0] if like is not None and like.tags else None
        tags = [_key(place, "label", said, TAGS if is_tokens else SPANS, first)]
        tags += [_key(place, "also", column, (), first) for column in data.also]
        if not is_tokens and len(tags) > 1:
            raise DataError(f"{place}: data.also needs tokens and tags; this file has text and spans.")
    return TagFormat(
        kind="jsonl",
        delimiter="",
        columns=int(is_tokens),
        names=None,
        header=False,
        token=token,
        tags=tuple(tags),
        layers=tuple(tags),
        schemes=(),
        repair=data.repair,
        unknown=data.unknown,
        segment=data.segment,
        encoding=data.encoding,
        language="en",
        why=("lines are JSON objects",),
    )


def read_objects(
    path: Path | str,
    found: TagFormat,
    *,
    on_fault: OnFault | None = None,
    left_out: Counter[str] | None = None,
    cut: Cut | None = None,
) -> Iterator[tuple[Sentence, Sequence[int]]]:
    """The sentences of a file with tags as they are written (spans in the scheme INSIDE), and the line of each token.

    Arguments as of `tagged.read_tagged`; texts are cut into words without `cut`.
    """
    counts: Counter[str] = Counter() if left_out is None else left_out
    for line, record in _objects(path, found.encoding, on_fault):
        try:
            if found.running_text:
                sentence = _from_text(record, found, line, cut or _words, counts)
            else:
                sentence = _from_tokens(record, found, line)
        except _Unreadable as error:
            if on_fault is None:
                raise DataError(f"{path}:{line}: {error}") from None
            on_fault(line, str(error))
            continue
        if sentence is None:
            counts["texts without a token"] += 1
        else:
            yield sentence, _Same(line)


class _Unreadable(Exception):
    """What is wrong with an object; the caller knows the place."""


class _Same(Sequence[int]):
    """Every token stands on the one line."""

    def __init__(self, line: int) -> None:
        self._line = line

    def __getitem__(self, place: Any) -> Any:
        return self._line

    def __len__(self) -> int:
        return 1


def _words(text: str) -> list[tuple[int, int]]:
    return pieces("word", text)


def _objects(path: Path | str, encoding: str, on_fault: OnFault | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in read_rows(path, "jsonl", encoding=encoding, on_fault=on_fault):
        if isinstance(row.cells, dict):
            yield row.line, row.cells


def _key(place: str, option: str, said: Any, known: Sequence[str], record: dict[str, Any]) -> str:
    if said is not None:
        if said not in record:
            raise DataError(f"{place}: no key {said!r} (data.{option}). {nearest(str(said), record)}")
        return str(said)
    for name in known:
        if name in record:
            return name
    raise DataError(f"{place}: none of the keys {', '.join(known)}. Set data.{option} to one of {', '.join(record)}.")


def _from_tokens(record: dict[str, Any], found: TagFormat, line: int) -> Sentence | None:
    tokens = record.get(str(found.token))
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise _Unreadable(f"{found.token!r} must be a list of strings.")
    if empty := [place for place, token in enumerate(tokens) if not token.strip()]:
        raise _Unreadable(f"token {empty[0]} is empty. Write it, or a sign for it such as ▁ where it is a space.")
    layers: list[tuple[str | None, ...]] = []
    for key in found.tags:
        tags = record.get(str(key))
        if not isinstance(tags, list) or not all(tag is None or isinstance(tag, str) for tag in tags):
            raise _Unreadable(f"{key!r} must be a list of strings (null where a tag is not known).")
        if len(tags) != len(tokens):
            raise _Unreadable(f"{len(tags)} tags in {key!r} for {len(tokens)} tokens. Write one for each.")
        layers.append(tuple(None if found.unknown and tag in ("", found.unknown) else tag for tag in tags))
        if "" in layers[-1]:
            raise _Unreadable(
                f"tag {layers[-1].index('')} in {key!r} is empty. Write it, or null where it is not known."
            )
    if not tokens:
        return None
    return Sentence(tuple(_SURROGATE.sub("\ufffd", token) for token in tokens), tuple(layers), line)


def _from_text(record: dict[str, Any], found: TagFormat, line: int, cut: Cut, counts: Counter[str]) -> Sentence | None:
    text = record.get(str(found.token))
    if not isinstance(text, str):
        raise _Unreadable(f"{found.token!r} must be a string.")
    text = _SURROGATE.sub("\ufffd", text)
    offsets = cut(text)
    tags: tuple[tuple[str, ...], ...] = ()
    if found.tags:
        spans = _spans(record.get(str(found.tags[0])), text, str(found.tags[0]))
        tags = (tuple(tags_of(_on_tokens(spans, offsets, text, found.repair, counts), len(offsets))),)
    if not offsets:
        return None
    return Sentence(tuple(text[start:end] for start, end in offsets), tags, line, text, tuple(offsets))


def _spans(values: Any, text: str, key: str) -> list[Span]:
    """The spans of a text, by characters, in order."""
    if not isinstance(values, list):
        raise _Unreadable(f"{key!r} must be a list of spans [start, end, label].")
    spans = sorted(_span(value, text) for value in values)
    for before, after in pairwise(spans):
        if after.start < before.end:
            raise _Unreadable(f"spans {_name(before, text)} and {_name(after, text)} overlap. Keep one of them.")
    return spans


def _span(value: Any, text: str) -> Span:
    if isinstance(value, dict):
        label = next((value[name] for name in LABEL if name in value), None)
        parts = [value.get("start"), value.get("end"), label]
    else:
        parts = list(value) if isinstance(value, list) and len(value) == 3 else [None] * 3
    start, end, label = parts
    if not isinstance(label, str) or not label or type(start) is not int or type(end) is not int:
        raise _Unreadable(f"{str(value)[:80]} is no span. Write [start, end, label].")
    if not 0 <= start < end <= len(text):
        raise _Unreadable(f"span [{start}, {end}, {label!r}] does not lie in the text of {len(text)} characters.")
    return Span(start, end, _SURROGATE.sub("\ufffd", label))


def _on_tokens(
    spans: Sequence[Span], offsets: Sequence[tuple[int, int]], text: str, repair: bool, counts: Counter[str]
) -> list[Span]:
    """Spans by tokens."""
    found: list[Span] = []
    token = 0
    for span in spans:
        while token < len(offsets) and offsets[token][1] <= span.start:
            token += 1
        first = token
        while token < len(offsets) and offsets[token][0] < span.end:
            token += 1
        if first == token or (found and first < found[-1].end):
            what = "holds no token of its own"
            raise _Unreadable(f"span {_name(span, text)} {what}. Mend it, or set input.unit = 'glyph'.")
        # White space at the edges of a span is no token, and nothing is lost with it.
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        end = span.end - (len(inner) - len(inner.rstrip()))
        if offsets[first][0] < start or offsets[token - 1][1] > end:
            if not repair:
                raise _Unreadable(
                    f"span {_name(span, text)} begins or ends inside a token. Mend it, set input.unit = 'glyph', "
                    "or set data.repair = true to widen such spans to whole tokens."
                )
            counts[WIDENED] += 1
        found.append(Span(first, token, span.label))
        token -= token > first and offsets[token - 1][1] > span.end  # a token that a next span may begin in
    return found


def _name(span: Span, text: str) -> str:
    return f"[{span.start}, {span.end}, {span.label!r}] {text[span.start : span.end][:20]!r}"
