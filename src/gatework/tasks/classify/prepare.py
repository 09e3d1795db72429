"""From a recipe to encoded examples on disk: infer, check, split, fit the vocabulary, encode.

The files are streamed, once to look through them and once or twice more to count and to encode; in memory there are
labels and hashes, never all texts. Every mistake in train, dev and test files comes up here, before training starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import Architecture, Characters, Encoder
from gatework.core.errors import ConfigError, DataError, nearest
from gatework.tasks.classify.answer import Settings
from gatework.tasks.classify.codec import labels_entry
from gatework.tasks.classify.evaluate import label_ids, target_array
from gatework.tasks.classify.metrics import NAMES
from gatework.tasks.classify.split import hold_back
from gatework.tasks.classify.survey import Survey, label_order, survey
from gatework.tasks.facts import file_facts
from gatework.tasks.kept import KeptSubwords
from gatework.tasks.task import Prepared, Say, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.text import Encoded, Example, ExampleStore, Format, TextCodec
    from gatework.text.contextual import Contextual

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class PreparedClassify(Prepared):
    """Encoded examples of a classification run. C labels."""

    labels: tuple[str, ...]
    multi_label: bool
    prior: tuple[float, ...]
    """Share of the training examples with each label, (C,)."""
    positive: int | None
    """Two exclusive labels: the one rarer in training."""

    def entries(self) -> dict[str, bytes]:
        return {**self.codec.to_entries(), "labels.json": labels_entry(self.labels)}

    def untuned(self) -> Settings:
        """How logits are read before a temperature or thresholds are chosen."""
        threshold = self.recipe.decode.threshold
        return Settings(
            multi_label=self.multi_label,
            thresholds=(threshold,) * len(self.labels) if self.multi_label else (),
            prior=self.prior,
            positive=self.positive,
        )


def prepare(recipe: Recipe, folder: Path, say: Say = silent) -> PreparedClassify:
    """Read, check, split and encode the data of a recipe into `folder`. See `Task.prepare`."""
    if recipe.train.metric not in NAMES:
        raise ConfigError(f"train.metric {recipe.train.metric!r} is unknown. {nearest(recipe.train.metric, NAMES)}")
    sources = _Sources.open(recipe, say)
    recipe = sources.recipe
    multi_label = sources.formats["train"].multi_label
    train = survey(sources.paths["train"], sources.read("train"), multi_label=multi_label)
    labels = _labels(train)
    ids = {label: index for index, label in enumerate(labels)}
    held_N, dev = _dev_part(sources, train, ids, multi_label)
    test = _test_part(sources, ids, multi_label)
    prior, positive = _prior(train, held_N, labels, multi_label)
    _say_counts(say, train, held_N, dev, labels, positive)
    from gatework.text.contextual import open_contextual

    contextual = open_contextual(recipe)
    codec = _fit(sources, held_N, recipe, contextual, folder, say)
    train_store, cut = _encode_part(
        sources, "train", "train", codec, folder, ids, multi_label, ~held_N, recipe.input.max_tokens
    )
    if cut:
        say(f"train: {cut:,} texts are longer than {recipe.input.max_tokens} tokens; their ends are not trained on")
    if not recipe.train.epochs:
        from gatework.core.recipe import epochs_for

        recipe = recipe.replace(train={"epochs": epochs_for(int(train_store.lengths_N.sum()))})
        say(f"epochs: {recipe.train.epochs}, for {int(train_store.lengths_N.sum()):,} training tokens")
    origin, chosen = ("train", held_N) if dev is None else ("dev", np.ones(len(dev), dtype=bool))
    dev_store, _ = _encode_part(sources, origin, "dev", codec, folder, ids, multi_label, chosen, None)
    return PreparedClassify(
        recipe=recipe,
        codec=codec,
        train=train_store,
        dev=dev_store,
        unlabelled=_unlabelled(sources, codec, folder, say),
        architecture=_architecture(recipe, codec, len(labels), contextual),
        loss="sigmoid" if multi_label else "softmax",
        examples=partial(_examples, sources, held_N),
        facts=_facts(sources, train, held_N, dev, test, cut),
        labels=labels,
        multi_label=multi_label,
        prior=prior,
        positive=positive,
    )


@dataclass(frozen=True)
class _Sources:
    """The files of a recipe and how each is read."""

    recipe: Recipe
    """Nothing left to infer."""
    paths: dict[str, str]
    """For each part there is (train, dev, test), its file."""
    formats: dict[str, Format]
    inferred: list[str]

    @classmethod
    def open(cls, recipe: Recipe, say: Say) -> _Sources:
        """Infer what the recipe leaves to be inferred, part by part, and say it."""
        from gatework.text import infer, resolve_unit

        if not recipe.data.train:
            raise ConfigError("data.train is not set. Give the training file, such as data.train = 'train.tsv'.")
        paths = {"train": recipe.data.train}
        if isinstance(recipe.data.dev, str):
            paths["dev"] = recipe.data.dev
        if recipe.data.test is not None:
            paths["test"] = recipe.data.test
        train = infer(recipe.data.train, recipe.data)
        formats = {part: infer(path, recipe.data, like=train) if part != "train" else train
                   for part, path in paths.items()}  # fmt: skip
        inferred = [f"{part}: {Path(paths[part]).name}: {found.describe()}" for part, found in formats.items()]
        unit = resolve_unit(recipe.input.unit, train.language)
        if recipe.input.unit == "auto":
            inferred.append(f"unit: {unit}, for text {'in Chinese' if train.language == 'zh' else 'in words'}")
        for sentence in inferred:
            say(sentence)
        # What the files do not share stays "auto", so that the resolved recipe reads each of them as this run does.
        options = {part: _options(found) for part, found in formats.items()}
        shared = {
            name: value
            for name, value in options["train"].items()
            if all(other[name] == value for other in options.values())
        }
        return cls(recipe.replace(data=shared, input={"unit": unit}), paths, formats, inferred)

    def read(self, part: str) -> Iterable[Example]:
        from gatework.text import read_examples

        return read_examples(self.paths[part], format=self.formats[part])


def _options(found: Format) -> dict[str, Any]:
    """The recipe's `data` options that say what was found; columns by name where they have one."""

    def column(place: str | int | None) -> str | int:
        names = [name.strip() for name in found.header or ()]
        if isinstance(place, int) and names and names.count(names[place]) == 1:
            return names[place]
        return "auto" if place is None else place

    lines = found.kind in ("jsonl", "fasttext")
    return {
        "format": found.kind,
        "header": "auto" if lines else found.header is not None,
        "text": "auto" if found.kind == "fasttext" else column(found.text),
        "label": "auto" if found.kind == "fasttext" else column(found.label),
        "language": found.language,
    }


