"""The tagging codec of a bundle: texts or tokens to ids on one side, tag paths to spans on the other.

Bundle entries: `tokenizer/...` as `gatework.text` writes them, and `labels.json`, the tags in the order of the
network's outputs; `labels.1.json` and so on of further layers. The `decode` object of `config.json` is
`answer.Settings`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gatework.core.errors import BundleError, ConfigError, nearest
from gatework.core.paths import Search
from gatework.core.strict_json import parse
from gatework.core.windows import cut as cut_encoded
from gatework.tasks.tag.allow import masks
from gatework.tasks.tag.answer import Settings, Tagged, answer
from gatework.tasks.tag.labels import Layer
from gatework.tasks.tag.sentences import cut
from gatework.tasks.task import Codec, Excerpt

if TYPE_CHECKING:
    from gatework.core.batch import TextBatch
    from gatework.core.paths import TagPaths
    from gatework.text import Encoded, TextCodec

LABELS_ENTRY = "labels.json"
MOST_LABELS = 1_000_000


class Part(NamedTuple):
    """A sentence of an example."""

    surfaces: Sequence[str]
    offsets: Sequence[tuple[int, int]]
    """Of each token in the example's text."""
    first: int
    """Number of its first token within the example."""


class TagExample(NamedTuple):
    """An example, ready for the network."""

    text: str
    """The caller's string, or the caller's tokens joined by spaces."""
    parts: tuple[Part, ...]
    encoded: tuple[Encoded, ...]
    """Of each part."""
    given: bool
    """The caller gave tokens."""


class TagCodec(Codec):
    """Text or tokens in, `Tagged` out."""

    def __init__(self, text: TextCodec, layers: Sequence[Layer], settings: Settings) -> None:
        self.text = text
        self.layers = tuple(layers)
        self.labels = self.layers[0].labels
        self.settings = settings
        self.constraints = tuple(layer.constraints for layer in self.layers)

    def encode(self, example: str | Sequence[str]) -> TagExample:
        if isinstance(example, str):
            return self._running(example)
        offsets, at = [], 0
        for token in example:
            offsets.append((at, at + len(token)))
            at += len(token) + 1
        parts = (Part(tuple(example), offsets, 0),) if example else ()
        return self._example(" ".join(example), parts, given=True)

    @property
    def reads_ids(self) -> bool:
        return self.text.ids_alone

    def encode_ids(self, ids_T: Any) -> TagExample:
        """Ids as tokens that were given: those of the vocabulary stand for them."""
        encoded = self.text.encode_ids(ids_T)
        if encoded.empty:
            return self.encode([])
        example = self.encode([self.text.vocabulary.word(one) for one in encoded.tokens.tolist()])
        return example._replace(encoded=(encoded,))

    def _running(self, text: str) -> TagExample:
        """Running text as sentences of tokens."""
        offsets = self.text.offsets(text)
        if self.settings.space and offsets:
            offsets = _with_spaces(text, offsets)
        lines = self.text.unit in SINGLE
        parts = []
        for tokens in cut(text, offsets, stops=self.settings.cut, lines=lines):
            places = offsets[tokens.start : tokens.stop]
            parts.append(Part([text[start:end] for start, end in places], places, tokens.start))
        return self._example(text, tuple(parts), given=False)

    def _example(self, text: str, parts: tuple[Part, ...], *, given: bool) -> TagExample:
        sign = self.settings.space
        encoded = [
            self.text.encode_tokens([one if one != " " else sign for one in part.surfaces] if sign else part.surfaces)
            for part in parts
        ]
        return TagExample(text, parts, tuple(encoded), given)

    def parts(self, encoded: TagExample) -> Sequence[Encoded]:
        return encoded.encoded

    def knows(self, token: str) -> bool:
        """Whether a token is in the vocabulary."""
        return self.text.normalise(token) in self.text.vocabulary

    def use(self, ngram_search: Callable[..., int] | None) -> None:
        if self.text.ngrams is not None:
            self.text.ngrams.search = ngram_search

    def collate(self, encoded: Sequence[Encoded]) -> TextBatch:
        return self.text.collate(encoded)

    def search(self, encoded: Sequence[TagExample], **options: Any) -> Search:
        """The paths and masks that `top_k` and `allow` ask for."""
        _check(options)
        allow = options.get("allow")
        if allow is None:
            return Search(paths=options.get("top_k") or 1)
        if len(encoded) != 1:
            raise ConfigError(f"allow is about the places of one text, got {len(encoded)} texts. Ask one by one.")
        return Search(paths=options.get("top_k") or 1, allowed=[masks(allow, encoded[0], self.layers[0])])

    def excerpt(self, encoded: TagExample, part: int, first: int, last: int) -> Excerpt:
        one = encoded.parts[part]
        places = one.offsets[first:last]
        start, end = places[0][0], places[-1][1]
        moved = Part(one.surfaces[first:last], [(at - start, to - start) for at, to in places], 0)
        some = cut_encoded(encoded.encoded[part], first, last)
        return Excerpt(TagExample(encoded.text[start:end], (moved,), (some,), encoded.given), start)

    def moved(self, answer: Tagged, characters: int, tokens: int) -> Tagged:
        return answer.moved(characters, tokens)

    def decode(
        self, outputs: Sequence[Sequence[Sequence[TagPaths]]], encoded: Sequence[TagExample], **options: Any
    ) -> list[Tagged]:
        """Answers; `outputs` holds for each example, for each of its parts, for each layer, its tag paths."""
        _check(options)
        top_k, threshold = options.get("top_k"), options.get("threshold")
        return [
            answer(example, paths, self.layers, self.settings, top_k=top_k, threshold=threshold)
            for example, paths in zip(encoded, outputs, strict=True)
        ]


