"""From a recipe to pairs of token streams on disk: infer, hold back, fit the codecs, encode.

Files are streamed and read several times; in memory there are counts alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError, nearest
from gatework.tasks.facts import file_facts
from gatework.tasks.kept import KeptSubwords
from gatework.tasks.seq2seq.architecture import architecture_of
from gatework.tasks.seq2seq.codec import Seq2SeqCodec, Settings
from gatework.tasks.seq2seq.sources import Empties, Sources
from gatework.tasks.seq2seq.taught import with_answers
from gatework.tasks.seq2seq.trained import Trained, check_network, open_trained, vocabulary_from, with_units_of
from gatework.tasks.task import Prepared, Say, silent
from gatework.text.scripts import NAMES, script_of

if TYPE_CHECKING:
    from gatework.core.recipe import InputSection, Recipe
    from gatework.text.pairs import Pair
    from gatework.text.running import RunningCodec
    from gatework.text.stream import TokenStream

IntArray = npt.NDArray[np.integer]
USUAL = 0.99
"""Part of the training sources that are no longer than is usual."""
LOOKED_AT = 20_000
OFTEN = 20
"""Times that symbols, of which targets are sequences, occur on average among the first LOOKED_AT."""
RARE = 0.01
"""Part of the sources below which a script is not one that is learnt from."""


class PairStream:
    """Sources and targets of a part as token streams, each text with its end."""

    def __init__(self, source: TokenStream, target: TokenStream) -> None:
        self.source, self.target = source, target
        self.lengths_N: npt.NDArray[np.int64] = source.lengths_N + target.lengths_N
        """Tokens of both sides of each pair."""

    def __len__(self) -> int:
        return len(self.lengths_N)


@dataclass(frozen=True, kw_only=True)
class PreparedPairs(Prepared):
    """Pairs of a run."""

    settings: Settings
    start: Trained | None = None
    """What training begins with, where it is not from nothing."""
    teacher: Trained | None = None
    """Whose probabilities training follows."""

    def entries(self) -> dict[str, bytes]:
        entries: dict[str, bytes] = self.codec.to_entries()
        return entries


def prepare(
    recipe: Recipe,
    folder: Path,
    say: Say = silent,
    *,
    units: tuple[str, str],
    metrics: dict[str, bool],
    dialogue: bool = False,
    sentences: bool = False,
) -> PreparedPairs:
    """Read, split and encode the data of a recipe into `folder`. See `Task.prepare`.

    Args:
        units: of source and target where the recipe leaves them open; of targets `auto`, words where they are symbols.
        metrics: what `train.metric` may be.
        dialogue: whether sources are turns of dialogues.
        sentences: whether the model is to cut texts longer than USUAL of the training sources.
    """
    if recipe.train.metric not in metrics:
        raise ConfigError(f"train.metric {recipe.train.metric!r} is unknown. {nearest(recipe.train.metric, metrics)}")
    _check(recipe)
    sources = with_answers(Sources.open(recipe, say, dialogue=dialogue), folder, recipe.train.teacher_targets)
    start = open_trained(recipe.train.start, "train.start")
    known = vocabulary_from(recipe, start)

    def train() -> Iterator[Pair]:
        return sources.read("train")

    recipe = _with_units(recipe, units, train, say) if known is None else with_units_of(recipe, known)
    limit = recipe.input.max_tokens
    own, target = _fit(train, recipe, folder) if known is None else (known.codec.source, known.codec.target)
    context = sources.formats["train"].context
    decode = recipe.decode
    settings = Settings(
        beams=decode.beams,
        length_penalty=decode.length_penalty,
        max_ratio=decode.max_ratio,
        context=context,
        most=limit,
        scripts=_scripts(train()),
    )
    codec = Seq2SeqCodec(own, target, settings)
    streams = {part: _encode(sources, part, codec, folder, limit, say) for part in ("train", "dev")}
    if sentences:
        settings = replace(settings, usual=int(np.quantile(streams["train"].source.lengths_N, USUAL)))
        codec = Seq2SeqCodec(own, target, settings)
    recipe = _with_epochs(recipe, streams["train"], say)
    architecture = architecture_of(recipe, codec)
    if start is not None:
        check_network(start, architecture)
    for part, stream in streams.items():
        unknown = stream.source.unknown + stream.target.unknown
        say(
            f"{part}: {len(stream):,} pairs, {len(stream.source.tokens):,} tokens of sources, "
            f"{len(stream.target.tokens):,} of targets" + (f", {unknown:,} unknown" if unknown else "")
        )
    return PreparedPairs(
        recipe=recipe,
        codec=codec,
        train=streams["train"],
        dev=streams["dev"],
        architecture=architecture,
        loss="softmax",
        examples=sources.read,
        facts=_facts(sources, streams, codec),
        settings=settings,
        start=start,
        teacher=known if recipe.train.teacher_weight else None,
    )


UNREAD = {
    "data": ("unlabelled", "text", "label", "also", "scheme", "unknown", "segment", "label_separator", "template"),
    "input": ("characters", "vectors", "lexicon", "affixes", "shape", "fold_digits", "window"),
    "model": (
        *("pooling", "bert", "ngram_start", "directions", "softmax", "cutoffs"),
        *("locked_dropout", "vocabulary_dropout"),
    ),
    "train": (
        *("class_weights", "focal_gamma", "pretrain_epochs", "streams", "bptt"),
        *("activation_penalty", "temporal_penalty"),
    ),
    "decode": ("threshold", "tune_threshold", "calibrate"),
}
"""Options of other tasks that someone might expect to do something."""


def _check(recipe: Recipe) -> None:
    """Raise ConfigError for options that mean nothing here, or not with one another."""
    plain = type(recipe)()
    for section, names in UNREAD.items():
        for name in names:
            if getattr(getattr(recipe, section), name) != getattr(getattr(plain, section), name):
                raise ConfigError(f"{section}.{name} is not for sequence to sequence. Leave it out.")
    wanted, model = recipe.input, recipe.model
    if wanted.shared and wanted.target_unit not in ("auto", wanted.unit):
        raise ConfigError("input.shared = true needs one unit. Set it to false, or leave input.target_unit out.")
    if model.coverage and model.attention_kind != "additive":
        raise ConfigError("model.coverage needs model.attention_kind = 'additive'.")
    if model.copy_source and (model.attention_kind == "none" or not wanted.shared):
        raise ConfigError("model.copy_source needs attention and input.shared = true.")
    train = recipe.train
    if train.risk_epochs and train.metric == "perplexity":
        raise ConfigError("train.risk_epochs needs a train.metric of answers, such as bleu, to choose the best by.")
    from gatework.tasks.seq2seq.scores import need

    need(recipe.train.metric)


def _with_units(recipe: Recipe, units: tuple[str, str], train: Callable[[], Iterator[Pair]], say: Say) -> Recipe:
    wanted = recipe.input
    unit: str = units[0] if wanted.unit == "auto" else wanted.unit
    target: str = wanted.target_unit
    if target == "auto":
        target = unit if wanted.shared or wanted.unit != "auto" else units[1]
    if target == "auto":
        target = "word" if _are_symbols(pair.target for pair in islice(train(), LOOKED_AT)) else "char"
    if (unit, target) != (wanted.unit, wanted.target_unit):
        say(f"unit: {unit}" + (f", of targets {target}" if target != unit else ""))
    return recipe.replace(input={"unit": unit, "target_unit": target})


def _are_symbols(targets: Iterable[str]) -> bool:
    """Whether targets are sequences of symbols between blanks, such as phonemes: few of them, and each often."""
    counts, number = Counter[str](), 0
    for number, target in enumerate(targets, start=1):  # noqa: B007
        counts.update(target.split())
    return counts.total() >= max(2 * number, OFTEN * len(counts))


def _fit(train: Any, recipe: Recipe, folder: Path) -> tuple[RunningCodec, RunningCodec]:
    """The codecs of both sides, from the training part alone. Subword models are kept in `folder`."""
    from gatework.text.running import RunningCodec

    wanted = recipe.input

    def fit(sides: tuple[str, ...], settings: InputSection) -> RunningCodec:
        def texts() -> Iterator[str]:
            return (getattr(pair, side) for pair in train() for side in sides)

        kept = KeptSubwords(folder, settings, "-".join(sides))
        codec = RunningCodec.fit(texts, settings, subwords=kept.read())
        kept.keep(codec.subwords)
        if not codec.tokens:
            raise DataError(
                f"{recipe.data.train}: no token occurs {settings.min_count} times in a {sides[0]}. Give more text."
            )
        return codec

    if wanted.shared:
        codec = fit(("source", "target"), wanted)
        return codec, codec
    return fit(("source",), wanted), fit(("target",), wanted.model_copy(update={"unit": wanted.target_unit}))


def _scripts(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Scripts of the sources, of the first LOOKED_AT pairs, but for rare ones."""
    counts = Counter(script_of(pair.source) for pair in islice(pairs, LOOKED_AT))
    least = RARE * counts.total()
    return tuple(sorted(NAMES[one] for one, count in counts.items() if one >= 0 and count >= least))


