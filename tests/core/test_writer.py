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


def test_tables_of_their_own():
    shapes = weight_shapes(seq2seq_architecture(**CASES["own vocabularies, untied"]))
    assert shapes["embedding.weight"] == (17, 8)
    assert shapes["writer.embedding.weight"] == shapes["head.weight"] == (9, 5)
