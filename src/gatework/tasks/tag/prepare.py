"""From a recipe to encoded sentences on disk: infer, check, split, fit the codec, encode.

The files are streamed; in memory there are counts and hashes, never all sentences. Every mistake in train, dev and test
files comes up here, before training starts.

N tokens of all dev sentences, L tag layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import Architecture, Characters, Encoder
from gatework.core.counted import counted
from gatework.core.errors import ConfigError, DataError, nearest
from gatework.core.tag_scheme import INSIDE, from_inside, spans
from gatework.tasks.facts import file_facts
from gatework.tasks.tag.codec import entries_of
from gatework.tasks.tag.labels import BoolArray, Layer, TagTable, label_order
from gatework.tasks.tag.metrics import NAMES
from gatework.tasks.tag.sentences import MOST
from gatework.tasks.tag.sources import SPACE, Sources, Survey, survey
from gatework.tasks.task import Prepared, Say, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.text import Encoded, ExampleStore, Sentence, TextCodec
    from gatework.text.contextual import Contextual

SINGLE = ("glyph", "char")
"""Units of single characters: affixes, shape and character composition tell nothing there."""


@dataclass(frozen=True, kw_only=True)
class PreparedTag(Prepared):
    """Encoded sentences of a tagging run."""

    layers: tuple[Layer, ...]
    segment: bool
    """Words are found in characters."""
    cut: bool
    """Training sentences hold one sentence each, so that running text is to be cut."""
    space: str
    """What training writes for white space; empty where it leaves that out."""
    gold: tuple[npt.NDArray[np.int32], ...]
    """For each layer the true tags of all dev tokens, one sentence after the other, as numbers in `tables`, (N,); -1
    where not known. Tags that only dev has come after the network's own."""
    tables: tuple[TagTable, ...]

    def entries(self) -> dict[str, bytes]:
        return {**self.codec.to_entries(), **entries_of(self.layers)}


def prepare(recipe: Recipe, folder: Path, say: Say = silent) -> PreparedTag:
    """Read, check, split and encode the data of a recipe into `folder`. See `Task.prepare`."""
    if recipe.train.metric not in NAMES:
        raise ConfigError(f"train.metric {recipe.train.metric!r} is unknown. {nearest(recipe.train.metric, NAMES)}")
    _check(recipe)
    sources = Sources.open(recipe, say)
    schemes = (INSIDE,) * len(sources.formats["train"].schemes) if recipe.data.segment else None
    count = max(1, len(sources.formats["train"].tags))
    parts = {part: _look(sources, part, count, say) for part in sources.paths}
    train = parts["train"]
    held_N = _held_back(sources, train)
    layers = _layers(sources, train, schemes)
    recipe = _settled(sources.recipe, layers, say)
    _say_counts(say, parts, held_N, layers)
    from gatework.text.contextual import open_contextual

    contextual = open_contextual(recipe)
    codec = _fit(sources, held_N, recipe, contextual, say)
    lexicon_vectors = _lexicon(sources, held_N, recipe, codec, layers[0], say)
    dev_part, dev_N = ("train", held_N) if "dev" not in parts else ("dev", np.ones(len(parts["dev"]), dtype=bool))
    extra = tuple(tuple(sorted(set(seen) - set(layer.labels))) for layer, seen in zip(
        layers, parts[dev_part].tags, strict=True))  # fmt: skip
    known = [(*layer.labels, *more) for layer, more in zip(layers, extra, strict=True)]
    train_store = _encode(sources, "train", "train", codec, folder, layers, ~held_N, recipe.input.max_tokens)
    dev_store = _encode(sources, dev_part, "dev", codec, folder, layers, dev_N, None)
    if not recipe.train.epochs:
        from gatework.core.recipe import epochs_for

        recipe = recipe.replace(train={"epochs": epochs_for(int(train_store.lengths_N.sum()))})
        say(f"epochs: {recipe.train.epochs}, for {int(train_store.lengths_N.sum()):,} training tokens")
    return PreparedTag(
        recipe=recipe,
        codec=codec,
        train=train_store,
        dev=dev_store,
        architecture=_architecture(recipe, codec, layers, contextual),
        loss="crf" if recipe.model.decoder == "crf" else "softmax",
        constraints=tuple(layer.constraints for layer in layers),
        examples=partial(_examples, sources, held_N),
        facts=_facts(sources, parts, held_N, layers),
        layers=layers,
        segment=recipe.data.segment,
        cut=train.stops / len(train) < MOST,
        space=SPACE if train.spaces else "",
        gold=tuple(_gold(sources, dev_part, dev_N, known)),
        lexicon_vectors=lexicon_vectors,
        tables=tuple(
            TagTable(labels) if layer.has_spans else TagTable(()) for labels, layer in zip(known, layers, strict=True)
        ),
    )


