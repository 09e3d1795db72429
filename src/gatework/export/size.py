"""A recipe whose bundle fits a size, chosen before training.

What is given up first costs accuracy least: storage (int8 instead of fp32), then n-grams and words of a lexicon, the
rarest first and of both as large a share, then the rarest words, then the width of vectors and layers; and when all are
narrow, more of the first two again. Sizes are computed from shapes and from the very bytes of the tokenizer, not
estimated; a reserve is kept for the metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gatework.core.architecture import Architecture, encoder_fault
from gatework.core.bundle import CARD, bundle_size
from gatework.core.errors import ConfigError
from gatework.core.writer import Writer, writer_fault
from gatework.export.card import model_card
from gatework.export.storage import stored_bytes
from gatework.export.writer import NGRAM_KEYS, build_config, metrics_reserve
from gatework.runtime.shapes import weight_shapes

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.tasks import Prepared

SIDES = ("tokenizer/", "target/")
"""Where vocabularies lie: of what is read, and of targets where they have one of their own."""
WORDS, SUBWORDS = "vocabulary.json", "subwords.json"
LEXICON_KEYS, LEXICON_COUNTS = "tokenizer/lexicon.u64", "tokenizer/lexicon.f32"
WIDTHS = ("embedding", "units", "projection", "ngram_embedding", "lexicon_embedding")
"""Options of `[model]` that shrink together."""
WRITER_WIDTHS = ("writer_units", "attention", "feed_forward")
"""Those of a head sequence too."""
SLACK = 256
"""Bytes for digits that come out longer than planned."""

STAGES = (
    # Widths may shrink to these shares; n-grams and words to these numbers, or to half in the first stage.
    ((1.0, 0.75, 0.5), 20_000, 5_000),
    ((1.0, 0.75, 0.5, 0.375, 0.25), 5_000, 2_000),
    ((1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125), 1_000, 500),
    ((0.25, 0.125, 0.0625), 0, 100),
)


@dataclass(frozen=True, kw_only=True)
class SizePlan:
    """What was chosen."""

    recipe: Recipe
    """The recipe with the choices in it; the same object where nothing had to change."""
    sentences: tuple[str, ...]
    """One for each choice, and the size that comes of them."""
    nbytes: int
    """Planned size of the bundle, the reserve for metrics counted."""


@dataclass(frozen=True)
class _Choice:
    storage: str
    rows: int
    """N-grams and words of the lexicon together."""
    words: int
    share: float


def plan_size(prepared: Prepared, max_size: int | None = None) -> SizePlan:
    """Fit the bundle of a recipe into a number of bytes.

    Args:
        prepared: what the task made of the data under the recipe as it is.
        max_size: bytes; None for the recipe's `export.max_size`, 0 for no limit.
    Returns: the recipe to train; where it differs from `prepared.recipe`, prepare the data again with it.
    Raises: ConfigError: no choice fits; the message says how many bytes the smallest takes.
    """
    recipe = prepared.recipe
    limit = recipe.export.max_size if max_size is None else max_size
    if not limit:
        return SizePlan(recipe=recipe, sentences=(), nbytes=0)
    sizes = _Sizes(prepared, limit)
    full = _Choice(recipe.export.weights, sum(_rows(prepared.architecture)), sizes.words, 1.0)
    smallest = 0
    for choice in _choices(full, sizes, limit):
        smallest = sizes.total(choice)
        if smallest <= limit:
            return SizePlan(
                recipe=_changed(prepared, full, choice, limit),
                sentences=(*_sentences(prepared, full, choice), f"planned size: {smallest:,} of {limit:,} bytes"),
                nbytes=smallest,
            )
    raise ConfigError(
        f"export.max_size {limit:,}: the smallest model for these data takes {smallest:,} bytes. Allow more."
    )


class _Sizes:
    """Bytes of a bundle by choice."""

    def __init__(self, prepared: Prepared, limit: int) -> None:
        self._architecture = prepared.architecture
        self._entries = {name: len(data) for name, data in prepared.entries().items()}
        self._special = 0
        self._lengths: dict[str, list[int]] = {}
        """Bytes of the first words of each side's vocabulary."""
        for side in SIDES:
            if side + WORDS in self._entries:
                words = json.loads(prepared.entries()[side + WORDS])
                lengths = (len(json.dumps(word, ensure_ascii=False).encode()) + 1 for word in words)
                self._lengths[side] = [0, *accumulate(lengths)]
                if side == SIDES[0]:
                    self._special = prepared.architecture.vocabulary - len(words)
        self.words = max((len(lengths) - 1 for lengths in self._lengths.values()), default=0)
        self._config = build_config(prepared, _longest_decode(prepared), "x" * 200)
        card = model_card("x" * 64, self._config, prepared.architecture, {}, "fp32")
        self._entries[CARD] = len(card)
        self._reserve = metrics_reserve(prepared.architecture.outputs, limit) + SLACK

    def total(self, choice: _Choice) -> int:
        """Bytes of the bundle, with the reserve."""
        entries = dict(self._entries)
        ngrams, lexicon = _shared(self._architecture, choice.rows)
        for name, rows, each in ((NGRAM_KEYS, ngrams, 4), (LEXICON_KEYS, lexicon, 8), (LEXICON_COUNTS, lexicon, 4)):
            if name in entries:
                entries[name] = each * rows
        for side, lengths in self._lengths.items():
            whole = len(lengths) - 1
            kept = min(whole, choice.words)
            entries[side + WORDS] = lengths[kept] + 1
            # A subword model is trained to its size: its entries shrink about as its number of pieces does.
            if side + SUBWORDS in entries and whole:
                entries[side + SUBWORDS] = -(-entries[side + SUBWORDS] * kept // whole)
        shapes = weight_shapes(narrowed(self._architecture, ngrams, lexicon, self._words(choice.words), choice.share))
        weights = stored_bytes(shapes, choice.storage)
        return bundle_size(config=self._config, weights_bytes=weights, entries=entries) + self._reserve

    def fits(self, share: float) -> bool:
        """Whether parts of a network that is a share as wide go together."""
        a = narrowed(self._architecture, *_rows(self._architecture), self._words(self.words), share)
        sizes = {"vocabulary": a.vocabulary, "outputs": a.outputs, "embedding": a.embedding}
        return a.writer is None or not (
            encoder_fault(a.encoder, embedding=a.embedding) or writer_fault(a.writer, memory=a.encoder.outputs, **sizes)
        )

    def _words(self, most: int) -> tuple[int, ...]:
        """The sizes of the vocabularies with at most so many words; none where there is no vocabulary."""
        return tuple(self._special + min(len(lengths) - 1, most) for lengths in self._lengths.values())


def _rows(a: Architecture) -> tuple[int, int]:
    """N-grams and words of the lexicon."""
    return a.ngram_rows, a.lexicon_rows


def _shared(a: Architecture, rows: int) -> tuple[int, int]:
    """So many rows, divided among n-grams and the lexicon as the architecture has them."""
    ngrams = -(-rows * a.ngram_rows // max(1, sum(_rows(a))))
    return ngrams, rows - ngrams


def narrowed(a: Architecture, rows: int, lexicon: int, words: tuple[int, ...], share: float) -> Architecture:
    """An architecture of fewer n-grams and words, its widths a share of what they were; `words` of each vocabulary."""
    units = _width(a.encoder.units, share)
    inner = _inner(a.encoder.inner, a.encoder.units, share)
    encoder = replace(a.encoder, units=units, projection=_width(a.encoder.projection, share), inner=inner)
    return replace(
        a,
        vocabulary=words[0] if words else a.vocabulary,
        outputs=a.outputs if a.writer is None else words[-1],
        embedding=_width(a.embedding, share),
        encoder=encoder,
        writer=None if a.writer is None else _narrow_writer(a.writer, share),
        ngram_rows=rows,
        ngram_embedding=_width(a.ngram_embedding, share) if rows else 0,
        lexicon_rows=lexicon,
        lexicon_embedding=_width(a.lexicon_embedding, share) if lexicon else 0,
    )


def _narrow_writer(writer: Writer, share: float) -> Writer:
    return replace(
        writer,
        units=_width(writer.units, share),
        embedding=_width(writer.embedding, share),
        attention_units=_width(writer.attention_units, share),
        inner=_inner(writer.inner, writer.units, share),
    )


def _inner(inner: int, units: int, share: float) -> int:
    """The inner width of a transformer: unless told otherwise it is four times its units."""
    return 4 * _width(units, share) if inner == 4 * units else _width(inner, share)


def _choices(full: _Choice, sizes: _Sizes, limit: int) -> Iterator[_Choice]:
    """Choices to try, the least costly first; each the largest of its kind that fits, if any does."""
    yield full
    full = replace(full, storage="int8")
    yield full
    for stage, (shares, rows_floor, words_floor) in enumerate(STAGES):
        for share in filter(sizes.fits, shares):
            wide = replace(full, share=share)
            low_rows, low_words = min(full.rows, rows_floor), min(full.words, words_floor)
            if stage == 0:
                low_rows, low_words = min(low_rows, full.rows // 2), min(low_words, full.words // 2)
            yield _largest(replace(wide, rows=low_rows), "rows", full.rows, sizes, limit)
            yield _largest(replace(wide, rows=low_rows, words=low_words), "words", full.words, sizes, limit)


def _largest(base: _Choice, field: str, high: int, sizes: _Sizes, limit: int) -> _Choice:
    """`base` with one field raised, to at most `high`, as far as fits; `base` itself where nothing does."""
    low = getattr(base, field)
    while low < high:
        middle = (low + high + 1) // 2
        if sizes.total(_with(base, field, middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return _with(base, field, low)


def _with(base: _Choice, field: str, value: int) -> _Choice:
    return replace(base, rows=value) if field == "rows" else replace(base, words=value)


def _width(value: int, share: float) -> int:
    """A share of a width, a multiple of 4, at least 4; zero stays zero."""
    return value if share == 1.0 or not value else max(min(value, 4), int(value * share) // 4 * 4)


def _changed(prepared: Prepared, full: _Choice, choice: _Choice, limit: int) -> Recipe:
    recipe = prepared.recipe
    sections: dict[str, dict[str, Any]] = {}
    if limit != recipe.export.max_size or choice.storage != full.storage:
        sections["export"] = {"max_size": limit, "weights": choice.storage}
    if choice.rows != full.rows:
        a = prepared.architecture
        ngrams, lexicon = _shared(a, choice.rows)
        inputs: dict[str, Any] = {"ngram_rows": ngrams} if ngrams else {"ngrams": 0, "affixes": 0, "shape": False}
        if a.lexicon_rows:
            inputs |= {"lexicon_rows": lexicon} if lexicon else {"lexicon": ""}
        sections["input"] = inputs
    if choice.words != full.words:
        units = {recipe.input.unit, recipe.input.unit if recipe.input.shared else recipe.input.target_unit}
        if units & {"bpe", "unigram"}:  # of a language model's tokens some are no subwords
            fewer = recipe.input.subwords - (full.words - choice.words)
            sections.setdefault("input", {})["subwords"] = max(1, min(choice.words, fewer))
        if units - {"bpe", "unigram"}:
            sections.setdefault("input", {})["max_vocabulary"] = choice.words
    if choice.share != 1.0:
        names = (*WIDTHS, *WRITER_WIDTHS) if prepared.architecture.writer is not None else WIDTHS
        sections["model"] = {name: _width(getattr(recipe.model, name), choice.share) for name in names}
    return recipe.replace(**sections) if sections else recipe


def _sentences(prepared: Prepared, full: _Choice, choice: _Choice) -> Iterator[str]:
    recipe = prepared.recipe
    if choice.storage != recipe.export.weights:
        yield f"weights stored as {choice.storage}, not {recipe.export.weights}"
    if choice.rows != full.rows:
        a = prepared.architecture
        names = ("n-grams", "words of the lexicon")
        for name, kept, there in zip(names, _shared(a, choice.rows), _rows(a), strict=True):
            if kept < there:
                yield f"{name}: the {kept:,} most frequent of {there:,}" if kept else f"{name}: none"
    if choice.words != full.words:
        yield f"vocabulary: the {choice.words:,} most frequent of {full.words:,}"
    if choice.share != 1.0:
        for name in ("embedding", "units"):
            before = getattr(recipe.model, name)
            yield f"model.{name}: {_width(before, choice.share)}, not {before}"


def _longest_decode(prepared: Prepared) -> dict[str, Any]:
    """Decode settings as long as they can come."""
    if prepared.architecture.language is not None:
        return {"documents": "x" * 8, "carry": False, "template": prepared.recipe.data.template}
    if prepared.architecture.writer is not None:
        decode: dict[str, Any] = prepared.codec.settings.to_dict()
        return decode
    number = [0.12345678901234567e-9] * prepared.architecture.outputs
    return {"multi_label": False, "temperature": number[0], "thresholds": number, "prior": number, "positive": "x" * 64}
