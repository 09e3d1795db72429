"""Small sequence-to-sequence models with random weights, for tests."""

from dataclasses import replace

import numpy as np

from gatework.core.architecture import Architecture, Encoder
from gatework.core.bundle import write_bundle
from gatework.core.writer import Writer
from gatework.export.storage import store
from gatework.runtime.shapes import weight_shapes
from gatework.tasks.seq2seq import Seq2SeqCodec, Settings

TRANSFORMER = {
    **{"network": "transformer", "cell": "", "units": 8, "bidirectional": False},
    **{"heads": 2, "inner": 11},
}
WRITES = {"network": "transformer", "cell": "", "attention": "heads", "units": 8, "heads": 2, "inner": 9}
CASES = {
    "general": {},
    "dot": {"writer": {"attention": "dot", "units": 12}},
    "additive": {"writer": {"attention": "additive", "attention_units": 5}},
    "no attention": {"writer": {"attention": "none"}},
    "two layers": {"encoder": {"layers": 2}, "writer": {"layers": 2}},
    "two layers without attention": {"writer": {"attention": "none", "layers": 2}},
    "gru": {"encoder": {"cell": "gru"}, "writer": {"cell": "gru"}},
    "one direction": {"encoder": {"bidirectional": False, "layers": 2, "residual": True}},
    "own vocabularies": {"outputs": 9, "writer": {"shared": False, "embedding": 5}},
    "own vocabularies, untied": {"outputs": 9, "writer": {"shared": False, "embedding": 5, "tied": False}},
    "untied": {"writer": {"tied": False}},
    "input feeding": {"writer": {"input_feeding": True, "layers": 2}},
    "input feeding without attention": {"writer": {"input_feeding": True, "attention": "none"}},
    "coverage": {"writer": {"attention": "additive", "attention_units": 5, "coverage": True}},
    "copy": {"writer": {"copy": True}},
    "transformer": {"encoder": TRANSFORMER | {"layers": 2}, "writer": WRITES | {"layers": 2}},
    "lstm under a transformer": {"writer": WRITES | {"heads": 4}},
    "transformer under a gru": {"encoder": TRANSFORMER, "writer": {"cell": "gru", "layers": 2}},
    "transformer, copy": {"encoder": TRANSFORMER, "writer": WRITES | {"copy": True}},
    "transformer, own vocabularies, untied": {
        "outputs": 9,
        "encoder": TRANSFORMER,
        "writer": WRITES | {"shared": False, "tied": False, "units": 6, "embedding": 6, "heads": 3},
    },
    "everything": {
        "encoder": {"layers": 2},
        "writer": {
            "layers": 2,
            "attention": "additive",
            "attention_units": 5,
            "input_feeding": True,
            "coverage": True,
            "copy": True,
        },
    },
}


def seq2seq_architecture(*, writer=None, encoder=None, vocabulary=17, outputs=None, embedding=8, **changes):
    """A small architecture; `writer`, `encoder` and the rest change fields of it."""
    return replace(
        Architecture(
            head="sequence",
            outputs=outputs or vocabulary,
            vocabulary=vocabulary,
            embedding=embedding,
            encoder=replace(Encoder(cell="lstm", units=6), **(encoder or {})),
            pooling=(),
            writer=replace(Writer(cell="lstm", units=7, embedding=embedding), **(writer or {})),
        ),
        **changes,
    )


def seq2seq_weights(architecture, seed=0, scale=0.7):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in weight_shapes(architecture).items()}


def write_model(path, text, *, task="translate", settings=None, seed=0, case="general", **config):
    """A bundle of random weights whose codec for both sides is a `RunningCodec`; its codec."""
    codec = Seq2SeqCodec(text, text, settings or Settings(beams=3, max_ratio=1.0))
    architecture = seq2seq_architecture(**CASES[case], vocabulary=text.vocabulary)
    decode = codec.settings.to_dict()
    write_bundle(
        path,
        config={"gatework": "0", "task": task, "architecture": architecture.to_dict(), "decode": decode, **config},
        weights=store(seq2seq_weights(architecture, seed), "fp32").tensors,
        entries=codec.to_entries(),
    )
    return codec
