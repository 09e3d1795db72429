"""Labelled examples for a model that is trained already, from a file that need not be like its training file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from gatework.text import Example, Format


def read_labelled(path: Path | str, *, like: Any = None, options: Mapping[str, Any] | None = None) -> Iterator[Example]:
    """Examples of a data file.

    Args:
        path: of the file, plain or gzip.
        like: the training file's format, as `Format.to_dict` wrote it into the bundle. Its columns are taken where the
            file has the same format; else they are inferred afresh.
        options: of the recipe's `[data]` section, such as `{"label": "stars"}`; they come before both.
    Raises: DataError naming file and line; ConfigError: an unknown option.
    """
    from gatework.text import read_examples

    return read_examples(path, format=_format(path, like, dict(options or {})))


def _format(path: Path | str, like: Any, options: dict[str, Any]) -> Format:
    from gatework.text import Settings, infer

    known = {field.name for field in fields(Settings)}
    for name in options:
        if name not in known:
            raise ConfigError(f"data.{name} is no option for reading a file. {nearest(name, known)}")
    trained = _as_format(like)
    if trained is not None:
        options = {"encoding": trained.encoding, "label_separator": trained.label_separator} | options
    settings = Settings(**options)
    if trained is None:
        return infer(path, settings)
    try:
        fresh = infer(path, settings)
    except DataError:
        return infer(path, settings, like=trained)
    if fresh.kind == trained.kind:
        try:
            return infer(path, settings, like=trained)
        except DataError:  # other columns
            pass
    return replace(fresh, multi_label=trained.multi_label)


def _as_format(values: Any) -> Format | None:
    """The format in a bundle, or None where there is none that this version would have written."""
    from gatework.text import Format

    if not isinstance(values, dict) or set(values) != {field.name for field in fields(Format)}:
        return None
    header = values["header"]
    sound = (
        values["kind"] in ("csv", "tsv", "jsonl", "fasttext")
        and all(isinstance(values[name], str) for name in ("delimiter", "label_separator", "encoding", "language"))
        and all(isinstance(values[name], str | int) for name in ("text", "label", "columns", "multi_label"))
        and (header is None or (isinstance(header, list) and all(isinstance(name, str) for name in header)))
    )
    if not sound:
        return None
    return Format(**{**values, "header": None if header is None else tuple(header), "why": ()})
