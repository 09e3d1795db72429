"""A bundle that answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.core.bundle import Bundle, read_bundle
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.network import Network
from gatework.runtime.stream import Stream
from gatework.runtime.tagger import Tagger
from gatework.tasks import TASKS, Codec, Task

Float32 = npt.NDArray[np.float32]

CHUNK = 2048
"""Texts encoded before the first of them is run; batches are formed among these."""


def load(path: str | os.PathLike[str], *, precision: str = "float32") -> Model:
    """Open a bundle.

    Args:
        path: a `.gw` file, made by `gatework train`.
        precision: of the encoder's products: "float32", as trained; or "bfloat16" or "int8", faster on large batches,
            with answers near those (docs/kernels.md).
    Raises:
        ConfigError: the precision is unknown.
        BundleError: it is not a whole, sound bundle of a known version; one line, naming what is wrong.
    """
    return Model(read_bundle(path), precision=precision)


class Model:
    """An open bundle. Answers from many threads at once; nothing in it changes but the codec's memory of words."""

    def __init__(self, bundle: Bundle, *, precision: str = "float32") -> None:
        """Raises: as `load`, and BundleError: its task, cell or tokenizer is unknown, or parts do not fit."""
        self.bundle = bundle
        try:
            self._task: Task = TASKS[bundle.task]
        except ConfigError as error:
            raise BundleError(f"{bundle.source}: {error} Was it made by a newer gatework?") from None
        self.codec: Codec = self._task.open_codec(bundle.config, bundle.entries, source=bundle.source)
        self.codec.use(kernels.ngram_search())
        self.network = self._open_network(precision)

    def _open_network(self, precision: str) -> Any:
        """A `Network`, a `Tagger` or a `LanguageModel`, as the architecture has its head."""
        bundle = self.bundle
        if bundle.architecture.head != self._task.head:
            raise BundleError(
                f"{bundle.source}: the task {bundle.task} needs the head {self._task.head}, but the network has "
                f"{bundle.architecture.head}. Export the model again."
            )
        options: dict[str, Any] = {"source": bundle.source, "precision": precision}
        if bundle.architecture.head == "next_token":
            return LanguageModel(bundle.architecture, bundle.weights, **options)
        options["bert"] = bundle.config.get("bert")
        if bundle.architecture.head == "per_sequence":
            return Network(bundle.architecture, bundle.weights, **options)
        return Tagger(bundle.architecture, bundle.weights, constraints=self.codec.constraints, **options)

    def __repr__(self) -> str:
        return f"<gatework model {self.bundle.source}: {self.task}, {self.bundle.nbytes:,} bytes>"

    @property
    def task(self) -> str:
        """Name of the task, as in `gatework tasks`."""
        return self.bundle.task

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs, where the task has such."""
        return tuple(getattr(self.codec, "labels", ()))

    def predict(self, text: Any, **options: Any) -> Any:
        """The answer for a text, or a list of answers for several.

        Args:
            text: a string; or several; where the task takes tokens, each of several may be a list or tuple of them.
            options: of the task, such as `top_k`, how many answers to rank, and `threshold`, the score from which on an
                answer counts.
        Raises: DataError: something else than that. ConfigError: an option is unknown or out of range.
        """
        if not isinstance(text, str):
            return self.predict_batch(text, **options)
        encoded = [self.codec.encode(text)]
        return self.codec.decode(self.network.outputs(self.codec, encoded, options), encoded, **options)[0]

    def predict_batch(self, texts: Iterable[str | Sequence[str]], **options: Any) -> list[Any]:
        """Answers for several texts, in their order; texts of like length run together. Arguments as in `predict`."""
        answers: list[Any] = []
        stream = _examples(texts)
        while chunk := list(islice(stream, CHUNK)):
            encoded = [self.codec.encode(text) for text in chunk]
            answers += self.codec.decode(self.network.outputs(self.codec, encoded, options), encoded, **options)
        return answers

    def stream(self, **options: Any) -> Stream:
        """Answers for running text that comes in pieces, in memory that does not grow with it.

        with model.stream() as stream:
            for piece in pieces:
                for answer in stream.feed(piece): ...
            for answer in stream.end(): ...

        Args:
            options: of the task, such as `threshold`.
        Raises: ConfigError: the task answers whole texts alone, or an option is unknown or makes no sense here.
        """
        if not isinstance(self.network, Tagger):
            raise ConfigError(f"stream: the task {self.task} answers whole texts. Use predict.")
        return Stream(self.network, self.codec, options)

    def logits(self, texts: Iterable[str]) -> Float32:
        """What a network with one answer a text says of each, before any temperature or threshold, (B, C)."""
        parts = [np.empty((0, self.bundle.architecture.outputs), dtype=np.float32)]
        stream = _examples(texts)
        while chunk := list(islice(stream, CHUNK)):
            parts.append(self.network.outputs(self.codec, [self.codec.encode(text) for text in chunk], {}))
        return np.concatenate(parts)

    def evaluate(
        self,
        data: str | os.PathLike[str] | Iterable[Any],
        settings: Sequence[str] | Mapping[str, Any] = (),
        **options: Any,
    ) -> dict[str, Any]:
        """Metrics on labelled data.

        Args:
            data: a file, or examples as the task's reader gives them.
            settings: how to read a file: `["data.label=stars"]` or `{"label": "stars"}`. What is not said is as
                in training (columns, encoding) or inferred (format, header).
            options: of the task, such as `predictions`, a file for every row with its answer.
        Raises: DataError naming file and line; ConfigError: a setting is unknown.
        """
        if isinstance(data, str | os.PathLike):
            options.setdefault("source", os.fspath(data))
            examples = self._task.read(data, self.bundle.config, _options(settings))
        else:
            examples = data
        return self._task.evaluate(self, examples, **options)

    def info(self) -> dict[str, Any]:
        """What the bundle tells about itself: task, sizes, data, metrics, versions, the command that made it."""
        bundle = self.bundle
        values = {
            "task": bundle.task,
            "path": bundle.source,
            "bytes": bundle.nbytes,
            "parameters": _parameters(bundle),
            "storage": bundle.storage,
            "gatework": bundle.config.get("gatework", ""),
            "command": bundle.config.get("command", ""),
            "labels": list(self.labels),
            "architecture": bundle.architecture.to_dict(),
            "decode": bundle.config["decode"],
            "metrics": bundle.metrics,
            "data": bundle.config["facts"],
            "recipe": bundle.config["recipe"],
        }
        return {name: value for name, value in values.items() if value not in ("", {}, [])}


def _examples(texts: Iterable[str | Sequence[str]]) -> Iterator[str | Sequence[str]]:
    """An iterator over `texts` that raises a DataError where one is neither a string nor a list of strings."""
    try:
        stream = iter(texts)
    except TypeError:
        raise DataError(f"predict takes a string or several, got {type(texts).__name__}.") from None

    def checked() -> Iterator[str | Sequence[str]]:
        for number, text in enumerate(stream):
            if not isinstance(text, str):
                if not isinstance(text, list | tuple):
                    raise DataError(f"predict: text {number} is of type {type(text).__name__}, not a string.")
                for token in text:
                    if not isinstance(token, str):
                        raise DataError(f"predict: text {number} has a token of type {type(token).__name__}.")
            yield text

    return checked()


def _options(settings: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """`["data.label=stars"]` as `{"label": "stars"}`. Raises ConfigError for another section or form."""
    if isinstance(settings, Mapping):
        return dict(settings)
    if not settings:
        return {}
    from gatework.core.recipe_io import build_recipe  # the recipe's own checks, at the price of importing pydantic

    recipe = build_recipe({}, overrides=settings)
    if other := {name.split(".")[0].strip() for name in settings} - {"data"}:
        raise ConfigError(f"--set {min(other)}: evaluating takes options of [data] only, such as data.label=stars.")
    return {name: getattr(recipe.data, name) for name in recipe.data.model_fields_set}


def _parameters(bundle: Bundle) -> int:
    shapes = (slot.shape for name, slot in bundle.weights.slots.items() if not name.endswith(".scale"))
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes)
