"""Bundles that a run begins with or learns from: their vocabulary is the run's, and the network of the one it begins
with has to be that of its recipe."""

from __future__ import annotations

from hashlib import sha256
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


def vocabulary_from(recipe: Recipe, start: Trained | None) -> Trained | None:
    """Whose vocabulary a run takes; None where it makes its own. Raises ConfigError: two that differ are asked for."""
    train = recipe.train
    if train.teacher is None:
        if train.teacher_weight or train.teacher_targets != "none":
            raise ConfigError("train.teacher_weight and train.teacher_targets need train.teacher, a bundle.")
        return start
    if not train.teacher_weight:
        if train.teacher_targets == "none":
            raise ConfigError("train.teacher does nothing yet. Set train.teacher_weight or train.teacher_targets.")
        return start
    teacher = open_trained(train.teacher, "train.teacher")
    if teacher is not None and start is not None and (one := _digest(start)) != (other := _digest(teacher)):
        raise ConfigError(
            f"train.start {start.bundle.source} and train.teacher {teacher.bundle.source} have different vocabularies "
            f"({one} and {other}). Give models of one vocabulary, or set train.teacher_weight = 0."
        )
    return teacher


def _digest(trained: Trained) -> str:
    entries = trained.codec.to_entries()
    return sha256(b"\0".join(name.encode() + b"\0" + entries[name] for name in sorted(entries))).hexdigest()[:12]


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