UNREAD = {
    "data": ("unlabelled", "label_separator"),
    "model": ("pooling", "attention", "ngram_start"),
    "train": ("class_weights", "focal_gamma"),
    "decode": ("threshold", "tune_threshold"),
}
"""Options of other tasks that someone might expect to do something."""


def _check(recipe: Recipe) -> None:
    """Raise ConfigError for options that mean nothing here."""
    plain = type(recipe)()
    for section, names in UNREAD.items():
        for name in names:
            if getattr(getattr(recipe, section), name) != getattr(getattr(plain, section), name):
                raise ConfigError(f"{section}.{name} is not for tagging. Leave it out.")


def _look(sources: Sources, part: str, layers: int, say: Say) -> Survey:
    left_out: Counter[str] = Counter()
    found = survey(sources.paths[part], sources.read(part, left_out), layers, left_out)
    for what, count in found.left_out.items():
        say(f"{part}: {count:,} {what}")
    if found.unknown:
        say(f"{part}: {found.unknown:,} of {int(found.length_N.sum()):,} tokens have no known tag; they are not judged")
    return found


def _held_back(sources: Sources, train: Survey) -> BoolArray:
    """Which training sentences go to dev, (sentences,); equal sentences stay together."""
    data = sources.recipe.data
    if isinstance(data.dev, str):
        return np.zeros(len(train), dtype=bool)
    _, group_N = np.unique(train.text_N, return_inverse=True)
    groups = int(group_N.max()) + 1
    if groups < 2:
        raise DataError(f"{train.path}: a single sentence, so that none can be held back for dev. Add some.")
    rng = np.random.default_rng([sources.recipe.train.seed, 0xDE5])
    taken = rng.permutation(groups)[: min(groups - 1, max(1, round(float(data.dev) * groups)))]
    held_N: BoolArray = np.isin(group_N, taken)
    return held_N


def _layers(sources: Sources, train: Survey, schemes: Sequence[str] | None) -> tuple[Layer, ...]:
    found = sources.formats["train"]
    names = found.layers or ("word",)
    written = schemes or found.schemes or (INSIDE,)
    layers: list[Layer] = []
    for name, scheme, tags in zip(names, written, train.tags, strict=True):
        if len(tags) < 2:
            only = next(iter(tags), None)
            seen = f"every token has the one tag {only!r}" if only else "no tag is known"
            raise DataError(
                f"{train.path}: {seen} in layer {name}; a tagger needs two or more. "
                "Set data.label to the column of tags."
            )
        layers.append(Layer(name, scheme, label_order(tags, spans=scheme != "none")))
    return tuple(layers)


def _settled(recipe: Recipe, layers: tuple[Layer, ...], say: Say) -> Recipe:
    """The recipe less what means nothing for these tags and tokens; each change is said."""
    if not layers[0].has_spans and recipe.train.metric != "accuracy":
        say(f"train.metric: accuracy, as the tags mark no spans ({recipe.train.metric} is about spans)")
        recipe = recipe.replace(train={"metric": "accuracy"})
    if recipe.input.unit in SINGLE:
        idle = {"affixes": 0, "shape": False, "characters": "none"}
        idle = {name: value for name, value in idle.items() if getattr(recipe.input, name) != value}
        if idle:
            say(f"input.{', input.'.join(idle)}: off, as tokens are single characters")
            recipe = recipe.replace(input=idle)
    return recipe


