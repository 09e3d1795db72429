"""Tagged sentences for a model that is trained already, from a file that need not be like its training file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from gatework.text import Sentence, TagFormat


def read_labelled(
    path: Path | str, *, like: Any = None, options: Mapping[str, Any] | None = None
) -> Iterator[Sentence]:
    """Sentences of a data file.

    Args:
        path: of the file, plain or gzip.
        like: the training file's format, as `TagFormat.to_dict` wrote it into the bundle.
        options: of the recipe's `[data]` section; they come first.
    Raises: DataError naming file and line; ConfigError: an unknown option.
    """
    from gatework.text import TagDefaults, infer_tagged, read_tagged

    options = dict(options or {})
    known = {field.name for field in fields(TagDefaults)}
    for name in options:
        if name not in known:
            raise ConfigError(f"data.{name} is no option for reading a file of tags. {nearest(name, known)}")
    trained = _as_format(like)
    if trained is not None:
        kept = {"encoding": trained.encoding, "unknown": trained.unknown, "segment": trained.segment}
        options = kept | {"also": trained.tags[1:]} | options
    return read_tagged(path, infer_tagged(path, TagDefaults(**options), like=trained))


def _as_format(values: Any) -> TagFormat | None:
    """The format in a bundle, or None where there is none that this version would have written."""
    from gatework.text import TagFormat

    if not isinstance(values, dict) or set(values) != {field.name for field in fields(TagFormat)}:
        return None
    lists = ("tags", "layers", "schemes", "why")
    if not all(isinstance(values[name], list | tuple) for name in lists):
        return None
    names = values["names"]
    return TagFormat(
        **{**values, **{name: tuple(values[name]) for name in lists}, "names": tuple(names) if names else None}
    )
