"""Sentences of files of tagged sentences (`read_tagged`).

They come out with spans in the scheme `core.tag_scheme.INSIDE`; a tag its scheme does not allow is an error that names
file and line, or with `repair` is read as `conlleval` reads it, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import SCHEMES, Converter, belongs, fault
from gatework.text.conll import read_blocks
from gatework.text.lines import OnFault
from gatework.text.sentence import Sentence
from gatework.text.tagged_format import TagFormat

Tags = tuple[str | None, ...]


def read_tagged(
    path: Path | str,
    found: TagFormat,
    *,
    on_fault: OnFault | None = None,
    left_out: Counter[str] | None = None,
    cut: Callable[[str], list[tuple[int, int]]] | None = None,
) -> Iterator[Sentence]:
    """Yields the sentences of a file, spans in the scheme INSIDE.

    Args:
        path: of the file, plain or gzip.
        found: what `infer_tagged` found.
        on_fault: told of what cannot be read, whose sentence is left out; without it that raises.
        left_out: counts what was no token or, with `repair`, was read otherwise than written, by kind.
        cut: where running text (JSON lines) is cut into tokens.
    Raises: DataError naming file and line.
    """
    layers = [_Layer(scheme, found.repair, left_out) for scheme in found.schemes]
    for sentence, lines in read_raw(path, found, on_fault, left_out, cut):
        try:
            tags = tuple(layer(one, lines) for layer, one in zip(layers, sentence.tags, strict=True))
        except _NotAllowed as error:
            if on_fault is None:
                raise DataError(f"{path}:{error.line}: {error}") from None
            on_fault(error.line, str(error))
            continue
        sentence = replace(sentence, tags=tags)
        if found.segment:
            from gatework.text.segments import cut_words

            sentence = cut_words(sentence)
        yield sentence


class _NotAllowed(Exception):
    """A tag its scheme does not have, or does not allow where it stands."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line


class _Layer:
    """Checks and converts the tags of one layer."""

    def __init__(self, scheme: str, repair: bool, left_out: Counter[str] | None) -> None:
        self._scheme, self._repair = scheme, repair
        self._left_out: Counter[str] = Counter() if left_out is None else left_out
        self._convert = Converter(scheme) if scheme in SCHEMES else None
        self._sound: set[tuple[str | None, str | None]] = set()
        self._odd: dict[tuple[str | None, str | None], str] = {}

    def __call__(self, tags: Tags, lines: Sequence[int]) -> Tags:
        if self._convert is None:
            return tags
        pairs = set(zip(("", *tags), (*tags, ""), strict=True))
        if not pairs <= self._sound:
            self._check(tags, lines)
        return self._convert(tags)

    def _check(self, tags: Tags, lines: Sequence[int]) -> None:
        for place, pair in enumerate(zip(("", *tags), (*tags, ""), strict=True)):
            if pair in self._sound:
                continue
            here = lines[min(place, len(tags) - 1)]
            tag = pair[1]
            if tag and not belongs(tag, self._scheme):
                raise _NotAllowed(
                    f"tag {tag!r} is none of the scheme {self._scheme}. Mend it, or set data.scheme.", here
                )
            why = fault(*pair, self._scheme)
            if why is None:
                self._sound.add(pair)
            elif self._repair:
                self._left_out[
                    "tags that their scheme does not allow there, read as conlleval does (`gatework check` lists them)"
                ] += 1
            else:
                raise _NotAllowed(
                    f"{why}. Mend the tags, or set data.repair = true to read them as conlleval does.", here
                )


def read_raw(
    path: Path | str,
    found: TagFormat,
    on_fault: OnFault | None = None,
    left_out: Counter[str] | None = None,
    cut: Callable[[str], list[tuple[int, int]]] | None = None,
) -> Iterator[tuple[Sentence, Sequence[int]]]:
    """The sentences of a file with tags as they are written, unknown ones None; and the line of each token."""
    if found.kind == "jsonl":
        from gatework.text.tagged_json import read_objects

        yield from read_objects(path, found, on_fault=on_fault, left_out=left_out, cut=cut)
        return
    if not isinstance(found.token, int):
        raise ConfigError(f"{path}: the token is a column by position, got {found.token!r}.")
    blocks = read_blocks(
        path,
        universal=found.kind == "conllu",
        delimiter=found.delimiter,
        columns=found.columns,
        token=found.token,
        header=found.header,
        encoding=found.encoding,
        on_fault=on_fault,
        left_out=left_out,
    )
    for block in blocks:
        columns = list(zip(*block.rows, strict=True)) if found.columns else []
        layers: list[Tags] = []
        for column in found.tags:
            layers.append(tuple(cell.strip() for cell in columns[int(column)]))
        empty = next((layer.index("") for layer in layers if "" in layer), None)
        if empty is not None and not found.unknown:
            number = block.lines[empty]
            what = f"token {columns[found.token][empty]!r} has no tag. Write it, or set data.unknown for unknown tags."
            if on_fault is None:
                raise DataError(f"{path}:{number}: {what}")
            on_fault(number, what)
            continue
        if found.unknown:
            layers = [tuple(None if tag in ("", found.unknown) else tag for tag in layer) for layer in layers]
        yield Sentence(columns[found.token], tuple(layers), block.lines[0]), block.lines
