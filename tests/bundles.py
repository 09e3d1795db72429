"""Small models with random weights, for tests of bundles and of what answers from them. No torch, no training."""

from dataclasses import replace

import numpy as np

from gatework.core.architecture import Architecture, Characters, Encoder
from gatework.core.bundle import write_bundle
from gatework.core.recipe import InputSection
from gatework.export.storage import store
from gatework.runtime.shapes import weight_shapes
from gatework.text import TextCodec

TEXTS = (
    "a great film , great acting",
    "a dull film",
    "the acting was dull and the plot was dull too",
    "great great great",
    "the plot of a great film",
    "acting",
)
LABELS = ("bad", "good", "mixed")


def text_codec(**options):
    """A codec fitted to TEXTS; options of `[input]`."""
    settings = InputSection(**{"unit": "word", "min_count": 1, "ngram_min_count": 1, "window": 8, **options})
    return TextCodec.fit(lambda: TEXTS, settings, rng=np.random.default_rng(0))


def architecture(codec, *, encoder=None, **changes):
    """An architecture that fits a codec, small; `encoder` and the rest change fields of it."""
    characters = None
    if codec.characters is not None:
        characters = Characters(kind="cnn", vocabulary=len(codec.characters), embedding=4, units=6, width=3)
    base = Architecture(
        head="per_sequence",
        outputs=len(LABELS),
        vocabulary=len(codec.vocabulary),
        embedding=6,
        encoder=replace(Encoder(cell="lstm", units=5), **(encoder or {})),
        pooling=("mean", "max"),
        characters=characters,
        ngram_rows=len(codec.ngrams) if codec.ngrams is not None else 0,
        ngram_embedding=3 if codec.ngrams is not None else 0,
        window=codec.window,
    )
    return replace(base, **changes)


def random_weights(shape_of, seed=0):
    """Float32 weights of an architecture; row 0 of the tables that have one for padding is zero."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in weight_shapes(shape_of).items()}
    for name in ("embedding.weight", "local.weight", "characters.embedding.weight"):
        if name in weights:
            weights[name][0] = 0.0
    return weights


def config(shape_of, **changes):
    """The `config.json` of a small model."""
    decode = {"multi_label": False, "temperature": 1.5, "prior": [0.5, 0.3, 0.2]}
    return {"gatework": "0", "task": "classify", "architecture": shape_of.to_dict(), "decode": decode, **changes}


def write_small(
    path, *, storage="fp32", seed=0, input=None, entries=None, weights=None, config_changes=None, **changes
):
    """Write a small model as a bundle.

    Args:
        input: options of `[input]`.
        entries, weights: bytes or arrays put in place of, or beside, the right ones; None takes one away.
        config_changes: of `config.json`.
        changes: of the architecture.
    Returns: the architecture, its weights, and the codec.
    """
    codec = text_codec(**(input or {}))
    shape_of = architecture(codec, **changes)
    arrays = random_weights(shape_of, seed)
    stored = store(arrays, storage)
    tensors = _replaced(stored.tensors, weights)
    own = {**codec.to_entries(), "labels.json": ('["' + '","'.join(LABELS) + '"]').encode()}
    write_bundle(
        path,
        config={**config(shape_of), **(config_changes or {})},
        weights=tensors,
        entries=_replaced(own, entries),
        bfloat16=stored.bfloat16,
    )
    return shape_of, arrays, codec


def _replaced(values, changes):
    merged = {**values, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
