"""The classification codec of a bundle: texts to token ids on one side, logits to labels on the other.

Bundle entries: `tokenizer/...` as `gatework.text` writes them, and `labels.json`, a list of the label names in the
order of the network's outputs. The `decode` object of `config.json` is `answer.Settings`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.strict_json import parse
from gatework.tasks.classify.answer import Classification, FloatArray, Settings, decode
from gatework.tasks.task import Codec

if TYPE_CHECKING:
    from gatework.core.batch import TextBatch
    from gatework.text import Encoded, TextCodec

LABELS_ENTRY = "labels.json"
MOST_LABELS = 1_000_000


class ClassifyCodec(Codec):
    """Text in, `Classification` out."""

    def __init__(self, text: TextCodec, labels: Sequence[str], settings: Settings) -> None:
        self.text = text
        self.labels = tuple(labels)
        self.settings = settings

    def encode(self, example: str | Sequence[str]) -> Encoded:
        if not isinstance(example, str):
            raise DataError("a classifier takes texts, not lists of tokens. Give each text as one string.")
        return self.text.encode(example)

    @property
    def reads_ids(self) -> bool:
        return self.text.ids_alone

    def encode_ids(self, ids_T: Any) -> Encoded:
        return self.text.encode_ids(ids_T)

    def use(self, ngram_search: Callable[..., int] | None) -> None:
        if self.text.ngrams is not None:
            self.text.ngrams.search = ngram_search

    def collate(self, encoded: Sequence[Encoded]) -> TextBatch:
        return self.text.collate(encoded)

    def decode(self, outputs: FloatArray, encoded: Sequence[Encoded], **options: Any) -> list[Classification]:
        """Answers for logits (B, C) of the B encoded texts; `top_k` and `threshold` as in `answer.decode`."""
        if options and (odd := sorted(set(options) - {"top_k", "threshold"})):
            raise ConfigError(f"predict: a classifier has no option {odd[0]!r}. Known: top_k, threshold.")
        empty_B = [one.empty for one in encoded]
        return decode(outputs, empty_B, self.settings, self.labels, **options)


def labels_entry(labels: Sequence[str]) -> bytes:
    """The `labels.json` of a bundle."""
    return json.dumps(list(labels), ensure_ascii=False, indent=0).encode()


def open_codec(config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> ClassifyCodec:
    """The codec of a bundle.

    Args:
        config: its `config.json`.
        entries: its other entries by name, as bytes or views of bytes.
        source: its name for errors.
    Raises: BundleError: an entry is missing or not what it should be.
    """
    from gatework.text import TextCodec

    labels = _labels(entries, source)
    outputs = config.get("architecture", {}).get("outputs", len(labels))
    if outputs != len(labels):
        raise BundleError(f"{source}: {LABELS_ENTRY} names {len(labels)} labels, the network has {outputs} outputs.")
    settings = Settings.from_dict(config.get("decode", {}), labels, source=f"{source}: config.json")
    text = TextCodec.from_entries(entries, source=source)
    _check_sizes(text, config.get("architecture", {}), source)
    return ClassifyCodec(text, labels, settings)


def _check_sizes(text: TextCodec, architecture: Mapping[str, Any], source: str) -> None:
    """Raise BundleError where the codec gives ids that the network's tables have no row for, or none it needs."""
    characters = architecture.get("characters") or {}
    sizes = {
        "tokens": (len(text.vocabulary), architecture.get("vocabulary")),
        "n-grams": (len(text.ngrams) if text.ngrams is not None else 0, architecture.get("ngram_rows")),
        "characters": (len(text.characters) if text.characters is not None else 0, characters.get("vocabulary")),
    }
    for what, (have, wanted) in sizes.items():
        if wanted is not None and have != wanted:
            raise BundleError(
                f"{source}: the tokenizer has {have} {what}, the network {wanted}. Export the model again."
            )


def _labels(entries: Mapping[str, Any], source: str) -> tuple[str, ...]:
    if LABELS_ENTRY not in entries:
        raise BundleError(f"{source}: {LABELS_ENTRY} is missing. Export the model again.")
    labels = parse(entries[LABELS_ENTRY], source=f"{source}: {LABELS_ENTRY}")
    if not isinstance(labels, list) or not 2 <= len(labels) <= MOST_LABELS:
        raise BundleError(f"{source}: {LABELS_ENTRY} must be a list of at least two names. Export the model again.")
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise BundleError(f"{source}: {LABELS_ENTRY} must hold different strings. Export the model again.")
    return tuple(labels)
