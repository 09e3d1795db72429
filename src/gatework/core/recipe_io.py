"""Recipes from TOML files, from data files alone, and from `--set key=value`.

A path in a recipe is relative to the recipe; a path in `--set` is relative to the current folder. Either may begin
with `$GATEWORK_DATA`. What comes out is a checked `Recipe` whose paths are absolute, or a ConfigError of one line that
names the file, the line, the key and, for a key nobody knows, the nearest known one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gatework.core.bert_folder import PACKAGE
from gatework.core.errors import ConfigError, nearest
from gatework.core.recipe import Recipe

DATA_VARIABLE = "GATEWORK_DATA"
PATH_KEYS = {
    "data": ("train", "dev", "test", "train_target", "dev_target", "test_target", "unlabelled"),
    "input": ("vectors", "lexicon"),
    "model": ("bert", "language_model"),
    "train": ("start", "teacher"),
}
"""Options that hold a path or a list of paths."""
NO_PATHS = ("train",)
"""What such an option may say instead: `input.lexicon = "train"`. A file of that name is `./train`."""

SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation
    for name, field in Recipe.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
"""The tables of a recipe and their models."""


def load_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key=value` overrides.

    Args:
        path: a TOML file.
        overrides: such as `train.epochs=3` or `model.pooling=mean,max`; later ones win.
    Raises: ConfigError.
    """
    path = Path(path)
    text = _read(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"{path}:{line[1]}" if line else str(path)
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise ConfigError(f"{place}: not valid TOML: {reason}. Text values need quotes.") from None
    _resolve_paths(values, base=path.parent, place=lambda keys: _place(path, text, keys))
    return build_recipe(values, overrides=overrides, source=path, text=text)


def recipe_for_data(train: str | Path, *, overrides: Sequence[str] = (), **data: Any) -> Recipe:
    """A recipe of defaults for a data file. `data` holds further options of `[data]`, paths relative to here."""
    values: dict[str, Any] = {"data": {"train": str(train), **data}}
    _resolve_paths(values, base=Path(), place=lambda keys: ".".join(keys))
    return build_recipe(values, overrides=overrides)


def build_recipe(
    values: Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    source: Path | None = None,
    text: str = "",
) -> Recipe:
    """A checked recipe of nested `values`; `source` and its `text` are what an error points at."""
    merged: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    said: dict[tuple[str, ...], str] = {}
    for override in overrides:
        keys, value = parse_override(override)
        said[keys] = f"--set {override}"
        _put(merged, keys, value, override)
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, source, text, said)) from None


def parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """`train.epochs=3` as (("train", "epochs"), 3). The value is TOML where it can be, else text as it stands."""
    key, equals, raw = override.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected key=value, for example --set train.epochs=3.")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    if not isinstance(value, bool | int | float | str | list):
        value = raw
    section = SECTIONS.get(keys[0])
    if isinstance(value, str) and section is not None and len(keys) == 2:
        field = section.model_fields.get(keys[1])
        if field is not None and str(field.annotation).startswith("tuple"):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if keys[1] in PATH_KEYS.get(keys[0], ()):
            resolved = _resolved(value, Path(), f"--set {override}")
            return keys, resolved
    return keys, value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = get_close_matches(path.name, _toml_names(path.parent), n=1)
        hint = f" Did you mean {str(path.parent / near[0])!r}?" if near else " Give the path of a recipe."
        raise ConfigError(f"{path}: no such recipe.{hint}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}. Save the recipe as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None


def _toml_names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.glob("*.toml")] if folder.is_dir() else []


def _resolve_paths(values: dict[str, Any], *, base: Path, place: Any) -> None:
    """Make the paths in `values` absolute. What is no path is left for pydantic to refuse."""
    for section, keys in PATH_KEYS.items():
        table = values.get(section)
        if not isinstance(table, dict):
            continue
        for key in keys:
            if key in table:
                table[key] = _resolved(table[key], base, place((section, key)))


