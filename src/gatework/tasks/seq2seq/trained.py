"""Bundles that a run begins with: their vocabulary is the run's, and their network has to be that of its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gatework.core.bundle import read_bundle
from gatework.core.errors import ConfigError
from gatework.tasks.seq2seq.codec import Seq2SeqCodec, open_codec

if TYPE_CHECKING:
    from gatework.core.architecture import Architecture
    from gatework.core.bundle import Bundle
    from gatework.core.recipe import Recipe


class Trained(NamedTuple):
    """A bundle with the head sequence."""

    option: str
    """That names it, for errors."""
    bundle: Bundle
    codec: Seq2SeqCodec


def open_trained(path: str | None, option: str) -> Trained | None:
    """The bundle that an option names; None where it names none. Raises ConfigError, BundleError."""
    if path is None:
        return None
    bundle = read_bundle(path)
    if bundle.architecture.head != "sequence":
        raise ConfigError(f"{option} {path}: its task is {bundle.task}. Give a model that writes targets from sources.")
    return Trained(option, bundle, open_codec(bundle.config, bundle.entries, source=bundle.source))


def with_units_of(recipe: Recipe, trained: Trained) -> Recipe:
    """The recipe with the units of a bundle. Raises ConfigError: it asks for others."""
    codec, wanted = trained.codec, recipe.input
    for name, asked, unit in (
        ("unit", wanted.unit, codec.source.unit),
        ("target_unit", wanted.target_unit, codec.target.unit),
    ):
        if asked not in ("auto", unit):
            raise ConfigError(
                f"input.{name} is {asked!r}, that of {trained.option} {trained.bundle.source} {unit!r}. Leave it out."
            )
    if wanted.shared != codec.shared:
        shared = str(codec.shared).lower()
        raise ConfigError(f"{trained.option} {trained.bundle.source}: set input.shared = {shared}, as it was trained.")
    return recipe.replace(input={"unit": codec.source.unit, "target_unit": codec.target.unit})


def check_network(trained: Trained, architecture: Architecture) -> None:
    """Raise ConfigError where a bundle's network is not that of a recipe, naming what differs first."""
    own, wanted = _flat(trained.bundle.architecture.to_dict()), _flat(architecture.to_dict())
    for name in wanted | own:
        if own.get(name) != wanted.get(name):
            raise ConfigError(
                f"{trained.option} {trained.bundle.source}: its {name} is {own.get(name)}, the recipe's "
                f"{wanted.get(name)}. Give [model] as it was trained."
            )


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found
