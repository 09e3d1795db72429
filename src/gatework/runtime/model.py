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
from gatework.runtime.chatting import Chat
from gatework.runtime.classifier_stream import ClassifierStream
from gatework.runtime.ensemble import Ensemble, check_vocabularies
from gatework.runtime.filler import Filler, backward_of
from gatework.runtime.filling import Filling
from gatework.runtime.gaps import Gapped, at_gaps, at_marks, at_span, named
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.language_state import LanguageState
from gatework.runtime.network import Network
from gatework.runtime.seq2seq import Seq2Seq
from gatework.runtime.stream import Stream
from gatework.runtime.tagger import Tagger
from gatework.runtime.translating import Translator, pairs_of
from gatework.runtime.writer import Writer
from gatework.runtime.writing import Options, Read, Scored
from gatework.tasks import TASKS, Codec, Task

Float32 = npt.NDArray[np.float32]

CHUNK = 2048
"""Texts encoded before the first of them is run; batches are formed among these."""


def load(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, precision: str = "float32") -> Model:
    """Open a bundle, or several that answer together.

    Args:
        path: a `.gw` file, made by `gatework train`; or several of sequence to sequence with the same vocabularies,
            whose mean probabilities decide; what else a model says of itself is the first one's.
        precision: of the encoder's products: "float32", as trained; or "bfloat16" or "int8", faster on large batches,
            with answers near those (docs/kernels.md).
    Raises:
        ConfigError: the precision is unknown, or models do not go together.
        BundleError: it is not a whole, sound bundle of a known version; one line, naming what is wrong.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise ConfigError("load: no model. Give one, or several.")
    first, *others = (read_bundle(one) for one in paths)
    return Model(first, precision=precision, others=others)


class Model:
    """An open bundle. Answers from many threads at once; nothing in it changes but the codec's memory of words."""

    def __init__(self, bundle: Bundle, *, precision: str = "float32", others: Sequence[Bundle] = ()) -> None:
        """Raises: as `load`, and BundleError: its task, cell or tokenizer is unknown, or parts do not fit."""
        self.bundle = bundle
        self.others = tuple(others)
        """Bundles that answer together with it."""
        try:
            self._task: Task = TASKS[bundle.task]
        except ConfigError as error:
            raise BundleError(f"{bundle.source}: {error} Was it made by a newer gatework?") from None
        self.codec: Codec = self._task.open_codec(bundle.config, bundle.entries, source=bundle.source)
        self.codec.use(kernels.ngram_search())
        self.network = self._open_network(precision)
        self._writer: Writer | None = None  # made when a language model is first asked to write
        self._filler: tuple[Model | None, Filler] | None = None

    def _open_network(self, precision: str) -> Any:
        """A `Network`, a `Tagger`, a `LanguageModel` or a `Translator`, as the architecture has its head."""
        bundle = self.bundle
        if bundle.architecture.head != self._task.head:
            raise BundleError(
                f"{bundle.source}: the task {bundle.task} needs the head {self._task.head}, but the network has "
                f"{bundle.architecture.head}. Export the model again."
            )
        options: dict[str, Any] = {"source": bundle.source, "precision": precision}
        if bundle.architecture.head == "sequence":
            return self._open_translator(precision)
        if self.others:
            raise ConfigError(f"{bundle.source}: models of the task {bundle.task} do not answer together. Give one.")
        if bundle.architecture.head == "next_token":
            return LanguageModel(bundle.architecture, bundle.weights, **options)
        options["config"] = bundle.config
        if bundle.architecture.head == "per_sequence":
            return Network(bundle.architecture, bundle.weights, **options)
        return Tagger(bundle.architecture, bundle.weights, constraints=self.codec.constraints, **options)

    def _open_translator(self, precision: str) -> Translator:
        bundles = [self.bundle, *self.others]
        for one in self.others:
            if one.task != self.task:
                raise ConfigError(f"{one.source}: of the task {one.task}, but {self.bundle.source} is of {self.task}.")
        models = [Seq2Seq(one.architecture, one.weights, source=one.source, precision=precision) for one in bundles]
        if not self.others:
            return Translator(models[0], self.codec)
        codecs = [self._task.open_codec(one.config, one.entries, source=one.source) for one in bundles]
        check_vocabularies(codecs, [one.source for one in bundles])
        return Translator(Ensemble(models), self.codec)

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

    @property
    def reads_ids(self) -> bool:
        """Whether token ids are all it reads of tokens: then `predict_batch` takes rows of them too, as arrays."""
        return self.codec.reads_ids

    @property
    def whole_texts(self) -> str:
        """Why it answers whole texts alone and has no `stream` of pieces, as in `the model ...`; empty where it has."""
        if isinstance(self.network, Network):
            return self.network.reads_ahead
        return "" if isinstance(self.network, LanguageModel | Tagger) else "reads all of a text before it answers"

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
        return self._answers([text], options)[0]

    def predict_batch(self, texts: Iterable[Any], **options: Any) -> list[Any]:
        """Answers for several texts, in their order; texts of like length run together. Arguments as in `predict`."""
        answers: list[Any] = []
        stream = _examples(texts)
        while chunk := list(islice(stream, CHUNK)):
            answers += self._answers(chunk, options)
        return answers

    def _answers(self, texts: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
        if isinstance(self.network, Translator):
            return self.network.answers(texts, options)
        encoded = [self.codec.encode_given(text) for text in texts]
        return self.codec.decode(self.network.outputs(self.codec, encoded, options), encoded, **options)

    def stream(self, prompt: str | None = None, *, state: Any = None, **options: Any) -> Any:
        """Answers for running text that comes in pieces, in memory that does not grow with it.

        with model.stream() as stream:
            for piece in pieces:
                for answer in stream.feed(piece): ...
            for answer in stream.end(): ...

        Of a classifier that reads forward alone (`model.bidirectional=false`) each `feed` gives one answer, for the
        text so far.

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
        if why := self.whole_texts:
            raise ConfigError(f"stream: the model {why}, so it answers whole texts. Use predict.")
        if isinstance(self.network, Network):
            return ClassifierStream(self.network, self.codec, options)
        return Stream(self.network, self.codec, options)

    def generate(self, prompt: str | Sequence[str] = "", *, state: Any = None, **options: Any) -> Any:
        """What a language model writes after a prompt.

        Args:
            prompt: a string, or several.
            state: what to go on from instead of the start of a document: the `state` of an earlier answer, or its
                bytes; with several prompts one for each.
            options: see `runtime.writing.Options`: max_tokens, stop, temperature, top_k, top_p, min_p,
                repetition_penalty, no_repeat, beams, length_penalty, count, seed, constraint.
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

    def between(self, prompt: str, text: str) -> str:
        """What joins a prompt and the text after it: a blank where a language model writes words, else nothing. Raises
        ConfigError: the model writes no text."""
        if not isinstance(self.network, LanguageModel):
            raise self._writes_none("between")
        codec: Any = self.codec  # a language model's has `text`
        joint: str = codec.text.between(prompt, text)
        return joint

    def chat(self, **options: Any) -> Chat:
        """A dialogue, turn by turn: `chat.say("hello").text`.

        Args:
            options: those of `predict` (of replies) or `generate` (of a language model). Unless `beams` or an option of
                drawing is among them, replies are drawn with temperature 0.8 and top_p 0.9. `seed` is of all turns.
        Raises: ConfigError: the model holds no dialogues, or an option is unknown or out of range.
        """
        return Chat(self, options)

    def score(self, texts: Any, *, end: bool | None = None) -> Any:
        """How likely texts are to a language model, each as a document of its own; or to a model that writes texts from
        sources, each given its source.

        Args:
            texts: a string, or several; of a model that reads sources, pairs of a source and a target.
            end: of a language model: whether the end of the document counts as a token; None: where the model learnt
                from documents that end.
        Returns: a `Scored`, or a list of them.
        Raises: ConfigError: the model writes no texts. DataError: something is no string.
        """
        if isinstance(self.network, Translator):
            if end is not None:
                raise ConfigError("score: end is of language models. A target's end always counts.")
            return self._score_pairs(self.network, iter(texts))
        writer = self._language("score")
        ends = self.bundle.config["decode"].get("documents") != "file" if end is None else end
        if isinstance(texts, str):
            return writer.score([texts], end=ends)[0]
        found: list[Scored] = []
        stream = iter(_strings("score", texts))
        while chunk := list(islice(stream, CHUNK)):
            found += writer.score(chunk, end=ends)
        return found

    def read(self, texts: Sequence[Any], states: Sequence[Any] | None = None) -> list[Read]:
        """How a language model's texts go on: how likely each is, and the state after it.

        Args:
            texts: strings, or rows of token ids as arrays.
            states: to go on from, one each; None for the start of a document.
        Raises: ConfigError: the model writes no texts. DataError: something is no text, or no state of this model.
        """
        writer = self._language("read")
        given = None if states is None else self._states(list(states), len(texts))
        return writer.read([self.codec.encode_given(text) for text in texts], given)

    def state_of(self, data: bytes) -> Any:
        """What `to_bytes` of a state or of a stream of this model wrote: a `LanguageState` of a language model, a
        `Stream` of a tagger, a `ClassifierStream` of a classifier.

        Raises: DataError: it is something else, or of another model. ConfigError: the model keeps no states.
        """
        if isinstance(self.network, LanguageModel):
            state = LanguageState.from_bytes(data)
            self.network.check_state(state, "forward")
            return state
        if why := self.whole_texts:
            raise ConfigError(f"state: the model {why}, so it answers whole texts and keeps none.")
        if isinstance(self.network, Network):
            return ClassifierStream.from_bytes(self.network, self.codec, data)
        return Stream.from_bytes(self.network, self.codec, data)

    def fill(
        self, text: str | Iterable[str], *, gap: str = "___", backward: Model | None = None, **options: Any
    ) -> list[Any]:
        """What may stand in the gaps of a text, ranked by what reads forward and what reads backward.

        Args:
            text: a string with a gap or several, or several strings.
            gap: what marks a gap.
            backward: a model that reads backward, with the same tokenizer, where this one does not.
            options: see `runtime.filling.Filling`: length, count, beams, window, constraint, temperature, seed.
        Returns: `Filled`s, best first; for several strings a list of such lists.
        Raises: ConfigError: an option is unknown, out of range, or contradicts another; the models do not go together,
            or are none of language. DataError: a text has no gap, or is no string.
        """
        filler, chosen = self._fills("fill", backward), _chosen("fill", Filling, options)
        if isinstance(text, str):
            return filler.fill(at_gaps(text, gap), chosen)
        return [filler.fill(named(n, at_gaps, one, gap), chosen) for n, one in enumerate(_strings("fill", text))]

    def rewrite(
        self,
        text: str | Iterable[str],
        span: Any = None,
        *,
        marks: Any = ("[[", "]]"),
        backward: Model | None = None,
        **options: Any,
    ) -> Any:
        """Alternatives to a part of a text, ranked as `fill` ranks, beside the score of the text as it is.

        Args:
            text: a string, or several.
            span: (from, to), the characters to rewrite; for several strings one such pair each. None: what stands
                between `marks`, which may be several parts.
            marks: what stands before and after what is to be rewritten.
            backward, options: as of `fill`; without a length each alternative is about as long as the original.
        Returns: a `Rewritten`, or a list of them.
        Raises: as `fill`.
        """
        filler, chosen = self._fills("rewrite", backward), _chosen("rewrite", Filling, options)

        def marked(one: str, own: Any) -> Gapped:
            return at_marks(one, marks) if own is None else at_span(one, own)

        if isinstance(text, str):
            return filler.rewrite(marked(text, span), chosen)
        texts = _strings("rewrite", text)
        spans = [None] * len(texts) if span is None else list(span)
        if len(spans) != len(texts):
            raise DataError(f"rewrite: wanted a span for each of {len(texts)} texts, got {len(spans)}.")
        pairs = enumerate(zip(texts, spans, strict=True))
        return [filler.rewrite(named(n, marked, one, own), chosen) for n, (one, own) in pairs]

    def _fills(self, what: str, backward: Model | None) -> Filler:
        """What fills gaps, with the model that reads backward where one is given."""
        writer = self._language(what)
        if self._filler is None or self._filler[0] is not backward:
            models = {way: self.network for way in self.network.language.directions}
            if backward is not None:
                models["backward"] = backward_of(self, backward)
            documents = self.bundle.config["decode"].get("documents") != "file"
            self._filler = backward, Filler(models, writer.text, documents=documents)
        return self._filler[1]

    def _score_pairs(self, network: Translator, pairs: Iterator[Any]) -> list[Scored]:
        found: list[Scored] = []
        while chunk := list(islice(pairs, CHUNK)):
            sources, targets = pairs_of(chunk)
            found += network.score([self.codec.encode(source) for source in sources], targets)
        return found

    def _language(self, what: str) -> Writer:
        if not isinstance(self.network, LanguageModel):
            raise self._writes_none(what)
        if self._writer is None:
            codec: Any = self.codec  # a language model's has `text`
            self._writer = Writer(self.network, codec.text)
        return self._writer

    def _writes_none(self, what: str) -> ConfigError:
        return ConfigError(f"{what}: the task {self.task} writes no text. Train a model with the task lm.")

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


def _examples(texts: Iterable[Any]) -> Iterator[Any]:
    """An iterator over `texts` that raises a DataError where one is neither a string nor a list of strings."""
    try:
        stream = iter(texts)
    except TypeError:
        raise DataError(f"predict takes a string or several, got {type(texts).__name__}.") from None

    def checked() -> Iterator[Any]:
        for number, text in enumerate(stream):
            if not isinstance(text, str | np.ndarray):
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
    chosen: Options = _chosen("generate", Options, options)
    return chosen


def _chosen(what: str, kind: Any, options: Mapping[str, Any]) -> Any:
    known = kind.__dataclass_fields__
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"{what}: the option {unknown[0]!r:.40} is unknown. {nearest(unknown[0], known)}")
    return kind(**options)


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
