"""Plain values of a bundle checked against the dataclass they are for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any

from gatework.core.errors import BundleError

_MOST_LAYERS = 1000
_MOST = 2**31 - 1
_TYPES: dict[str, type] = {"int": int, "bool": bool, "str": str, "float": float}


def checked(
    kind: type,
    values: Any,
    source: str,
    *,
    choices: Mapping[str, Collection[str]],
    may_be_zero: Collection[str] = (),
) -> dict[str, Any]:
    """`values` as a dictionary whose keys are fields of `kind` and whose plain values have their type and range.

    Args:
        source: what the values are of, for messages.
        choices: what the fields that are one of some words may be.
        may_be_zero: integers that are not at least 1.
    Raises: BundleError naming `source` and the entry.
    """
    if not isinstance(values, dict):
        raise BundleError(f"{source}: expected an object, got {type(values).__name__}. Export the model again.")
    known = {field.name: field for field in fields(kind)}
    if unknown := set(values) - set(known):
        raise BundleError(f"{source}: unknown entry {min(unknown)[:80]!r}. Was it made by a newer gatework?")
    needed = {name for name, field in known.items() if field.default is MISSING}
    if missing := needed - set(values):
        raise BundleError(f"{source}: {min(missing)} is missing. Export the model again.")
    for name, value in values.items():
        wanted = _TYPES.get(str(known[name].type))
        if wanted is not None and type(value) is not wanted:
            raise BundleError(f"{source}: {name} must be of type {wanted.__name__}, got {str(value)[:40]!r}.")
        if name in choices and value not in choices[name]:
            raise BundleError(f"{source}: {name} must be one of {', '.join(choices[name])}. Export the model again.")
        if wanted is int:
            low, high = int(name not in may_be_zero), _MOST_LAYERS if name == "layers" else _MOST
            if not low <= value <= high:
                raise BundleError(f"{source}: {name} is {str(value)[:40]}, outside [{low}, {high}]. Export it again.")
    return dict(values)
