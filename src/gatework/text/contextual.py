"""The frozen or fine-tuned model of a recipe whose vectors at each token join the token vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gatework.core.architecture import Bert, States
from gatework.core.errors import ConfigError, DataError
from gatework.core.states_bundle import StatesBundle
from gatework.text.hugging_face import open_bert
from gatework.text.letters import LetterCutter
from gatework.text.pieces import PieceCutter
from gatework.text.running import RunningCodec

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe

AnyCutter = PieceCutter | LetterCutter
"""What cuts tokens for it."""


class Contextual(NamedTuple):
    """One of the two, or none."""

    bert: Bert | None = None
    states: States | None = None
    cutter: AnyCutter | None = None

    @property
    def architecture(self) -> dict[str, Any]:
        """As fields of `core.architecture.Architecture`."""
        return {"bert": self.bert, "states": self.states}


def open_contextual(recipe: Recipe) -> Contextual:
    """The BERT or the language model of a recipe.

    Args:
        recipe: its `input.unit` not "auto".
    Raises: DataError: there is none, or it is of another kind. ConfigError: options that do not fit it or each other.
    """
    if recipe.model.language_model is None:
        bert = open_bert(recipe)
        return Contextual() if bert is None else Contextual(bert=bert.architecture, cutter=bert.cutter)
    if recipe.model.bert is not None:
        raise ConfigError("model.bert and model.language_model: a model reads one of them. Leave one out.")
    if recipe.train.pretrain_epochs:
        raise ConfigError(
            "train.pretrain_epochs with model.language_model: it sees the words that pre-training would have to guess. "
            "Set train.pretrain_epochs = 0."
        )
    bundle = StatesBundle(recipe.model.language_model)
    codec = RunningCodec.from_entries(bundle.entries, source=bundle.name)
    if codec.unit != "char":
        raise DataError(f"{bundle.name}: a model of {codec.unit} tokens. Give one of characters (input.unit = 'char').")
    inside = recipe.export.language_model == "inside"
    states = bundle.architecture(projection=recipe.model.language_model_projection, inside=inside)
    return Contextual(states=states, cutter=LetterCutter(codec, unit=recipe.input.unit))