class _Cut:
    """A codec whose texts end at a limit."""

    def __init__(self, codec: RunningCodec, limit: int) -> None:
        self._codec, self._limit, self.vocabulary = codec, limit, codec.vocabulary

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        return self._codec.encode(text)[: self._limit]


def _encode(sources: Sources, part: str, codec: Seq2SeqCodec, folder: Path, limit: int, say: Say) -> PairStream:
    """The pairs of a part on disk; of the training part without those whose target is longer than the limit."""
    from gatework.text.documents import Piece
    from gatework.text.stream import TokenStream

    long, empties = 0, Empties()

    def side(name: str) -> Iterator[Piece]:
        nonlocal long, empties
        long, empties = 0, Empties()
        for pair in sources.read(part, on_empty=empties):
            if part == "train" and len(codec.encode_target(pair.target)) > limit:
                long += 1
                continue
            yield Piece(getattr(pair, name), True, pair.line)

    own: Any = _Cut(codec.source, limit)
    stream = PairStream(
        TokenStream.write(folder, f"{part}.source", side("source"), own),
        TokenStream.write(folder, f"{part}.target", side("target"), codec.target),
    )
    if part == "train" and (sentence := empties.sentence(sources.paths["train"])):
        say(sentence)
    if long:
        say(f"{part}: {long:,} pairs left out, whose targets are longer than input.max_tokens, {limit:,}")
    if not len(stream):
        path = sources.paths.get(part, sources.paths["train"])
        raise DataError(f"{path}: no pairs for {part}. Give some, or raise data.dev.")
    return stream