OPTIONS = ("top_k", "threshold", "allow")
MOST_PATHS = 1000
SINGLE = ("glyph", "char", "zh-char")
"""Units in whose texts every line break ends a sentence."""


def _check(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in OPTIONS:
            raise ConfigError(f"{name!r} is no option of tagging. {nearest(name, OPTIONS)}")
    top_k, threshold = options.get("top_k"), options.get("threshold")
    if top_k is not None and not 1 <= top_k <= MOST_PATHS:
        raise ConfigError(f"top_k must be in [1, {MOST_PATHS}], got {top_k}. Leave it out for the best path alone.")
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"threshold must be in [0, 1], got {threshold}. Leave it out for every span.")


def _with_spaces(text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """`offsets` with a token for each blank between two of them."""
    found = [offsets[0]]
    for start, end in offsets[1:]:
        found += [(place, place + 1) for place in range(found[-1][1], start) if text[place] == " "]
        found.append((start, end))
    return found


def entries_of(layers: Sequence[Layer]) -> dict[str, bytes]:
    """The entries that hold the tags of each layer."""
    return {
        _entry(index): json.dumps(list(layer.labels), ensure_ascii=False, indent=0).encode()
        for index, layer in enumerate(layers)
    }


def open_codec(config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> TagCodec:
    """The codec of a bundle.

    Args:
        config: its `config.json`.
        entries: its other entries by name, as bytes or views of bytes.
        source: its name for errors.
    Raises: BundleError: an entry is missing or not what it should be.
    """
    from gatework.text import TextCodec

    settings = Settings.from_dict(config.get("decode", {}), source=f"{source}: config.json")
    layers: list[Layer] = []
    for index, (name, scheme) in enumerate(zip(settings.layers, settings.schemes, strict=True)):
        labels = _labels(entries, _entry(index), source)
        layer = Layer(name, scheme, labels)
        try:
            layer.constraints  # noqa: B018 - it checks the tags
        except ConfigError as error:
            raise BundleError(f"{source}: {_entry(index)}: {error}") from None
        layers.append(layer)
    text = TextCodec.from_entries(entries, source=source)
    _check_sizes(text, layers, config.get("architecture", {}), source)
    return TagCodec(text, layers, settings)


def _entry(index: int) -> str:
    return LABELS_ENTRY if index == 0 else f"labels.{index}.json"


def _check_sizes(text: TextCodec, layers: Sequence[Layer], architecture: Mapping[str, Any], source: str) -> None:
    """Raise BundleError where the codec gives ids that the network has no row for, or names other tags."""
    characters = architecture.get("characters") or {}
    sizes = {
        "tokens": (len(text.vocabulary), architecture.get("vocabulary")),
        "characters": (len(text.characters) if text.characters is not None else 0, characters.get("vocabulary")),
        "tags": ([len(layer.labels) for layer in layers], _outputs(architecture)),
    }
    if text.lexicon is not None or architecture.get("lexicon_rows"):
        sizes["words of a lexicon"] = (
            len(text.lexicon) if text.lexicon is not None else 0,
            architecture.get("lexicon_rows", 0),
        )
    if architecture.get("ngram_rows"):
        sizes["n-grams"] = (len(text.ngrams) if text.ngrams is not None else 0, architecture["ngram_rows"])
    for what, (have, wanted) in sizes.items():
        if wanted is not None and have != wanted:
            raise BundleError(
                f"{source}: the tokenizer has {have} {what}, the network {wanted}. Export the model again."
            )


def _outputs(architecture: Mapping[str, Any]) -> list[int] | None:
    if "outputs" not in architecture:
        return None
    return [architecture["outputs"], *architecture.get("also", ())]


def _labels(entries: Mapping[str, Any], name: str, source: str) -> tuple[str, ...]:
    if name not in entries:
        raise BundleError(f"{source}: {name} is missing. Export the model again.")
    labels = parse(entries[name], source=f"{source}: {name}")
    if not isinstance(labels, list) or not 2 <= len(labels) <= MOST_LABELS:
        raise BundleError(f"{source}: {name} must be a list of at least two tags. Export the model again.")
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise BundleError(f"{source}: {name} must hold different strings. Export the model again.")
    return tuple(labels)