def _say_counts(say: Say, parts: dict[str, Survey], held_N: BoolArray, layers: tuple[Layer, ...]) -> None:
    train = parts["train"]
    held = int(held_N.sum())
    development = (
        f"{held:,} of them held back for dev" if "dev" not in parts else f"{len(parts['dev']):,} dev sentences"
    )
    sizes = ", ".join(
        f"{len(layer.labels)} tags" + (f" in {layer.name}" if len(layers) > 1 else "") for layer in layers
    )
    say(f"{len(train):,} training sentences of {int(train.length_N.sum()):,} tokens, {development}, {sizes}")
    for part in ("dev", "test"):
        if part not in parts:
            continue
        for layer, seen, lines in zip(layers, parts[part].tags, parts[part].first_line, strict=True):
            for tag in sorted(set(seen) - set(layer.labels)):
                written = from_inside([tag], layer.scheme)[0] if layer.has_spans else tag
                inside = "" if written == tag else f" ({tag} in {INSIDE})"
                say(
                    f"{parts[part].path}:{lines[tag]}: tag {written!r}{inside} does not occur in training, so it is "
                    f"never given: {counted(seen[tag], 'token')} of it count as missed"
                )


def _fit(sources: Sources, held_N: BoolArray, recipe: Recipe, contextual: Contextual, say: Say) -> TextCodec:
    """The codec, from the training part alone."""
    from gatework.text import TextCodec

    codec = TextCodec.fit_tokens(partial(_tokens, sources, held_N), recipe.input, pieces=contextual.cutter)
    rows = 0 if codec.ngrams is None else len(codec.ngrams)
    say(f"vocabulary: {len(codec.vocabulary):,} tokens, {rows:,} n-grams and features of tokens")
    return codec


def _lexicon(
    sources: Sources, held_N: BoolArray, recipe: Recipe, codec: TextCodec, layer: Layer, say: Say
) -> npt.NDArray[np.float32] | None:
    """Give the codec the lexicon of the recipe; returns the vectors its file has."""
    from gatework.text import Vocabulary, read_vectors
    from gatework.text.lexicon_words import cohesive_sequences, holds_vectors, read_words, words_of_spans

    source = recipe.input.lexicon
    if not source:
        return None
    words: list[tuple[str | tuple[str, ...], float | None]]
    if source == "train":
        tagged = words_of_spans(_spans(sources, held_N)) if layer.has_spans else []
        words = [(word, None) for word in tagged]
        words += [(word, None) for word in cohesive_sequences(_tokens(sources, held_N))]
    else:
        words = [(entry.word, entry.weight) for entry in read_words(source, recipe.data.encoding)]
    fitted = codec.learn_lexicon(words, _tokens(sources, held_N), rows=recipe.input.lexicon_rows)
    origin = "of the training part" if source == "train" else f"of {source}"
    left_out = "".join(f"; left out: {count:,} {what}" for what, count in fitted.left_out.items())
    say(f"lexicon: {len(fitted.lexicon):,} words {origin}{left_out}")
    if source == "train" or not len(fitted.lexicon) or not holds_vectors(source, recipe.data.encoding):
        return None
    found = read_vectors(
        source,
        Vocabulary(fitted.words),
        width=recipe.model.lexicon_embedding,
        option="model.lexicon_embedding",
        encoding=recipe.data.encoding,
    )
    matrix = np.concatenate([np.zeros((1, found.width), dtype=np.float32), found.matrix_VE[-len(fitted.words) :]])
    return matrix


def _spans(sources: Sources, held_N: BoolArray) -> Iterator[tuple[str, ...]]:
    for sentence, held in zip(sources.read("train"), held_N.tolist(), strict=True):
        if not held:
            for start, end, _ in spans(sentence.tags[0]):
                yield sentence.tokens[start:end]


def _tokens(sources: Sources, held_N: BoolArray) -> Iterator[tuple[str, ...]]:
    for sentence, held in zip(sources.read("train"), held_N.tolist(), strict=True):
        if not held:
            yield sentence.tokens


def _examples(sources: Sources, held_N: BoolArray, part: str) -> Iterator[Sentence]:
    """Sentences of `dev` or `test`; dev may be what is held back of the training file."""
    if part in sources.paths:
        yield from sources.read(part)
        return
    for sentence, held in zip(sources.read("train"), held_N.tolist(), strict=True):
        if held:
            yield sentence