def _with_epochs(recipe: Recipe, train: PairStream, say: Say) -> Recipe:
    if recipe.train.epochs or (recipe.train.start is not None and recipe.train.risk_epochs):
        return recipe
    from gatework.core.recipe import epochs_for

    tokens = int(train.lengths_N.sum())
    say(f"epochs: {epochs_for(tokens)}, for {tokens:,} training tokens")
    return recipe.replace(train={"epochs": epochs_for(tokens)})


def _facts(sources: Sources, streams: dict[str, PairStream], codec: Seq2SeqCodec) -> dict[str, Any]:
    """What a bundle tells about its data."""
    files: dict[str, Any] = {part: file_facts(path) for part, path in sources.paths.items()}
    for part, path in sources.targets.items():
        files[part]["target"] = file_facts(path)
    for part, stream in streams.items():
        said = {"examples": len(stream), "tokens": int(stream.lengths_N.sum())}
        files.setdefault(part, {"file": files["train"]["file"], "held_back": True}).update(said)
    if "test" in sources.paths:
        files["test"]["examples"] = sum(1 for _ in sources.read("test"))
    whole = "".join(files[part]["sha256"] for part in sources.paths)
    return {
        "files": files,
        "sha256": sha256(whole.encode()).hexdigest(),
        "unit": codec.source.unit,
        "target_unit": codec.target.unit,
        "formats": {part: found.to_dict() for part, found in sources.formats.items()},
        "inferred": list(sources.inferred),
    }
