"""The language model whose states a bundle's network reads: its weights inside, or in the bundle it refers to.

N tokens, H width of the states, Q width they are brought to.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import States
from gatework.core.batch import PieceBatch
from gatework.core.errors import BundleError, DataError
from gatework.core.states_bundle import StatesBundle, theirs
from gatework.core.tensors import TensorFile
from gatework.runtime.contextual import ContextualInput
from gatework.runtime.states import StateEncoder
from gatework.runtime.tables import Table, dense, stored

Float32 = npt.NDArray[np.float32]

VARIABLE = "GATEWORK_LANGUAGE_MODEL"
"""Environment variable that names the bundle of a language model that is not inside another's."""


class StatesInput(ContextualInput):
    """The vectors of a batch's tokens out of a language model."""

    reads = "a language model"

    def __init__(
        self, settings: States, weights: TensorFile, reference: Any, *, source: str, precision: str = "float32"
    ) -> None:
        """
        Args:
            settings: its architecture.
            weights: of the bundle.
            reference: `language_model` of config.json, for one that is not inside.
            source: the bundle, for errors.
            precision: of its products, as `kernels.pack` has it.
        Raises: BundleError: the other bundle is not found, or not the one of training.
        """
        tensors = weights if settings.inside else referred(reference, settings, source=source).tensors

        def named(name: str) -> str:
            return name if settings.inside else theirs(name)

        self._encoder = StateEncoder(
            settings,
            Table(tensors, named("states.embedding.weight"), source=source),
            lambda name: dense(tensors, named(name)),
            lambda name: stored(tensors, named(name)),
            precision=precision,
        )
        self.width = settings.outputs
        self._projection_HQ: Float32 | None = None
        if settings.projection:
            self._projection_HQ = np.ascontiguousarray(dense(weights, "states.projection.weight").T)
            self._bias_Q = dense(weights, "states.projection.bias")

    def vectors(self, batch: PieceBatch) -> Float32:
        states_NH = self._encoder.states(batch)
        if self._projection_HQ is None:
            return states_NH
        x_NQ: Float32 = states_NH @ self._projection_HQ
        x_NQ += self._bias_Q
        return x_NQ


def referred(reference: Any, settings: States, *, source: str) -> StatesBundle:
    """The bundle of a language model that lies outside the one that reads it.

    It is looked for where the environment variable GATEWORK_LANGUAGE_MODEL says, else where it was in training, else
    beside the bundle under the same name. Raises BundleError: it is in none of these places, or is another one.
    """
    name, fingerprint = (reference.get(key) if isinstance(reference, dict) else None for key in ("name", "sha256"))
    if not isinstance(name, str) or not isinstance(fingerprint, str) or "\0" in name:
        raise BundleError(f"{source}: config.json: language_model must have a name and a sha256. Export it again.")
    advice = f"Put it beside the bundle or set {VARIABLE} to its path, or train with export.language_model = 'inside'."
    wanted = os.environ.get(VARIABLE) or name
    if wanted == name and not os.path.isfile(wanted):
        wanted = os.path.join(os.path.dirname(source), os.path.basename(name))
    try:
        bundle = StatesBundle(wanted)
    except DataError as error:
        raise BundleError(f"{source}: its language model {name} is not to be had: {error} {advice}") from None
    if bundle.sha256 != fingerprint or not bundle.same_states(settings):
        raise BundleError(
            f"{source}: {wanted} is not the language model of training: its SHA-256 is {bundle.sha256}, wanted is "
            f"{fingerprint}. {advice}"
        )
    return bundle