def _encode(
    sources: Sources,
    origin: str,
    name: str,
    codec: TextCodec,
    folder: Path,
    layers: tuple[Layer, ...],
    chosen_N: BoolArray,
    max_tokens: int | None,
) -> ExampleStore:
    """Encode the chosen sentences of a file into a store; those longer than `max_tokens` in several pieces."""
    from gatework.text import ExampleStore

    ids = [{tag: index for index, tag in enumerate(layer.labels)} for layer in layers]

    def encoded() -> Iterator[tuple[Encoded, Any]]:
        for sentence, wanted in zip(sources.read(origin), chosen_N.tolist(), strict=True):
            if not wanted:
                continue
            tags_LT = np.array(
                [[number.get(tag or "", -1) for tag in row] for number, row in zip(ids, sentence.tags, strict=True)],
                dtype=np.int32,
            )
            for piece in _pieces(sentence, max_tokens):
                yield codec.encode_tokens(sentence.tokens[piece]), tags_LT[:, piece]

    return ExampleStore.write(folder, name, encoded())


def _pieces(sentence: Sentence, most: int | None) -> Iterator[slice]:
    """`sentence` in slices of at most `most` tokens, cut where no span is under way in any layer if it can be."""
    start, count = 0, len(sentence.tokens)
    while most is not None and count - start > most:
        end = start + most
        while end > start + 1 and any((row[end] or "O")[:2] in ("I-", "E-", "I", "E") for row in sentence.tags):
            end -= 1
        end = end if end > start + 1 else start + most
        yield slice(start, end)
        start = end
    yield slice(start, count)


def _gold(
    sources: Sources, part: str, chosen_N: BoolArray, known: Sequence[Sequence[str]]
) -> Iterator[npt.NDArray[np.int32]]:
    ids = [{tag: index for index, tag in enumerate(labels)} for labels in known]
    rows: list[list[int]] = [[] for _ in ids]
    for sentence, wanted in zip(sources.read(part), chosen_N.tolist(), strict=True):
        if wanted:
            for row, number, tags in zip(rows, ids, sentence.tags, strict=True):
                row += [number.get(tag or "", -1) for tag in tags]
    yield from (np.array(row, dtype=np.int32) for row in rows)


def _architecture(recipe: Recipe, codec: TextCodec, layers: tuple[Layer, ...], contextual: Contextual) -> Architecture:
    model, kind = recipe.model, recipe.input.characters
    characters = None
    if kind != "none" and codec.characters is not None:
        characters = Characters(
            kind=kind,
            vocabulary=len(codec.characters),
            embedding=model.character_embedding,
            units=model.character_units,
        )
    rows = 0 if codec.ngrams is None or not model.ngram_embedding else len(codec.ngrams)
    return Architecture(
        head="per_step",
        outputs=len(layers[0].labels),
        also=tuple(len(layer.labels) for layer in layers[1:]),
        decoder=model.decoder,
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
        pooling=(),
        characters=characters,
        ngram_rows=rows,
        ngram_embedding=model.ngram_embedding if rows else 0,
        lexicon_rows=len(codec.lexicon) if codec.lexicon is not None else 0,
        lexicon_embedding=model.lexicon_embedding if codec.lexicon is not None else 0,
        **contextual.architecture,
        window=recipe.input.window,
    )


def _facts(sources: Sources, parts: dict[str, Survey], held_N: BoolArray, layers: tuple[Layer, ...]) -> dict[str, Any]:
    """What a bundle tells about its data."""
    files: dict[str, Any] = {}
    for part, found in parts.items():
        files[part] = file_facts(found.path) | {"examples": len(found), "tokens": int(found.length_N.sum())}
    if sources.recipe.model.language_model is not None:
        files["language model"] = file_facts(sources.recipe.model.language_model)
    held = int(held_N.sum())
    files["train"] |= {"used": len(held_N) - held, "held_back": held}
    train = parts["train"]
    return {
        "files": files,
        "sha256": sha256("".join(one["sha256"] for one in files.values()).encode()).hexdigest(),
        "labels": {label: train.tags[0][label] for label in layers[0].labels},
        "inferred": sources.inferred,
        "formats": {part: found.to_dict() for part, found in sources.formats.items()},
    }
