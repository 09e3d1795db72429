"""A bundle of the task lm as a source of states: its weights under our names, its tokenizer, its fingerprint.

    states.embedding.weight (V, e)                                             vectors of characters
    states.<layer>.<forward|backward>.<parameter of the cell>                  a stack for each direction

A direction reads the characters of a sentence one by one, between two ends of a document; its outputs are the states.
Source: Akbik, Blythe and Vollgraf, Contextual string embeddings for sequence labeling, COLING 2018.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import LanguageModel, States
from gatework.core.bundle import read_bundle
from gatework.core.errors import BundleError, DataError
from gatework.core.quantize import SCALE, dequantize
from gatework.core.tensors import TensorFile

Float32 = npt.NDArray[np.float32]
TASK = "lm"


def theirs(name: str) -> str:
    """The name of a weight in the bundle of the language model."""
    rest = name.removeprefix("states.")
    return rest if rest.startswith("embedding.") else f"encoder.{rest}"


class StatesBundle:
    """An opened bundle. Weights are read when they are asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises: DataError: there is no such file, it is no sound bundle, or none of a language model."""
        self.name = os.fspath(path)
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise DataError(f"{self.name}: there is no such file. Give a bundle made by a recipe of the task lm.")
        try:
            self._bundle = read_bundle(self.path)
        except BundleError as error:
            raise DataError(str(error)) from None
        if self._bundle.task != TASK or self._bundle.architecture.language is None:
            raise DataError(f"{self.name}: a model of the task {self._bundle.task}. Give one of the task lm.")

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def entries(self) -> Mapping[str, memoryview]:
        """The bundle's entries, the tokenizer's among them."""
        return self._bundle.entries

    def architecture(self, *, projection: int = 0, inside: bool = True) -> States:
        """What the network that reads the states knows of it."""
        a = self._bundle.architecture
        return States(
            vocabulary=a.vocabulary,
            embedding=a.embedding,
            encoder=a.encoder,
            directions=self._language.directions,
            projection=projection,
            inside=inside,
        )

    @property
    def tensors(self) -> TensorFile:
        """The weights as they lie, by the bundle's own names."""
        return self._bundle.weights

    def weights(self) -> dict[str, Float32]:
        """float32, by the names above."""
        wanted = [name for name in self.tensors.slots if name.startswith("encoder.") and not name.endswith(SCALE)]
        names = ["states.embedding.weight", *(f"states.{name.removeprefix('encoder.')}" for name in wanted)]
        return {name: self._dense(theirs(name)) for name in names}

    def same_states(self, other: States) -> bool:
        """Whether `other` has the sizes of this model."""
        return self.architecture(projection=other.projection, inside=other.inside) == other

    @property
    def _language(self) -> LanguageModel:
        language = self._bundle.architecture.language
        assert language is not None  # __init__ has looked
        return language

    def _dense(self, name: str) -> Float32:
        weights = self.tensors
        if weights.slots[name].dtype == "I8":
            return dequantize(weights[name], weights[name + SCALE])
        return weights[name]
