"""What `gatework predict` is given, as the model takes it: strings, or lists of tokens.

    text            a text a line
    tokens          the tokens of a text a line, blanks between them
    jsonl           a JSON object a line, with "text", or with "tokens": a list of strings
    conll, conllu   a token a line, a blank line after a sentence; columns as in training

One example in, one answer out: an empty line is an empty example.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.cli.output import say
from gatework.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gatework.runtime.model import Model

Example = str | Sequence[str]
FORMATS = ("text", "tokens", "jsonl", "conll", "conllu")
NAMED = {".conll": "conll", ".conllu": "conllu", ".jsonl": "jsonl"}
"""What files of these names hold, where a tagger reads them."""
TOKENS, TEXTS = ("tokens", "words"), ("text", "sentence", "content")
"""Keys of JSON objects, the first there is."""
MOST = 512
"""Examples in a batch."""


def named(path: Path) -> str:
    """The format that the name of a tagger's input tells."""
    return next((kind for ending, kind in NAMED.items() if path.name.removesuffix(".gz").endswith(ending)), "text")


def examples(batches: Iterable[list[str]], kind: str, source: str) -> Iterator[list[Example]]:
    """Batches of lines as batches of examples; `kind` is one of the first three. Raises DataError naming the line."""
    number = 0
    for lines in batches:
        if kind == "text":
            yield list(lines)
        elif kind == "tokens":
            yield [line.split() for line in lines]
        else:
            yield [_from_json(line, f"{source}:{number + place}") for place, line in enumerate(lines, start=1)]
        number += len(lines)


def _from_json(line: str, place: str) -> Example:
    if not line.strip():
        return ""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON: {error}. Write one object a line.") from None
    if not isinstance(record, dict):
        raise DataError(f'{place}: not a JSON object. Write {{"text": "..."}} or {{"tokens": ["..."]}}.')
    for name in TOKENS:
        if isinstance(tokens := record.get(name), list) and all(isinstance(one, str) for one in tokens):
            return [_whole(token) for token in tokens]
    for name in TEXTS:
        if isinstance(text := record.get(name), str):
            return _whole(text)
    raise DataError(f'{place}: neither "tokens", a list of strings, nor "text", a string. Write one of them.')


def _whole(text: str) -> str:
    """`text` less halves of surrogate pairs, which JSON can spell and no output can hold."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def sentences(path: Path, kind: str, model: Model) -> Iterator[list[Example]]:
    """Batches of the sentences of a file of columns, as tokens. What is no token is counted and said."""
    from dataclasses import replace

    from gatework.tasks.tag.reading import like_training
    from gatework.text.tagged import read_raw
    from gatework.text.tagged_format import TagDefaults
    from gatework.text.tagged_layout import infer_tagged

    like, options = like_training(model.bundle.config)
    data = replace(TagDefaults(**options), format=kind, also=())
    found = infer_tagged(path, data, like=like, labelled=False)
    left_out: Counter[str] = Counter()
    stream = read_raw(path, found, left_out=left_out)
    while batch := [sentence.tokens for sentence, _ in islice(stream, MOST)]:
        yield list(batch)
    for what, count in left_out.items():
        say(f"{path}: {count:,} {what}")


def constraints(said: Sequence[str]) -> dict[Any, Any]:
    """`--allow` as the option `allow` of tagging: "3=B-PER", "3=PER,LOC", "3=-PER", "2:5=PER", "2:5=" for no span."""
    found: dict[Any, Any] = {}
    for one in said:
        place, equals, tags = one.partition("=")
        ends = place.split(":")
        if not equals or len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
            raise ConfigError(f"--allow {one!r}: write PLACE=TAG or START:END=TYPE, such as 3=B-PER or 2:5=PER.")
        where = tuple(int(end) for end in ends) if len(ends) == 2 else int(place)
        if where in found:
            raise ConfigError(f"--allow {one!r}: {place} is given twice. Join the tags with commas.")
        names = [tag.strip() for tag in tags.split(",") if tag.strip()]
        found[where] = names or ([tags] if tags.strip() else None)  # "," is a tag of treebanks
    return found