def _labels(train: Survey) -> tuple[str, ...]:
    labels = label_order(train.counts)
    if not labels:
        raise DataError(f"{train.path}: no example has a label. Set data.label to the column of the labels.")
    if len(labels) < 2:
        raise DataError(
            f"{train.place(labels[0])}: every example has the one label {labels[0]!r}; a classifier needs two or more. "
            "Set data.label if this is not the column of the labels."
        )
    return labels


def _dev_part(
    sources: _Sources, train: Survey, ids: dict[str, int], multi_label: bool
) -> tuple[BoolArray, Survey | None]:
    """Which training examples are held back, and the look through the dev file where there is one."""
    data, seed = sources.recipe.data, sources.recipe.train.seed
    if isinstance(data.dev, str):
        dev = survey(data.dev, sources.read("dev"), known=ids, multi_label=multi_label)
        missing = [label for label in ids if label not in dev.counts]
        if missing and (len(ids) - len(missing) < 2 or _expected(train, missing[0], len(dev)) >= 10):
            raise DataError(
                f"{train.place(missing[0])}: label {missing[0]!r} has no example in the dev file {data.dev}. "
                "Use a dev file drawn like the training file, or a fraction, such as data.dev = 0.1."
            )
        return np.zeros(len(train), dtype=bool), dev
    for label in train.lone_labels():
        raise DataError(
            f"{train.place(label)}: label {label!r} has a single text, so that none can be held back for dev. "
            "Add examples, drop the label, or give data.dev a file."
        )
    rows = [label_ids(row, ids, multi_label, train.path) for row in train.rows_N]
    rng = np.random.default_rng([seed, 0xDE5])
    return hold_back(rows, train.text_N, labels=len(ids), fraction=float(data.dev), rng=rng), None


