"""Pairs for a model that is trained already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from gatework.text.pairs import Pair


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Options of `[data]` that matter for reading pairs."""

    source: Any = "auto"
    target: Any = "auto"
    context: int = 2
    format: str = "auto"
    header: Any = "auto"
    encoding: str = "utf-8"


BESIDE = ("train_target", "dev_target", "test_target")
"""Options that name a file of targets; to read one file, any of them will do."""


def read_as_trained(
    path: Path | str, config: Mapping[str, Any], options: Mapping[str, Any], *, dialogue: bool
) -> Iterator[Pair]:
    """The pairs of a file, read as the training file was where `options` of `[data]` say nothing else.

    Raises: DataError naming file and line; ConfigError: an option is unknown.
    """
    from gatework.text.pairs import language_of, pair_format, read_pairs, target_beside

    known = {field.name for field in fields(Reading)}
    for name in options:
        if name not in known and name not in BESIDE:
            raise ConfigError(f"data.{name} is no option for reading pairs. {nearest(name, known)}")
    beside = next((options[name] for name in BESIDE if name in options), None)
    recipe = config.get("recipe", {})
    data = recipe.get("data", {}) if isinstance(recipe, Mapping) else {}
    trained = {name: data[name] for name in ("source", "target", "context", "header", "encoding") if name in data}
    given = {name: value for name, value in options.items() if name in known}
    reading = Reading(**{**trained, **given})
    if beside is None and _otherwise(path, reading, config):
        # Columns have numbers and keys have names: those of the training file say nothing of this one.
        kept = {name: value for name, value in trained.items() if name not in ("source", "target", "header")}
        reading = Reading(**{**kept, **given})
    if beside is None:
        files = config.get("facts", {}).get("files", {}).get("train", {})
        beside = target_beside(path, reading, like=language_of(str(files.get("target", {}).get("file", ""))))
    found = pair_format(path, reading, beside=beside, dialogue=dialogue)
    return read_pairs(path, found, beside=beside)


def _otherwise(path: Path | str, reading: Reading, config: Mapping[str, Any]) -> bool:
    """Whether a file is of another kind than the training file: a table, objects, or lines beside those of a file."""
    from gatework.text.pairs import table_of

    trained = config.get("facts", {}).get("formats", {}).get("train", {}).get("table", "")
    if not trained:
        return False
    try:
        own = table_of(Path(path), reading)
    except DataError:
        own = ""
    return (own == "jsonl") != (trained == "jsonl") or not own
