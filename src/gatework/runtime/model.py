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
from gatework.core.errors import BundleError, ConfigError, DataError, nearest
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.language_state import LanguageState
from gatework.runtime.network import Network
from gatework.runtime.stream import Stream
from gatework.runtime.tagger import Tagger
from gatework.runtime.writer import Writer
from gatework.runtime.writing import Options, Scored
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
        self._writer: Writer | None = None  # made when a language model is first asked to write

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
        options["config"] = bundle.config
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

    def stream(self, prompt: str | None = None, *, state: Any = None, **options: Any) -> Any:
        """Answers for running text that comes in pieces, in memory that does not grow with it.

        with model.stream() as stream:
            for piece in pieces:
                for answer in stream.feed(piece): ...
            for answer in stream.end(): ...

        Of a language model: what follows a prompt, as it is written.

        stream = model.stream("To be", max_tokens=100)
        for piece in stream: ...
        stream.result                     # a Generated, with the state to go on from

        Args:
            prompt, state: of a language model alone, as in `generate`.
            options: of the task, such as `threshold`; of a language model, those of `generate` but beams and count.
        Raises: ConfigError: the task answers whole texts alone, or an option is unknown or makes no sense here.
        """
        if isinstance(self.network, LanguageModel):
            states = self._states(state, 1)
            return self._language("stream").stream(prompt or "", _writing(options), states[0] if states else None)
        if prompt is not None or state is not None:
            raise ConfigError(f"stream: the task {self.task} takes no prompt. Feed it text: model.stream().feed(text).")
        if not isinstance(self.network, Tagger):
            raise ConfigError(f"stream: the task {self.task} answers whole texts. Use predict.")
        return Stream(self.network, self.codec, options)

    def generate(self, prompt: str | Sequence[str] = "", *, state: Any = None, **options: Any) -> Any:
        """What a language model writes after a prompt.

        Args:
            prompt: a string, or several.
            state: what to go on from instead of the start of a document: the `state` of an earlier answer, or its
                bytes; with several prompts one for each.
            options: see `runtime.writing.Options`: max_tokens, stop, temperature, top_k, top_p, min_p,
                repetition_penalty, no_repeat, beams, count, seed, constraint.
        Returns: a `Generated`; with `count` above 1 a list of them; for several prompts a list of such answers.
        Raises: ConfigError: an option is unknown, out of range, or contradicts another; the model writes no text.
            DataError: a prompt is no string, or the state is of another model.
        """
        writer = self._language("generate")
        prompts = [prompt] if isinstance(prompt, str) else _strings("generate", prompt)
        chosen = _writing(options)
        answers = writer.generate(prompts, chosen, self._states(state, len(prompts)))
        each = [answer[0] for answer in answers] if chosen.count == 1 else answers
        return each[0] if isinstance(prompt, str) else each

    def score(self, texts: str | Iterable[str], *, end: bool | None = None) -> Any:
        """How likely texts are to a language model, each as a document of its own.

        Args:
            texts: a string, or several.
            end: whether the end of the document counts as a token; None: where the model learnt from documents that
                end.
        Returns: a `Scored`, or a list of them.
        Raises: ConfigError: the model is no language model. DataError: something is no string.
        """
        writer = self._language("score")
        ends = self.bundle.config["decode"].get("documents") != "file" if end is None else end
        if isinstance(texts, str):
            return writer.score([texts], end=ends)[0]
        found: list[Scored] = []
        stream = iter(_strings("score", texts))
        while chunk := list(islice(stream, CHUNK)):
            found += writer.score(chunk, end=ends)
        return found

    def _language(self, what: str) -> Writer:
        if not isinstance(self.network, LanguageModel):
            raise ConfigError(f"{what}: the task {self.task} writes no text. Train a model with the task lm.")
        if self._writer is None:
            codec: Any = self.codec  # a language model's has `text`
            self._writer = Writer(self.network, codec.text)
        return self._writer

    def _states(self, given: Any, count: int) -> list[LanguageState] | None:
        """States that a caller gave, one for each of `count` prompts."""
        if given is None:
            return None
        several = list(given) if isinstance(given, list | tuple) else [given]
        states = [LanguageState.from_bytes(one) if isinstance(one, bytes | bytearray) else one for one in several]
        if len(states) != count or not all(isinstance(one, LanguageState) for one in states):
            raise DataError(f"state: wanted {count} as an answer of `generate` has them, got {given!r:.60}.")
        for one in states:
            self.network.check_state(one, "forward")
        return states

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


def _strings(what: str, texts: Any) -> list[str]:
    """Several strings. Raises DataError where they are none."""
    given: list[Any] = list(texts) if isinstance(texts, Iterable) else [None]
    for number, text in enumerate(given):
        if not isinstance(text, str):
            raise DataError(f"{what}: text {number} is of type {type(text).__name__}, not a string.")
    return given


def _writing(options: Mapping[str, Any]) -> Options:
    known = Options.__dataclass_fields__
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"generate: the option {unknown[0]!r:.40} is unknown. {nearest(unknown[0], known)}")
    return Options(**options)


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