def _expected(train: Survey, label: str, size: int) -> float:
    """Examples of a label that a dev file of `size`, drawn like the training file, would have."""
    return train.counts[label] / len(train) * size


def _test_part(sources: _Sources, ids: dict[str, int], multi_label: bool) -> Survey | None:
    """Look through the test file now: an unknown label in it should not come up after training."""
    test = sources.recipe.data.test
    return None if test is None else survey(test, sources.read("test"), known=ids, multi_label=multi_label)


def _prior(
    train: Survey, held_N: BoolArray, labels: tuple[str, ...], multi_label: bool
) -> tuple[tuple[float, ...], int | None]:
    """Share of each label in the training part, and with two exclusive labels the rarer one (the second if equal)."""
    count_C = np.zeros(len(labels), dtype=np.int64)
    ids = {label: index for index, label in enumerate(labels)}
    for row, held in zip(train.rows_N, held_N.tolist(), strict=True):
        if not held:
            for label in set(row):
                count_C[ids[label]] += 1
    positive = None if multi_label or len(labels) != 2 else int(count_C[1] <= count_C[0])
    return tuple((count_C / (len(held_N) - held_N.sum())).tolist()), positive


def _say_counts(
    say: Say, train: Survey, held_N: BoolArray, dev: Survey | None, labels: tuple[str, ...], positive: int | None
) -> None:
    held = int(held_N.sum())
    development = f"{held:,} of them held back for dev" if dev is None else f"{len(dev):,} dev examples"
    say(f"{len(train):,} training examples, {development}, {len(labels)} labels")
    if positive is not None:
        say(f"positive label: {labels[positive]} (the rarer in training); precision, recall and F1 are about it")
    for part in (train, dev):
        if part is not None and part.blank:
            say(f"{part.path}: {part.blank:,} empty texts, kept; an empty text is answered with the label shares")
    if dev is not None:
        for label in labels:
            if label not in dev.counts:
                say(f"{train.place(label)}: label {label!r} has no example in dev, so its scores there mean nothing")


def _fit(
    sources: _Sources, held_N: BoolArray, recipe: Recipe, contextual: Contextual, folder: Path, say: Say
) -> TextCodec:
    """The codec, from the training part alone (and unlabelled text where the encoder is pre-trained on it).

    A subword model is kept in `folder`.
    """
    from gatework.text import TextCodec

    kept = KeptSubwords(folder, recipe.input)
    unlabelled = partial(_unlabelled_texts, recipe) if _pretrains(recipe) else None
    codec = TextCodec.fit(
        partial(_training_texts, sources, held_N),
        recipe.input,
        rng=np.random.default_rng([recipe.train.seed, 0xC0DE]),
        unlabelled=unlabelled,
        subwords=kept.read(),
        pieces=contextual.cutter,
    )
    kept.keep(codec.subwords)
    say(f"vocabulary: {len(codec.vocabulary):,} tokens, {_ngram_rows(codec):,} n-grams")
    return codec


def _examples(sources: _Sources, held_N: BoolArray, part: str) -> Iterator[Example]:
    """Examples of `dev` or `test`; dev may be what is held back of the training file."""
    if part in sources.paths:
        yield from sources.read(part)
        return
    for example, held in zip(sources.read("train"), held_N.tolist(), strict=True):
        if held:
            yield example


def _training_texts(sources: _Sources, held_N: BoolArray) -> Iterator[str]:
    for example, held in zip(sources.read("train"), held_N.tolist(), strict=True):
        if not held:
            yield example.text


def _pretrains(recipe: Recipe) -> bool:
    return recipe.train.pretrain_epochs > 0 and bool(recipe.data.unlabelled)


