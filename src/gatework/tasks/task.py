"""What a task is: the one thing training, export and the runtime ask about a problem.

A task says what an example is, how a text becomes what the network reads, which head and loss the network gets, how
its outputs become an answer, and how answers are measured. It is free of torch; `prepare` alone may import pydantic.

The road of a task:

    recipe ──prepare──► Prepared ──(nn, train)──► outputs ──settle──► decode settings ──(export)──► bundle
    bundle ──open_codec──► Codec: text ──encode, parts, collate──► batch ──(runtime)──► outputs ──decode──► answers
    open bundle ──tune──► more decode settings

What the outputs of a network are goes by its head, and has names:

    per_sequence   between epochs {"logits": (N, C), "empty": (N,) bool}; for decode, logits (B, C)
    per_step       between epochs {"tags": int32, the best tags of all dev tokens, one example after the other,
                   "tags.1": of the second tag layer, ...}; for decode, for each example, for each of its parts, for
                   each tag layer, `core.paths.TagPaths`
    sequence       between epochs {"nats": (N,) float64}, -log p of each dev target, and where `train.metric` asks for
                   answers {"ids": int32, of all dev answers one after the other, "starts": (N + 1,) int64}; for
                   decode, for each example, its hypotheses, the best first
    next_token     between epochs {"nats": (D,) float64}, -log p summed over the dev text, for each direction

What later tasks bring, and where it goes without a change here:

* series: `head = "quantiles"`; `Codec.encode` takes an array of frames instead of a string.

So nothing here names tokens, labels or strings where a task may differ: `Any` in a signature is the task's own type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.core.paths import Search

if TYPE_CHECKING:
    from gatework.core.architecture import Architecture
    from gatework.core.recipe import Recipe
    from gatework.core.tag_scheme import Constraints
    from gatework.text import ExampleStore

FloatArray = npt.NDArray[np.floating]
Head = Literal["per_sequence", "per_step", "next_token", "sequence", "quantiles"]
Loss = Literal["softmax", "sigmoid", "crf"]
Outputs = Mapping[str, npt.NDArray[Any]]
Say = Callable[[str], None]


def silent(sentence: str) -> None:
    """Tell nobody: the default of every `say`."""


class Excerpt(NamedTuple):
    """Some tokens of an encoded example as an example of their own."""

    encoded: Any
    start: int
    """Of its text, within that of the example."""


class Codec(ABC):
    """Between what a user gives and what the network reads and answers, as a bundle holds it."""

    constraints: tuple[Constraints | None, ...] = ()
    """With a head per_step: what each tag layer allows, None for all; fewer entries than layers allow all too."""

    @abstractmethod
    def encode(self, example: Any) -> Any:
        """One text (or tokens, or an array) as ids. Never fails on any text; what is odd about it is kept beside the
        ids. Raises DataError: the task cannot read an example of this type."""

    @property
    def reads_ids(self) -> bool:
        """Whether `encode_ids` takes token ids."""
        return False

    def encode_ids(self, ids_T: Any) -> Any:
        """A row of token ids as `encode` gives a text. Raises DataError: the model cannot read it."""
        raise DataError("this model reads texts, not token ids.")

    def encode_given(self, example: Any) -> Any:
        """`encode_ids` of an array, `encode` of all else."""
        return self.encode_ids(example) if isinstance(example, np.ndarray) else self.encode(example)

    def parts(self, encoded: Any) -> Sequence[Any]:
        """What the network reads of an encoded example, such as its sentences: each is `text.Encoded` or like it."""
        return (encoded,)

    def use(self, ngram_search: Callable[..., int] | None) -> None:  # noqa: B027 - most codecs have no n-grams
        """Take a faster search for n-grams, with the same result, from whoever answers."""

    @abstractmethod
    def collate(self, encoded: Sequence[Any]) -> Any:
        """Several parts of encoded examples as one batch for the network."""

    def search(self, encoded: Sequence[Any], **options: Any) -> Search:
        """With a head per_step: what to look for, by the options of a prediction. Raises ConfigError, as `decode`."""
        return Search()

    def excerpt(self, encoded: Any, part: int, first: int, last: int) -> Excerpt:
        """Tokens `first` to `last`, at least one, of a part of an encoded text, for its answer alone. For streams."""
        raise ConfigError("stream: this task answers whole texts. Use predict.")

    def moved(self, answer: Any, characters: int, tokens: int) -> Any:
        """An answer with so much added to the places of characters and of tokens in it. For streams."""
        raise ConfigError("stream: this task answers whole texts. Use predict.")

    @abstractmethod
    def decode(self, outputs: Any, encoded: Sequence[Any], **options: Any) -> list[Any]:
        """Answers, one for each encoded example, in order; each has `to_dict()`, and `to_line(top_k)` for a terminal.

        Args:
            outputs: of the network for these examples; see the head of this file.
            encoded: the examples.
            options: what a single prediction overrides: `top_k`, how many answers to rank; `threshold`, the score from
                which on one counts.
        Raises: ConfigError: an option is unknown to the task, or out of range.
        """


@dataclass(frozen=True, kw_only=True)
class Prepared(ABC):
    """Everything training needs, encoded once and kept on disk."""

    recipe: Recipe
    """The recipe with nothing left to infer."""
    codec: Any
    """Turns text into ids; fitted on the training part alone."""
    train: Any
    """An `ExampleStore`, or a `TokenStream` of a language model."""
    dev: Any
    carry: bool = False
    """Of a language model: documents are read on from one to the next."""
    unlabelled: ExampleStore | None = None
    """Texts for language-model pre-training; None unless the recipe asks for it."""
    architecture: Architecture
    loss: Loss
    """Name of the loss that `nn` puts on the head."""
    constraints: tuple[Constraints | None, ...] = ()
    """As `Codec.constraints`: training keeps to what answering allows."""
    lexicon_vectors: FloatArray | None = None
    """What the vectors of a lexicon's words start from, (rows + 1, width), a row of zeros for a word that has none; row
    0 is no word. None without a lexicon, or without vectors for it."""
    examples: Callable[[str], Iterable[Any]]
    """Labelled examples of `dev` or `test`, read afresh from the files: what an exported bundle is measured on."""
    facts: dict[str, Any]
    """What a bundle tells about its data: files and their SHA-256, counts, formats, what was inferred."""

    @abstractmethod
    def entries(self) -> dict[str, bytes]:
        """Bundle entries the task's codec is opened from: `tokenizer/...` and, say, `labels.json`."""


