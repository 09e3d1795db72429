"""Tagged sentences for a model that is trained already, from a file that need not be like its training file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from gatework.text import Sentence, TagFormat


def read_labelled(
    path: Path | str, config: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
) -> Iterator[Sentence]:
    """Sentences of a data file, running text cut as the model cuts it.

    Args:
        path: of the file, plain or gzip.
        config: of the bundle.
        options: of the recipe's `[data]` section; they come first.
    Raises: DataError naming file and line; ConfigError: an unknown option.
    """
    from gatework.text import TagDefaults, infer_tagged, read_tagged
    from gatework.text.units import pieces

    options = dict(options or {})
    known = {field.name for field in fields(TagDefaults)}
    for name in options:
        if name not in known:
            raise ConfigError(f"data.{name} is no option for reading a file of tags. {nearest(name, known)}")
    config = config or {}
    trained, kept = like_training(config)
    found = infer_tagged(path, TagDefaults(**{**kept, **options}), like=trained)
    unit = config.get("recipe", {}).get("input", {}).get("unit")
    return read_tagged(path, found, cut=partial(pieces, unit) if unit else None)


def like_training(config: Mapping[str, Any]) -> tuple[TagFormat | None, dict[str, Any]]:
    """The training file's format out of `config.json`, and the options of `[data]` that go on from there."""
    formats = config.get("facts", {}).get("formats", {})
    trained = _as_format(formats.get("train")) if isinstance(formats, Mapping) else None
    return trained, _kept(trained)


def _kept(trained: TagFormat | None) -> dict[str, Any]:
    if trained is None:
        return {}
    return {
        "encoding": trained.encoding,
        "unknown": trained.unknown,
        "segment": trained.segment,
        "also": trained.tags[1:],
    }


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