def _resolved(value: Any, base: Path, place: str) -> Any:
    if isinstance(value, list):
        return [_resolved(one, base, place) for one in value]
    if not isinstance(value, str) or value in ("", *NO_PATHS) or value.startswith(PACKAGE):
        return value
    for prefix in (f"${DATA_VARIABLE}", f"${{{DATA_VARIABLE}}}"):
        if value == prefix or value.startswith((f"{prefix}/", f"{prefix}\\")):
            root = os.environ.get(DATA_VARIABLE)
            if not root:
                raise ConfigError(
                    f"{place}: ${DATA_VARIABLE} is not set. Set it to the folder of the data sets: "
                    f"{DATA_VARIABLE}=../data gatework ..."
                )
            return os.path.abspath(Path(root) / value[len(prefix) :].lstrip("/\\"))
    return os.path.abspath(base / Path(value).expanduser())


def _put(values: dict[str, Any], keys: tuple[str, ...], value: Any, override: str) -> None:
    table = values
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {key!r} is a single value, not a section.")
    table[keys[-1]] = value


def _explain(error: ValidationError, source: Path | None, text: str, said: Mapping[tuple[str, ...], str]) -> str:
    """One line for the first problem of a validation: place, key, what was found, what to do."""
    problem = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"]]
    keys = tuple(location[: 2 if location[0] in SECTIONS else 1])
    key = ".".join(keys)
    place = said.get(keys) or (_place(source, text, keys) if source else "recipe")
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key {key!r}. {_near_key(keys)}"
    found = problem["input"]
    if problem["type"] == "model_type":
        return f"{place}: [{key}] is a section, got {found!r}. Write its options below a line [{key}]."
    wants = _wants(error, keys)
    near = ""
    if isinstance(found, str) and problem["type"] == "literal_error":
        close = get_close_matches(found, re.findall(r"'([^']*)'", wants), n=1)
        near = f" Did you mean {close[0]!r}?" if close else ""
    return f"{place}: {key} is {found!r}: {wants}.{near}"


def _wants(error: ValidationError, keys: tuple[str, ...]) -> str:
    """What a value should have been; the arms of a union are joined with "or"."""
    sayings: list[str] = []
    for problem in error.errors(include_url=False):
        if tuple(str(part) for part in problem["loc"][: len(keys)]) == keys:
            saying = re.sub(r"^(Value error, |Input )", "", problem["msg"]).rstrip(".")
            sayings += [saying] if saying not in sayings else []
    first, *more = sayings
    return " or ".join([first, *(saying.removeprefix("should be ") for saying in more)])


def _near_key(keys: tuple[str, ...]) -> str:
    """The nearest known key, in the same section first, then in any."""
    if len(keys) == 1 or keys[0] not in SECTIONS:
        owners = [name for name, model in SECTIONS.items() if keys[-1] in model.model_fields]
        if owners:
            return f"It belongs to a section: {owners[0]}.{keys[-1]}."
        return nearest(keys[0], Recipe.model_fields)
    section, name = keys
    close = get_close_matches(name, list(SECTIONS[section].model_fields), n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    for other, model in SECTIONS.items():
        close = get_close_matches(name, list(model.model_fields), n=1, cutoff=0.75)
        if close:
            return f"Did you mean '{other}.{close[0]}'?"
    return nearest(name, SECTIONS[section].model_fields)


def _place(source: Path, text: str, keys: Sequence[str]) -> str:
    """`source:line` of the key in the TOML text, or `source` alone where it cannot be told."""
    section: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[([^\[\]]+)\]", line)
        if header:
            section = [part.strip(" \"'") for part in header[1].split(".")]
            if section == list(keys):
                return f"{source}:{number}"
            continue
        entry = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if entry and [*section, *(part.strip(" \"'") for part in entry[1].split("."))][: len(keys)] == list(keys):
            return f"{source}:{number}"
    return str(source)
