"""The BERT of a bundle: its weights inside, or in the folder that the bundle refers to.

N tokens, L chosen layers, H width.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import Bert
from gatework.core.batch import PieceBatch
from gatework.core.errors import BundleError, DataError
from gatework.core.tensors import TensorFile
from gatework.runtime.bert import BertEncoder, mix_weights
from gatework.runtime.contextual import ContextualInput
from gatework.runtime.tables import Table, dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

VARIABLE = "GATEWORK_BERT"
"""Environment variable that names the folder of a BERT that is not inside its bundle."""


class BertInput(ContextualInput):
    """The vectors of a batch's tokens out of the BERT of a bundle."""

    reads = "a BERT"

    def __init__(self, settings: Bert, weights: TensorFile, reference: Any, *, source: str) -> None:
        """
        Args:
            settings: its architecture.
            weights: of the bundle.
            reference: `bert` of config.json, for a BERT that is not inside.
            source: the bundle, for errors.
        Raises: BundleError: the folder is not found, or not the one of training.
        """
        if settings.inside:
            words: Callable[[IntArray], Float32] = Table(weights, "bert.words.weight", source=source).__getitem__
            self._encoder = BertEncoder(settings, words, lambda name: dense(weights, name), source=source)
        else:
            self._encoder = BertEncoder.of(settings, referred(reference, settings, source=source), source=source)
        self.width = settings.width
        self._mix_L = np.ones(1, dtype=np.float32)
        if settings.mixed:
            self._mix_L = mix_weights(dense(weights, "bert.mix"), dense(weights, "bert.gamma"))

    def vectors(self, batch: PieceBatch) -> Float32:
        return self._encoder.mixed(batch, self._mix_L)


def referred(reference: Any, settings: Bert, *, source: str) -> dict[str, Float32]:
    """The weights of a BERT that lies outside its bundle.

    It is looked for in the folder that the environment variable GATEWORK_BERT names, else where it was in training,
    else beside the bundle under the same name. Raises BundleError: it is in none of them, or is another one.
    """
    from gatework.core.bert_folder import PACKAGE, BertFolder

    name, fingerprint = (reference.get(key) if isinstance(reference, dict) else None for key in ("name", "sha256"))
    if not isinstance(name, str) or not isinstance(fingerprint, str) or "\0" in name:
        raise BundleError(f"{source}: config.json: bert must have a name and a sha256. Export the model again.")
    advice = f"Set {VARIABLE} to the folder of the BERT, or train with export.bert = 'inside'."
    wanted = os.environ.get(VARIABLE) or name
    if not wanted.startswith(PACKAGE) and not os.path.isdir(wanted) and wanted == name:
        wanted = os.path.join(os.path.dirname(source), os.path.basename(name))
    try:
        folder = BertFolder(wanted)
        if folder.sha256 != fingerprint:
            raise BundleError(f"{source}: {folder.path} is not the BERT of training (its SHA-256 differs). {advice}")
        return folder.weights(settings.layers)
    except DataError as error:
        raise BundleError(f"{source}: its BERT {name} is not to be had: {error} {advice}") from None