class Task(ABC):
    """One kind of problem. Instances hold no state; a task is one line in `TASKS`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it learns, in a line."""
    reads: ClassVar[str]
    """What data it reads, in a line."""
    head: ClassVar[Head]
    metrics: ClassVar[Mapping[str, bool]]
    """Names `train.metric` may take, and whether more is better."""
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Options of a recipe, by section, whose defaults are others for this task."""

    @abstractmethod
    def prepare(self, recipe: Recipe, folder: Path, say: Say = silent) -> Prepared:
        """Read, check, split and encode the data of a recipe into `folder`.

        Args:
            recipe: what the user asked for, "auto" allowed.
            folder: an existing folder for the encoded examples; what `prepare` wrote there before is replaced.
            say: told in a sentence what was inferred, counted or left out.
        Raises: DataError naming file and line; ConfigError naming the option.
        """

    @abstractmethod
    def score(self, prepared: Any, outputs: Outputs) -> dict[str, Any]:
        """Metrics of the dev examples between epochs, by the names in `metrics`, from what the network gave."""

    @abstractmethod
    def settle(self, prepared: Any, outputs: Outputs) -> dict[str, Any]:
        """The `decode` object of `config.json`, chosen on dev examples after training."""

    def tune(self, model: Any, examples: Iterable[Any]) -> dict[str, Any]:
        """What joins the `decode` object once the bundle can be asked.

        Args:
            model: the bundle, opened.
            examples: labelled, of the dev part.
        """
        return {}

    @abstractmethod
    def open_codec(self, config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> Codec:
        """The codec of a bundle, from its `config.json` and its other entries. Raises BundleError naming `source`."""

    @abstractmethod
    def read(self, path: Any, config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[Any]:
        """Labelled examples of a file, for a model that is trained already.

        Args:
            path: of the file.
            config: the bundle's `config.json`; its facts tell how the training file was read.
            options: of the recipe's `[data]` section, which come first.
        Raises: DataError naming file and line; ConfigError: an option is unknown.
        """

    @abstractmethod
    def check(self, parts: Mapping[str, Path], data: Any) -> Any:
        """Every problem of data files, as a `text.CheckReport`; a mistake in the data is never raised.

        Args:
            parts: files by role: train, dev, test.
            data: the `[data]` section of a recipe.
        """

    @abstractmethod
    def evaluate(self, model: Any, examples: Iterable[Any], **options: Any) -> dict[str, Any]:
        """Metrics of a loaded model on labelled examples, reading them once and holding none of their texts."""

    @abstractmethod
    def report(self, metrics: Mapping[str, Any]) -> str:
        """Metrics as a text a person reads in a terminal."""

    @abstractmethod
    def sample(self, folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
        """Write small made-up data that can be learnt in seconds; the common checks train every task on it.

        Returns: recipe sections for it, `{"data": {...}, "model": {...}}`, and the score that guessing would get in the
            recipe's `train.metric`.
        """
