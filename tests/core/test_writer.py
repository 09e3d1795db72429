"""The writer of a head sequence: what fits and what does not, and the names and shapes of its weights."""

import json
from dataclasses import asdict

import pytest

from gatework.core.architecture import Architecture, LanguageModel
from gatework.core.errors import BundleError
from gatework.runtime.shapes import weight_shapes
from seq2seqs import CASES, seq2seq_architecture


@pytest.mark.parametrize("case", CASES)
def test_written_and_read_back(case):
    architecture = seq2seq_architecture(**CASES[case])
    values = json.loads(json.dumps(architecture.to_dict()))
    assert Architecture.from_dict(values, source="a") == architecture


WRITER = asdict(seq2seq_architecture().writer)
TRANSFORMER = asdict(seq2seq_architecture(**CASES["transformer"]).writer)
ENCODER = asdict(seq2seq_architecture().encoder)
READS = asdict(seq2seq_architecture(**CASES["transformer"]).encoder)
ADDITIVE = {**WRITER, "attention": "additive", "attention_units": 5}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"writer": None}, "need each other"),
        ({"head": "per_step", "decoder": "crf"}, "need each other"),
        ({"head": "next_token", "language": asdict(LanguageModel(directions=("forward",)))}, "output|need each other"),
        ({"pooling": ["mean"]}, "no pooling"),
        ({"also": [3]}, "further tag layers"),
        ({"ngram_rows": 3, "ngram_embedding": 4}, "does not read ngram_rows"),
        ({"lexicon_rows": 3, "lexicon_embedding": 4}, "does not read lexicon_rows"),
        ({"writer": []}, "writer: expected an object"),
        ({"writer": {**WRITER, "kind": "transformer"}}, "writer: unknown entry 'kind'"),
        ({"writer": {**WRITER, "units": 0}}, "writer: units"),
        ({"writer": {**WRITER, "tied": 1}}, "writer: tied"),
        ({"writer": {**WRITER, "attention": "multi-head"}}, "attention must be one of none, dot"),
        ({"writer": {**WRITER, "attention": "additive"}}, "attention_units"),
        ({"writer": {**WRITER, "attention_units": 5}}, "attention_units"),
        ({"writer": {**WRITER, "attention": "dot"}}, "7 against 12"),
        ({"writer": {**WRITER, "coverage": True}}, "coverage needs additive"),
        ({"writer": {**WRITER, "attention": "none", "copy": True}}, "copy needs attention"),
        ({"writer": {**WRITER, "shared": False, "copy": True}}, "copy needs attention and a vocabulary"),
        ({"outputs": 9}, "one vocabulary"),
        ({"embedding": 5}, "one width"),
        ({"outputs": 2, "writer": {**WRITER, "shared": False}}, "leave no token"),
        ({"writer": {**WRITER, "network": "convolution"}}, "network must be one of recurrent, transformer"),
        ({"writer": {**WRITER, "heads": 2}}, "a recurrent writer has a cell, and neither heads"),
        ({"writer": {**WRITER, "cell": ""}}, "a recurrent writer has a cell"),
        ({"writer": {**WRITER, "attention": "heads"}}, "by heads is a transformer's"),
        ({"writer": {**TRANSFORMER, "attention": "general"}}, "by heads is a transformer's"),
        ({"writer": {**TRANSFORMER, "cell": "lstm"}}, "are of a recurrent writer"),
        ({"writer": {**TRANSFORMER, "input_feeding": True}}, "input_feeding and coverage are of a recurrent"),
        ({"writer": {**TRANSFORMER, "heads": 3}}, "a multiple of its heads: 8 units, 3 heads"),
        ({"writer": {**TRANSFORMER, "heads": 0}}, "has heads and an inner width"),
        ({"writer": {**TRANSFORMER, "inner": 0}}, "has heads and an inner width"),
        ({"writer": {**TRANSFORMER, "heads": 2**40}}, "heads is 1099511627776, outside"),
        ({"writer": {**TRANSFORMER, "units": 16}}, "as wide as its vectors: 16 units against 8"),
        ({"writer": {**TRANSFORMER, "layers": 2000}}, "layers is 2000, outside"),
        ({"encoder": {**ENCODER, "heads": 2}}, "recurrent layers have a cell, and no heads"),
        ({"encoder": {**ENCODER, "cell": ""}}, "recurrent layers have a cell"),
        ({"encoder": {**READS, "bidirectional": True}}, "encoder: a transformer has no cell, direction"),
        ({"encoder": {**READS, "cell": "lstm"}}, "encoder: a transformer has no cell, direction"),
        ({"encoder": {**READS, "units": 10}}, "encoder: a transformer is as wide"),
        ({"encoder": {**READS, "heads": 16}}, "8 units, 16 heads"),
        ({"encoder": READS, "head": "per_sequence", "writer": None, "pooling": ["mean"]}, "has no transformer"),
    ],
)
def test_what_does_not_fit_is_an_error(change, says):
    values = seq2seq_architecture().to_dict()
    with pytest.raises(BundleError, match=rf"^a: .*({says})"):
        Architecture.from_dict({**values, **change}, source="a")


