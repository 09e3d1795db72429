"""Words of a command line as values, by the annotations of a command's function.

Typer can do this too, but imports pydantic for it, which costs more than answering a text does. What is known here is
what the commands use: `str`, `int`, `float`, `bool`, `Path` and lists of them, perhaps None, with `min` and `max`.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer.core

from gatework.core.errors import ConfigError

_WORDS = {int: "a whole number", float: "a number"}


class Command(typer.core.TyperCommand):
    """A command that converts its words as said above."""

    def get_params(self, ctx: Any) -> Any:
        return _converted(self, super().get_params(ctx))


class Group(typer.core.TyperGroup):
    """A group whose own options are converted as said above."""

    def get_params(self, ctx: Any) -> Any:
        return _converted(self, super().get_params(ctx))


def _converted(command: Any, parameters: list[Any]) -> list[Any]:
    hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    for parameter in parameters:  # all of the function's, and --help
        hint = hints.get(parameter.name, typing.Annotated[bool, None])
        parameter.process_value = _process(command.name, parameter, hint)
    return parameters


def _process(command: str, parameter: Any, hint: Any) -> Callable[[Any, Any], Any]:
    kind, info = typing.get_args(hint)
    arms = [arm for arm in typing.get_args(kind) if arm is not type(None)] if _is_union(kind) else [kind]
    [kind] = arms
    several = typing.get_origin(kind) is list
    one = typing.get_args(kind)[0] if several else kind
    name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else info.metavar

    def process(context: Any, given: Any) -> Any:
        if given is None or (several and not given):
            if parameter.required:
                raise ConfigError(f"{command}: {name} is missing. See gatework {command} --help.")
            value: Any = False if kind is bool else None
        elif several:
            value = [_value(one, word, f"{command}: {name}", info) for word in given]
        else:
            value = _value(one, given, f"{command}: {name}", info)
        return parameter.callback(context, parameter, value) if parameter.callback is not None else value

    return process


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _value(kind: type, word: Any, name: str, info: Any) -> Any:
    """One word as a value within its bounds. Raises ConfigError."""
    if kind is Path or not isinstance(word, str):
        return Path(word) if kind is Path else word
    try:
        value = kind(word)
    except ValueError:
        raise ConfigError(f"{name} {word!r} is not {_WORDS[kind]}.") from None
    low, high = getattr(info, "min", None), getattr(info, "max", None)
    if low is not None and not value >= low:
        raise ConfigError(f"{name} {word} is too small: it must be at least {low:g}.")
    if high is not None and not value <= high:
        raise ConfigError(f"{name} {word} is too large: it must be at most {high:g}.")
    return value
