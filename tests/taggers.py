"""Small taggers with random weights, in nn and as bundles, for tests of what answers at every token."""

from dataclasses import replace

import numpy as np

from gatework.core.architecture import Architecture, Characters, Encoder
from gatework.core.bundle import write_bundle
from gatework.core.recipe import InputSection
from gatework.export.storage import store
from gatework.runtime.shapes import weight_shapes
from gatework.tasks.tag.answer import Settings
from gatework.tasks.tag.codec import entries_of
from gatework.tasks.tag.labels import Layer
from gatework.text import TextCodec

SENTENCES = (
    ["Mr", "Smith", "met", "Ann", "Lee", "in", "New", "York", "."],
    ["The", "plot", "of", "a", "great", "film", ",", "said", "Smith", "."],
    ["New", "York", "is", "far", "from", "York", "."],
    ["Ann"],
    ["Lee", "Smith", "of", "the", "New", "Film", "Board", "met", "Mr", "Lee"],
)
SPANS = Layer("ner", "bio", ("O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC"))
CLASSES = Layer("pos", "none", ("A", "N", "P", "V", "X"))
WORDS = (("New", "York"), ("New", "York", "is"), ("York",), ("Ann", "Lee"), ("Smith",), ("film",), ("plot", "of", "a"))


def tag_codec(*, lexicon=False, **options):
    """A codec fitted to SENTENCES; options of `[input]`."""
    settings = InputSection(
        **{"unit": "word", "min_count": 1, "ngram_min_count": 1, "ngrams": 2, "affixes": 2, "window": 12, **options}
    )
    codec = TextCodec.fit_tokens(lambda: SENTENCES, settings)
    if lexicon:
        codec.learn_lexicon(((word, None) for word in WORDS), iter(SENTENCES), rows=100)
    return codec


def tag_architecture(codec, *, layers=(SPANS,), encoder=None, kind="cnn", **changes):
    """An architecture that fits a codec, small; `encoder` and the rest change fields of it."""
    characters = None
    if codec.characters is not None:
        characters = Characters(kind=kind, vocabulary=len(codec.characters), embedding=4, units=6, width=3)
    base = Architecture(
        head="per_step",
        decoder="crf",
        outputs=len(layers[0].labels),
        also=tuple(len(layer.labels) for layer in layers[1:]),
        vocabulary=len(codec.vocabulary),
        embedding=6,
        encoder=replace(Encoder(cell="lstm", units=5), **(encoder or {})),
        pooling=(),
        characters=characters,
        ngram_rows=len(codec.ngrams) if codec.ngrams is not None else 0,
        ngram_embedding=3 if codec.ngrams is not None else 0,
        lexicon_rows=len(codec.lexicon) if codec.lexicon is not None else 0,
        lexicon_embedding=4 if codec.lexicon is not None else 0,
        window=codec.window,
    )
    return replace(base, **changes)


TABLES = ("embedding.weight", "local.weight", "characters.embedding.weight", "lexicon.weight")


def tag_weights(shape_of, seed=0, scale=0.6):
    """Float32 weights of an architecture; row 0 of the tables that have one for padding is zero."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in weight_shapes(shape_of).items()}
    for name in TABLES:
        if name in weights:
            weights[name][0] = 0.0
    return weights


def write_tagger(path, *, layers=(SPANS,), storage="fp32", codec=None, seed=0, weights=None, entries=None, decode=None,
                 architecture=None, **changes):  # fmt: skip
    """Write a small tagger as a bundle.

    Args:
        weights, entries: arrays or bytes put in place of, or beside, the right ones; None takes one away.
        decode: changes of the `decode` object; architecture: of the network as config.json tells it.
        changes: of the architecture.
    Returns: the architecture, its weights, and the codec.
    """
    codec = codec or tag_codec()
    shape_of = tag_architecture(codec, layers=layers, **changes)
    arrays = tag_weights(shape_of, seed)
    stored = store(arrays, storage)
    settings = Settings(layers=tuple(one.name for one in layers), schemes=tuple(one.scheme for one in layers))
    write_bundle(
        path,
        config={
            "task": "tag",
            "architecture": {**shape_of.to_dict(), **(architecture or {})},
            "decode": {**settings.to_dict(), **(decode or {})},
        },
        weights=_replaced(stored.tensors, weights),
        entries=_replaced({**codec.to_entries(), **entries_of(layers)}, entries),
        bfloat16=stored.bfloat16,
    )
    return shape_of, arrays, codec


def _replaced(values, changes):
    merged = {**values, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
