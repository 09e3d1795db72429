"""Gatework models as scikit-learn estimators. Needs the extras `sklearn` and, to fit, `train`.

    clf = TextClassifier(epochs=5).fit(texts, labels)
    clf.predict(["great film"])
    tagger = SequenceTagger(epochs=20).fit([["EU", "rejects"], ...], [["B-ORG", "O"], ...])
    tagger.predict([["German", "call"]])

Both work in `Pipeline`, `cross_val_score` and `GridSearchCV`, on lists of strings and on lists of token lists. A fitted
estimator holds its model as the bytes of a bundle, so it can be pickled or sent to another process; no weights are
pickled as objects.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError, MissingExtraError

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] != "sklearn":
        raise
    raise MissingExtraError("gatework.sklearn", "sklearn") from None

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.runtime import Model

__all__ = ["SequenceTagger", "TextClassifier", "TextsError"]

_OPTIONS = {
    "language": "data.language",
    "unit": "input.unit",
    "ngrams": "input.ngrams",
    "embedding": "model.embedding",
    "cell": "model.cell",
    "units": "model.units",
    "layers": "model.layers",
    "dropout": "model.dropout",
    "epochs": "train.epochs",
    "learning_rate": "train.learning_rate",
    "metric": "train.metric",
    "random_state": "train.seed",
    "threads": "train.threads",
    "weights": "export.weights",
}
"""Parameters of the estimator and the recipe options they set."""


class TextsError(DataError, ValueError):
    """Texts or labels that cannot be used; a ValueError too, as scikit-learn's own checks raise."""


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators share: a recipe of their parameters, and a bundle that is opened when it is asked."""

    _task: ClassVar[str]
    _names: ClassVar[Mapping[str, str]]
    """Parameters and the recipe options they set."""
    _keys: ClassVar[tuple[str, str]]
    """Where the lines of the training file hold what is read and what is learnt."""

    def _recipe(self, data: Path) -> Recipe:
        from gatework.core.recipe_io import build_recipe

        text, label = self._keys
        sections = {"train": str(data), "dev": self.dev, "format": "jsonl", "text": text, "label": label}
        values: dict[str, Any] = {"task": self._task, "data": sections}
        settings = {key: getattr(self, name) for name, key in self._names.items() if getattr(self, name) is not None}
        for key, value in {**settings, **(self.options or {})}.items():
            section, _, option = key.partition(".")
            if not option:
                raise ConfigError(f"options key {key!r} needs a section, such as 'train.epochs'.")
            # NumPy numbers come from parameter grids.
            values.setdefault(section, {})[option] = value.item() if isinstance(value, np.generic) else value
        return build_recipe(values)

    def _say(self) -> Callable[[str], None]:
        return _print if self.verbose else _silent

    def _opened(self) -> Model:
        """The model, opened on first use."""
        model: Model | None = self.__dict__.get("_model")
        if model is None:
            model = _open(self.bundle_)
            self._model = model
        return model

    def _drop_model(self) -> None:
        self.__dict__.pop("_model", None)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the opened model: parameters and the bundle's bytes."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_model", None)
        return state


class TextClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A recurrent text classifier for one label a text.

    Args:
        dev: share of the examples held back to choose the best epoch and to calibrate.
        language: "en", "zh" or "auto".
        unit: what a token is, as `input.unit` of a recipe.
        ngrams: longest n-gram side feature; 0 turns them off.
        embedding: width of token vectors.
        cell: a name in `gatework tasks`.
        units: units of each layer and direction.
        layers: recurrent layers.
        dropout: between layers and before the head.
        epochs: passes over the data, at most.
        learning_rate: highest learning rate.
        metric: dev metric that chooses the best epoch.
        random_state: a seed; the same seed and thread count give the same model.
        threads: CPU threads of training; 0 takes what the machine has.
        weights: how weights are stored: "int8", "bf16" or "fp32".
        options: any further recipe options, `{"train.label_smoothing": 0.1}`.
        verbose: print progress.

    None leaves an option at the recipe's default.

    Attributes:
        classes_: the labels, sorted, (C,).
        bundle_: the trained model as the bytes of a `.gw` file; write them to a file to use it anywhere.
        metrics_: metrics on the examples held back.
    """

    _task = "classify"
    _names = _OPTIONS
    _keys = ("text", "label")

    def __init__(
        self,
        *,
        dev: float = 0.1,
        language: str | None = None,
        unit: str | None = None,
        ngrams: int | None = None,
        embedding: int | None = None,
        cell: str | None = None,
        units: int | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        metric: str | None = None,
        random_state: int | None = None,
        threads: int | None = None,
        weights: str | None = None,
        options: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.dev = dev
        self.language = language
        self.unit = unit
        self.ngrams = ngrams
        self.embedding = embedding
        self.cell = cell
        self.units = units
        self.layers = layers
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.metric = metric
        self.random_state = random_state
        self.threads = threads
        self.weights = weights
        self.options = options
        self.verbose = verbose

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> TextClassifier:
        """Train on texts and their labels.

        Args:
            X: strings: a list, an array or a pandas Series.
            y: a label for each: strings, whole numbers or booleans.
        Raises: TextsError: not strings, or not as many labels as texts, or one label only. ConfigError: an option.
        """
        texts, labels = _texts(X), _labels(y)
        if len(texts) != len(labels):
            raise TextsError(f"fit: {len(texts)} texts but {len(labels)} labels. Give one label for each text.")
        if not texts:
            raise TextsError("fit: there are no texts. Give at least two, with different labels.")
        classes, ids = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise TextsError(f"fit: every label is {str(classes[0])!r}; a classifier needs two classes or more.")
        names = _names(classes)
        with tempfile.TemporaryDirectory(prefix="gatework-") as name:
            folder = Path(name)
            data = folder / "train.jsonl"
            with data.open("w", encoding="utf-8") as file:
                for text, label in zip(texts, ids.tolist(), strict=True):
                    file.write(json.dumps({"text": text, "label": names[label]}) + "\n")
            bundle, metrics = _train(self._recipe(data), folder, self._say())
        self.classes_ = classes
        self.bundle_ = bundle
        self.metrics_ = metrics
        self._label_names = names
        self._drop_model()
        return self

    def predict(self, X: Sequence[str]) -> npt.NDArray[Any]:
        """The label of each text, (N,)."""
        check_is_fitted(self, "bundle_")
        texts = _texts(X)
        index = {name: number for number, name in enumerate(self._label_names)}
        answers = self._opened().predict_batch(texts, top_k=1) if texts else []
        chosen: npt.NDArray[Any] = self.classes_[np.array([index[one.label] for one in answers], dtype=np.int64)]
        return chosen

    def predict_proba(self, X: Sequence[str]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities, (N, C), columns in the order of `classes_`."""
        check_is_fitted(self, "bundle_")
        texts = _texts(X)
        answers = self._opened().predict_batch(texts) if texts else []
        rows = [[one.scores[name] for name in self._label_names] for one in answers]
        return np.array(rows, dtype=np.float64).reshape(len(texts), len(self._label_names))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may expect: strings in one dimension, never numbers in two."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


_TAG_OPTIONS = {
    "scheme": "data.scheme",
    "lexicon": "input.lexicon",
    "characters": "input.characters",
    **{name: key for name, key in _OPTIONS.items() if name not in ("language", "unit")},
}
"""The same for the tagger."""


class SequenceTagger(_Estimator):
    """A recurrent tagger: a tag for every token of a sentence.

    Args:
        dev: share of the sentences held back to choose the best epoch and to calibrate.
        scheme: how tags mark spans: "bio", "bioes", ..., "none", or "auto".
        lexicon: "train", or a file of words, as `input.lexicon` of a recipe.
        characters: "none", "cnn" or "bilstm".
        ngrams: longest n-gram of tokens used as a feature.
        embedding: width of token vectors.
        cell: a name in `gatework tasks`.
        units: units of each layer and direction.
        layers: recurrent layers.
        dropout: between layers and before the head.
        epochs: passes over the data, at most.
        learning_rate: highest learning rate.
        metric: dev metric that chooses the best epoch: "f1" or "accuracy".
        random_state: a seed; the same seed and thread count give the same model.
        threads: CPU threads of training; 0 takes what the machine has.
        weights: how weights are stored: "int8", "bf16" or "fp32".
        options: any further recipe options, `{"model.decoder": "softmax"}`.
        verbose: print progress.

    None leaves an option at the default of the task.

    Attributes:
        classes_: the tags, sorted.
        bundle_: the trained model as the bytes of a `.gw` file.
        metrics_: metrics on the sentences held back.
    """

    _task = "tag"
    _names = _TAG_OPTIONS
    _keys = ("tokens", "tags")

    def __init__(
        self,
        *,
        dev: float = 0.1,
        scheme: str | None = None,
        lexicon: str | None = None,
        characters: str | None = None,
        ngrams: int | None = None,
        embedding: int | None = None,
        cell: str | None = None,
        units: int | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        metric: str | None = None,
        random_state: int | None = None,
        threads: int | None = None,
        weights: str | None = None,
        options: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.dev = dev
        self.scheme = scheme
        self.lexicon = lexicon
        self.characters = characters
        self.ngrams = ngrams
        self.embedding = embedding
        self.cell = cell
        self.units = units
        self.layers = layers
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.metric = metric
        self.random_state = random_state
        self.threads = threads
        self.weights = weights
        self.options = options
        self.verbose = verbose

    def fit(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> SequenceTagger:
        """Train on sentences, each a list of tokens, and as many tags for each.

        Raises: TextsError: not lists of strings, or not as many tags as tokens. DataError: one tag only. ConfigError.
        """
        if y is None:
            raise TextsError("y is None. SequenceTagger requires y to be passed: a list of tags for each sentence.")
        sentences, tags = _token_lists(X, "X"), _token_lists(y, "y")
        if len(sentences) != len(tags):
            raise TextsError(f"fit: {len(sentences)} sentences but {len(tags)} lists of tags. Give one for each.")
        for index, (tokens, row) in enumerate(zip(sentences, tags, strict=True)):
            if len(tokens) != len(row):
                raise TextsError(
                    f"fit: X[{index}] has {len(tokens)} tokens, y[{index}] {len(row)} tags. Give one each."
                )
        if not any(sentences):
            raise TextsError("fit: there are no tokens. Give sentences as lists of tokens.")
        with tempfile.TemporaryDirectory(prefix="gatework-") as name:
            folder = Path(name)
            data = folder / "train.jsonl"
            with data.open("w", encoding="utf-8") as file:
                for tokens, row in zip(sentences, tags, strict=True):
                    file.write(json.dumps({"tokens": tokens, "tags": row}) + "\n")
            bundle, metrics = _train(self._recipe(data), folder, self._say())
        self.classes_ = np.array(sorted({tag for row in tags for tag in row}))
        self.bundle_ = bundle
        self.metrics_ = metrics
        self._drop_model()
        return self

    def predict(self, X: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tags of each sentence, as the training data write them."""
        return [list(answer.tags) for answer in self.predict_spans(X)]

    def predict_spans(self, X: Sequence[Sequence[str]]) -> list[Any]:
        """Each sentence's whole answer: its tokens, spans and scores."""
        check_is_fitted(self, "bundle_")
        sentences = _token_lists(X, "X")
        return self._opened().predict_batch(sentences) if sentences else []

    def score(self, X: Sequence[Sequence[str]], y: Sequence[Sequence[str]]) -> float:
        """F1 of spans where tags mark spans, accuracy of tokens where they do not."""
        from gatework.core.tag_scheme import SCHEMES, Converter, spans

        given, true = self.predict(X), _token_lists(y, "y")
        if [len(row) for row in given] != [len(row) for row in true]:
            raise TextsError("score: X and y differ in length. Give one tag for each token.")
        codec: Any = self._opened().codec
        scheme = codec.layers[0].scheme
        if scheme not in SCHEMES:
            pairs = [one == other for a, b in zip(given, true, strict=True) for one, other in zip(a, b, strict=True)]
            return sum(pairs) / max(1, len(pairs))
        convert = Converter(scheme)
        found, gold = (
            {(n, *span) for n, row in enumerate(rows) for span in spans(convert(row))} for rows in (given, true)
        )
        return 2 * len(found & gold) / max(1, len(found) + len(gold))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may expect: lists of tokens, never numbers in two dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


def _train(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> tuple[bytes, dict[str, Any]]:
    """The bundle's bytes and the metrics on dev, of a run inside `folder`."""
    try:
        import gatework.train as training
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch":
            raise
        raise MissingExtraError("fit", "train") from None
    path = folder / "model.gw"
    result: Any = training.train(recipe, path, say=say)
    return path.read_bytes(), dict(result.to_dict()["metrics"]["dev"])


def _open(bundle: bytes) -> Model:
    """A model from the bytes of its bundle."""
    from gatework.core.bundle import parse_bundle
    from gatework.runtime import Model

    return Model(parse_bundle(memoryview(bundle), source="the bundle of an estimator"))


def _texts(values: Any) -> list[str]:
    """`values` as a list of strings, or a TextsError that says which is not one."""
    if isinstance(values, str | bytes):
        raise TextsError("X is one string. Give a list of strings, one for each text.")
    if hasattr(values, "ndim") and values.ndim != 1:
        raise TextsError(f"X has {values.ndim} dimensions. Give a list of strings, or one column.")
    texts = list(values)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextsError(f"X[{index}] is of type {type(text).__name__}, not a string. Give a list of strings.")
    return [str(text) for text in texts]


def _token_lists(values: Any, name: str) -> list[list[str]]:
    """`values` as lists of strings, or a TextsError that says which is not one."""
    if isinstance(values, str | bytes):
        raise TextsError(f"{name} is one string. Give a list of lists of strings.")
    rows: list[list[str]] = []
    for index, row in enumerate(values):
        if isinstance(row, str | bytes) or not hasattr(row, "__iter__"):
            raise TextsError(
                f"{name}[{index}] is of type {type(row).__name__}. Give a list of strings for each sentence."
            )
        rows.append([str(one) if isinstance(one, str) else one for one in row])
        for place, one in enumerate(rows[-1]):
            if not isinstance(one, str):
                raise TextsError(f"{name}[{index}][{place}] is of type {type(one).__name__}, not a string.")
    return rows


def _labels(values: Any) -> npt.NDArray[Any]:
    if values is None:
        raise TextsError("y is None. TextClassifier requires y to be passed: a label for each text.")
    labels = np.asarray(values)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise TextsError(f"y has {labels.ndim} dimensions. Give one label for each text.")
    if labels.dtype == object:
        kinds = {type(label) for label in labels}
        if len(kinds) > 1:
            raise TextsError(f"y mixes {' and '.join(sorted(kind.__name__ for kind in kinds))}. Use one type of label.")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
        raise TextsError("y holds fractions: Unknown label type: continuous. Give classes, such as strings.")
    return labels


def _names(classes: npt.NDArray[Any]) -> list[str]:
    """Label names for the bundle: the classes as text where that is unambiguous, else numbered."""
    names = [str(label) for label in classes]
    plain = all(name == name.strip() and name.isprintable() and name for name in names)
    return names if plain and len(set(names)) == len(names) else [f"class {index}" for index in range(len(names))]


def _print(sentence: str) -> None:
    import sys

    sys.stderr.write(sentence + "\n")


def _silent(sentence: str) -> None:
    """Say nothing."""
