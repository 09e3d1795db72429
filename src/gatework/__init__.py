"""Train sequence models and ship each as one small file.

    import gatework as gw

    gw.train("reviews.csv", out="reviews.gw")          # needs gatework[train]
    model = gw.load("reviews.gw")                      # runtime only, no PyTorch
    model.predict("great film").label

Importing this module is instant; what a name needs is imported when it is first used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gatework.core import errors

if TYPE_CHECKING:
    from os import PathLike

    from gatework.core.recipe import Recipe
    from gatework.kernels import set_threads, threads
    from gatework.nn import patch_torch
    from gatework.runtime import Model
    from gatework.train import TrainResult

__version__ = "0.1.0"
__all__ = [
    "Model",
    "Recipe",
    "TrainResult",
    "__version__",
    "errors",
    "load",
    "patch_torch",
    "set_threads",
    "threads",
    "train",
]

_LATER = {
    "Model": "gatework.runtime",
    "Recipe": "gatework.core.recipe",
    "TrainResult": "gatework.train",
    "set_threads": "gatework.kernels",
    "threads": "gatework.kernels",
    "patch_torch": "gatework.nn",
    **{name: "" for name in ("cells", "explain", "export", "kernels", "nn", "runtime", "sklearn", "tasks", "text")},
}
"""Names that are imported when first asked for, and the module each is in; "" for a package of ours."""


def load(path: str | PathLike[str] | Sequence[str | PathLike[str]], *, precision: str = "float32") -> Model:
    """Open a bundle, or several that answer together.

    Args:
        path: a `.gw` file, made by `train` or `gatework train`; or several of sequence to sequence with the same
            vocabularies, whose mean probabilities decide.
        precision: of the encoder's products: "float32", as trained; or "bfloat16" or "int8", faster on large batches,
            with answers near those (docs/kernels.md).
    Raises:
        ConfigError: the precision is unknown, or models do not go together.
        BundleError: it is not a whole, sound bundle of a known version.
    """
    from gatework.runtime import load

    return load(path, precision=precision)


def train(
    source: str | PathLike[str] | Recipe,
    out: str | PathLike[str],
    *,
    task: str | None = None,
    say: Callable[[str], None] | None = None,
    resume: str | PathLike[str] | None = None,
    **sections: dict[str, Any],
) -> TrainResult:
    """Train a model, write it as one bundle, and measure that bundle on dev and test data.

    Args:
        source: a recipe (`.toml` or a `Recipe`), or a data file, whose format, columns and language are inferred.
        out: the bundle to write.
        task: a name in `gatework tasks`; None for the recipe's.
        say: told what was inferred and how training goes, a sentence at a time; None for silence.
        resume: a run folder to go on from.
        sections: options of the recipe's sections: `data={"dev": "dev.csv"}, model={"units": 64}`.
    Returns: scores, size and times; `.to_dict()` is what `gatework train --json` prints.
    Raises: ConfigError, DataError, OutputError; MissingExtraError: PyTorch is not installed.
    """
    from gatework.core.errors import MissingExtraError

    recipe = _recipe(source, {"task": task} if task is not None else {}, sections)
    try:
        training: Any = import_module("gatework.train")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch":
            raise
        raise MissingExtraError("training", "train") from None
    options: dict[str, Any] = {"say": say} if say is not None else {}
    if resume is not None:
        options["resume"] = resume
    result: TrainResult = training.train(recipe, out, **options)
    return result


def _recipe(source: str | PathLike[str] | Recipe, task: dict[str, str], sections: dict[str, dict[str, Any]]) -> Recipe:
    """The recipe meant by the arguments of `train`. Paths in `sections` are relative to the current folder."""
    from pathlib import Path

    from gatework.core.recipe import Recipe
    from gatework.core.recipe_io import build_recipe, load_recipe, recipe_for_data

    if isinstance(source, Recipe):
        recipe = source
    elif Path(source).suffix == ".toml":
        recipe = load_recipe(Path(source))
    else:
        recipe = recipe_for_data(Path(source), **_absolute(sections).get("data", {}))
    if not sections and not task:
        return recipe
    values = recipe.model_dump(exclude_unset=True) | task
    for section, options in _absolute(sections).items():
        values[section] = {**values.get(section, {}), **options}
    return build_recipe(values)


def _absolute(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`sections` with paths as absolute strings, so that a run can be resumed from another folder."""
    from pathlib import Path

    from gatework.core.bert_folder import PACKAGE
    from gatework.core.recipe_io import PATH_KEYS

    def absolute(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(absolute(one) for one in value)
        is_path = isinstance(value, str | Path) and not str(value).startswith(("$", PACKAGE))
        return str(Path(value).absolute()) if is_path else value

    return {
        section: {
            name: absolute(value) if name in PATH_KEYS.get(section, ()) else value for name, value in options.items()
        }
        for section, options in sections.items()
    }


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'gatework' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name) if _LATER[name] else import_module(f"gatework.{name}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER})


class _CallablePackage(ModuleType):
    """`gatework.train` once it is imported: the package, and still the function of that name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _train(*arguments, **options)


class _Gatework(ModuleType):
    """This module. Python binds a package to its name in the parent when the package is first imported; without this
    `gatework.train(...)` would work until then and fail ever after."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train" and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


_train = train
sys.modules[__name__].__class__ = _Gatework