def test_shapes_by_the_equations():
    """Widths add up where the equations put vectors one after the other: E 8, H 7, P 12, A 5, V 17."""
    shapes = weight_shapes(seq2seq_architecture(**CASES["everything"]))
    assert shapes["writer.0.w_GI"] == (4 * 7, 8 + 8)
    assert shapes["writer.1.w_GI"] == (4 * 7, 7 + 12)
    assert {name for name in shapes if "bridge" in name} == {
        f"writer.bridge.{layer}.{part}.{kind}" for layer in (0, 1) for part in "hc" for kind in ("weight", "bias")
    }
    assert shapes["writer.bridge.1.c.weight"] == (7, 12)
    assert shapes["writer.attention.q_AH"] == (5, 7)
    assert shapes["writer.attention.m_AP"] == (5, 12)
    assert shapes["writer.attention.c_A"] == (5,)
    assert shapes["writer.output.weight"] == (8, 7 + 12)
    assert shapes["writer.copy.weight"] == (1, 12 + 7 + 8)
    assert shapes["head.bias"] == (17,)
    assert "head.weight" not in shapes
    assert "writer.embedding.weight" not in shapes


def test_shapes_of_a_transformer_by_the_equations():
    """Width 8, I 11 and 9, P 8 of a transformer and 12 of an LSTM in both directions."""
    shapes = weight_shapes(seq2seq_architecture(**CASES["transformer"]))
    assert shapes["encoder.1.self.weight"] == (24, 8)
    assert shapes["encoder.1.inner.weight"] == (11, 8)
    assert shapes["writer.1.inner.output.weight"] == (8, 9)
    assert shapes["writer.1.source.memory.weight"] == (16, 8)
    assert shapes["writer.norm.gain"] == shapes["encoder.norm.shift"] == (8,)
    assert not any("source" in name for name in shapes if name.startswith("encoder."))
    assert not any("bridge" in name or name.startswith("writer.output") for name in shapes)
    assert weight_shapes(seq2seq_architecture(**CASES["lstm under a transformer"]))[
        "writer.0.source.memory.weight"
    ] == (16, 12)


def test_a_bundle_from_before_transformers_is_read():
    values = seq2seq_architecture().to_dict()
    for part in ("encoder", "writer"):
        for name in ("network", "heads", "inner"):
            del values[part][name]
    assert Architecture.from_dict(values, source="a") == seq2seq_architecture()


def test_tables_of_their_own():
    shapes = weight_shapes(seq2seq_architecture(**CASES["own vocabularies, untied"]))
    assert shapes["embedding.weight"] == (17, 8)
    assert shapes["writer.embedding.weight"] == shapes["head.weight"] == (9, 5)