def _unlabelled_texts(recipe: Recipe) -> Iterator[str]:
    from gatework.text import read_texts

    for path in recipe.data.unlabelled:
        yield from read_texts(path, encoding=recipe.data.encoding)


def _unlabelled(sources: _Sources, codec: TextCodec, folder: Path, say: Say) -> ExampleStore | None:
    from gatework.text import ExampleStore

    recipe = sources.recipe
    if recipe.data.unlabelled and not recipe.train.pretrain_epochs:
        say("data.unlabelled is left unread, as train.pretrain_epochs is 0")
    if not _pretrains(recipe):
        return None
    encoded = ((codec.encode(text), -1) for text in _unlabelled_texts(recipe))
    return ExampleStore.write(folder, "unlabelled", encoded)


def _encode_part(
    sources: _Sources,
    origin: str,
    name: str,
    codec: TextCodec,
    folder: Path,
    ids: dict[str, int],
    multi_label: bool,
    chosen_N: BoolArray,
    max_tokens: int | None,
) -> tuple[ExampleStore, int]:
    """Encode the chosen examples of a file into a store; returns it and how many texts were cut."""
    from gatework.text import ExampleStore

    cut = 0

    def encoded() -> Iterator[tuple[Encoded, Any]]:
        nonlocal cut
        for example, wanted in zip(sources.read(origin), chosen_N.tolist(), strict=True):
            if not wanted:
                continue
            one = codec.encode(example.text, max_tokens)
            cut += one.left_out > 0
            row = label_ids(example.labels, ids, multi_label, origin)
            yield one, target_array([row], len(ids), multi_label)[0]

    store = ExampleStore.write(folder, name, encoded())
    return store, cut


def _ngram_rows(codec: TextCodec) -> int:
    return 0 if codec.ngrams is None else len(codec.ngrams)


def _architecture(recipe: Recipe, codec: TextCodec, outputs: int, contextual: Contextual) -> Architecture:
    model, kind = recipe.model, recipe.input.characters
    characters = None
    if kind != "none" and codec.characters is not None:
        characters = Characters(
            kind=kind,
            vocabulary=len(codec.characters),
            embedding=model.character_embedding,
            units=model.character_units,
        )
    return Architecture(
        head="per_sequence",
        outputs=outputs,
        vocabulary=len(codec.vocabulary),
        embedding=model.embedding,
        encoder=Encoder(
            cell=model.cell,
            units=model.units,
            layers=model.layers,
            bidirectional=model.bidirectional,
            residual=model.residual,
            projection=model.projection,
        ),
        pooling=tuple(model.pooling),
        characters=characters,
        ngram_rows=_ngram_rows(codec),
        ngram_embedding=model.ngram_embedding if codec.ngrams is not None and codec.ngrams.n > 1 else 0,
        attention=model.attention if "attention" in model.pooling else 0,
        **contextual.architecture,
        window=recipe.input.window,
    )


def _facts(
    sources: _Sources, train: Survey, held_N: BoolArray, dev: Survey | None, test: Survey | None, cut: int
) -> dict[str, Any]:
    """What a bundle tells about its data."""
    files: dict[str, Any] = {}
    for part, found in (("train", train), ("dev", dev), ("test", test)):
        if found is not None:
            files[part] = file_facts(found.path) | {"examples": len(found), "empty": found.blank}
    for index, path in enumerate(sources.recipe.data.unlabelled if _pretrains(sources.recipe) else ()):
        files[f"unlabelled {index + 1}"] = file_facts(path)
    if sources.recipe.model.language_model is not None:
        files["language model"] = file_facts(sources.recipe.model.language_model)
    held = int(held_N.sum())
    files["train"] |= {"used": len(train) - held, "held_back": held, "cut": cut}
    return {
        "files": files,
        "sha256": sha256("".join(one["sha256"] for one in files.values()).encode()).hexdigest(),
        "labels": {label: train.counts[label] for label in label_order(train.counts)},
        "inferred": sources.inferred,
        "formats": {part: found.to_dict() for part, found in sources.formats.items()},
    }
