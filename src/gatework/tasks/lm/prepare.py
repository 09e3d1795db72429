"""From a recipe to streams of tokens on disk: infer, hold back, fit the codec, encode.

Files are streamed; in memory there are counts, and of documents that are drawn for dev a number each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.architecture import FIRST_CUTOFF, Architecture, Encoder, LanguageModel
from gatework.core.errors import ConfigError, DataError, nearest
from gatework.tasks.facts import file_facts
from gatework.tasks.kept import KeptSubwords
from gatework.tasks.lm.codec import Settings
from gatework.tasks.lm.metrics import NAMES
from gatework.tasks.lm.sources import Sources
from gatework.tasks.task import Prepared, Say, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.text.running import RunningCodec
    from gatework.text.stream import TokenStream

DIRECTIONS = {"forward": ("forward",), "backward": ("backward",), "both": ("forward", "backward")}


@dataclass(frozen=True, kw_only=True)
class PreparedLm(Prepared):
    """Token streams of a run."""

    settings: Settings

    def entries(self) -> dict[str, bytes]:
        entries: dict[str, bytes] = self.codec.to_entries()
        return entries


def prepare(recipe: Recipe, folder: Path, say: Say = silent) -> PreparedLm:
    """Read, split and encode the data of a recipe into `folder`. See `Task.prepare`."""
    if recipe.train.metric not in NAMES:
        raise ConfigError(f"train.metric {recipe.train.metric!r} is unknown. {nearest(recipe.train.metric, NAMES)}")
    _check(recipe)
    sources = Sources.open(recipe, say)
    if recipe.input.unit == "auto":
        recipe = recipe.replace(input={"unit": "char"})
        say("unit: char (input.unit = word, bpe or unigram chooses otherwise)")
    codec = _fit(sources, recipe, folder)
    from gatework.text.stream import TokenStream

    streams = {part: TokenStream.write(folder, part, sources.read(part), codec) for part in ("train", "dev")}
    for part, stream in streams.items():
        if not len(stream.tokens):
            raise DataError(f"{sources.paths.get(part, sources.paths['train'])}: no text for {part}. Give some.")
    train, dev = streams["train"], streams["dev"]
    test = _test_size(sources, len(train.tokens) / train.characters)
    say(
        f"{train.characters:,} characters of training text, {len(train.tokens):,} tokens, {codec.vocabulary:,} "
        f"different; dev: {len(dev.tokens):,} tokens" + (f", {dev.unknown:,} of them unknown" if dev.unknown else "")
    )
    if not recipe.train.epochs:
        from gatework.core.recipe import epochs_for

        recipe = recipe.replace(train={"epochs": epochs_for(len(train.tokens))})
        say(f"epochs: {recipe.train.epochs}, for {len(train.tokens):,} training tokens")
    return PreparedLm(
        recipe=recipe,
        codec=codec,
        train=train,
        dev=dev,
        architecture=_architecture(recipe, codec),
        loss="softmax",
        examples=sources.read,
        facts=_facts(sources, streams, codec, test),
        settings=sources.settings,
        carry=sources.settings.carry,
    )


UNREAD = {
    "data": ("unlabelled", "text", "label", "also", "scheme", "unknown", "segment", "label_separator"),
    "input": ("characters", "vectors", "lexicon", "affixes", "shape", "fold_digits", "max_tokens", "window"),
    "model": (
        *("bidirectional", "pooling", "attention", "bert", "ngram_start"),
        *("language_model", "language_model_projection", "language_model_dropout"),
    ),
    "train": ("batch_tokens", "max_batch", "class_weights", "focal_gamma", "pretrain_epochs"),
    "decode": ("threshold", "tune_threshold", "calibrate"),
}
"""Options of other tasks that someone might expect to do something."""


def _check(recipe: Recipe) -> None:
    """Raise ConfigError for options that mean nothing here, or not with one another."""
    plain = type(recipe)()
    for section, names in UNREAD.items():
        for name in names:
            if getattr(getattr(recipe, section), name) != getattr(getattr(plain, section), name):
                raise ConfigError(f"{section}.{name} is not for language models. Leave it out.")
    model = recipe.model
    if (model.softmax == "adaptive") != bool(model.cutoffs):
        raise ConfigError("model.cutoffs and model.softmax = 'adaptive' need each other, such as [2000, 10000].")
    if model.softmax == "sampled" and recipe.train.label_smoothing:
        raise ConfigError("train.label_smoothing needs all tokens. Leave it at 0 with model.softmax = 'sampled'.")
    if sorted(set(model.cutoffs)) != list(model.cutoffs):
        raise ConfigError(f"model.cutoffs {list(model.cutoffs)} must rise.")


def _fit(sources: Sources, recipe: Recipe, folder: Path) -> RunningCodec:
    """The codec, from the training part alone. A subword model is kept in `folder`."""
    from gatework.text.running import RunningCodec

    def texts() -> Iterator[str]:
        return (piece.text for piece in sources.read("train"))

    kept = KeptSubwords(folder, recipe.input)
    codec = RunningCodec.fit(texts, recipe.input, subwords=kept.read())
    kept.keep(codec.subwords)
    if not codec.tokens:
        raise DataError(f"{sources.paths['train']}: no token occurs {recipe.input.min_count} times. Give more text.")
    return codec


def _architecture(recipe: Recipe, codec: RunningCodec) -> Architecture:
    model = recipe.model
    cutoffs = tuple(FIRST_CUTOFF + rank for rank in model.cutoffs)
    if cutoffs and cutoffs[-1] >= codec.vocabulary:
        raise ConfigError(f"model.cutoffs {list(model.cutoffs)}: there are {codec.vocabulary - FIRST_CUTOFF:,} tokens.")
    return Architecture(
        head="next_token",
        outputs=codec.vocabulary,
        vocabulary=codec.vocabulary,
        embedding=model.embedding,
        encoder=Encoder(
            cell=model.cell,
            units=model.units,
            layers=model.layers,
            bidirectional=False,
            residual=model.residual,
            projection=model.projection,
        ),
        pooling=(),
        language=LanguageModel(directions=DIRECTIONS[model.directions], tied=model.tied, cutoffs=cutoffs),
    )


def _test_size(sources: Sources, tokens_a_character: float) -> dict[str, int]:
    """What there is in the test file; its tokens are an estimate, for the time it takes to measure."""
    if "test" not in sources.paths:
        return {}
    documents = characters = 0
    for piece in sources.read("test"):
        documents += piece.ends
        characters += len(piece.text) + piece.ends
    if not characters:
        raise DataError(f"{sources.paths['test']}: no text for test. Give some, or leave data.test out.")
    return {"examples": max(1, documents), "characters": characters, "tokens": round(characters * tokens_a_character)}


def _facts(
    sources: Sources, streams: dict[str, TokenStream], codec: RunningCodec, test: dict[str, int]
) -> dict[str, Any]:
    """What a bundle tells about its data."""
    files: dict[str, Any] = {part: file_facts(path) for part, path in sources.paths.items()}
    if test:
        files["test"] |= test
    for part, stream in streams.items():
        said = {"examples": len(stream), "tokens": len(stream.tokens), "characters": stream.characters}
        files.setdefault(part, {"file": files["train"]["file"], "held_back": True}).update(said)
    whole = [files[part]["sha256"] for part in sources.paths]
    return {
        "files": files,
        "sha256": sha256("".join(whole).encode()).hexdigest(),
        "unit": codec.unit,
        "inferred": list(sources.inferred),
    }
