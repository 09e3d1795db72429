"""What a command was pointed at: a recipe, or a data file with everything else inferred."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gatework.core.errors import DataError

if TYPE_CHECKING:
    from gatework.cli.output import Say
    from gatework.core.recipe import Recipe

SIBLINGS = {"dev": ("dev", "valid", "validation", "val"), "test": ("test",)}
"""File names, less their suffixes, that go with a file called `train`."""


def recipe_of(source: Path, *, overrides: Sequence[str], say: Say) -> Recipe:
    """The recipe in a TOML file, or one of defaults for a data file or a folder that holds `train.*`.

    A data file called `train` takes `dev` and `test` files of the same kind beside it; `say` is told which.
    Raises: ConfigError, DataError.
    """
    from gatework.core.recipe_io import load_recipe, recipe_for_data

    if source.suffix == ".toml":
        return load_recipe(source, overrides=overrides)
    train = _training_file(source)
    beside = _siblings(train)
    for part, path in beside.items():
        say(f"{part}: {path} (beside {train.name}; `--set data.{part}=...` chooses otherwise)")
    told = [] if any(override.partition("=")[0].strip() == "task" for override in overrides) else _task(train, say)
    parts = {part: str(path) for part, path in beside.items()}
    return recipe_for_data(train, overrides=[*told, *overrides], **parts)


def _task(train: Path, say: Say) -> list[str]:
    """The setting of the task that a data file is for, as far as its looks tell."""
    from gatework.text.tagged_layout import looks_tagged

    why = looks_tagged(train)
    if why is None:
        return []
    say(f"task: tag ({why}; `--task classify` chooses otherwise)")
    return ["task=tag"]


def default_output(source: Path) -> Path:
    """A bundle in the current folder, named after the recipe, the data file, or the folder of a `train` file."""
    if source.is_dir():
        return Path(f"{source.resolve().name}.gw")
    stem = _stem(source)
    return Path(f"{source.resolve().parent.name if stem == 'train' else stem}.gw")


def _training_file(source: Path) -> Path:
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if _stem(path) == "train" and path.is_file())
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise DataError(f"{source}: a folder needs one file called train.*, found {names}. Give the file itself.")
        return found[0]
    if not source.exists():
        raise DataError(
            f"{source}: no such file. Give a recipe (.toml) or a data file (.csv, .tsv, .jsonl, .txt, .conll)."
        )
    return source


def _siblings(train: Path) -> dict[str, Path]:
    if _stem(train) != "train":
        return {}
    suffix = train.name.removeprefix("train").removesuffix(".gz")
    found: dict[str, Path] = {}
    for part, names in SIBLINGS.items():
        for name in names:
            for ending in ("", ".gz"):
                path = train.with_name(f"{name}{suffix}{ending}")
                if part not in found and path.is_file():
                    found[part] = path
    return found


def _stem(path: Path) -> str:
    return path.name.split(".", 1)[0]
