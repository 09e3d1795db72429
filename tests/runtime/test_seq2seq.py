"""Sources read and targets scored: against the equations in float64, alone and in batches."""

import numpy as np
import pytest

from gatework import kernels
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.kernels import transformer
from gatework.kernels.decoding import END, Search
from gatework.kernels.decoding_network import Places
from gatework.runtime import answering
from gatework.runtime.seq2seq import Seq2Seq
from language_models import language_architecture, tensor_file
from oracles.writer import Oracle
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights

RNG = np.random.default_rng(5)
SOURCES = [RNG.integers(1, 17, length) for length in (5, 1, 9, 3)]
TARGETS = [RNG.integers(3, 9, length) for length in (4, 6, 0, 2)]


def built(case, **options):
    architecture = seq2seq_architecture(**CASES[case])
    weights = seq2seq_weights(architecture)
    model = Seq2Seq(architecture, tensor_file(weights), source="small.gw", **options)
    return model, Oracle(architecture, weights)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("level", ["numpy", None])
def test_nats_are_those_of_the_equations(case, level, monkeypatch):
    if level:
        monkeypatch.setenv("GATEWORK_LEVEL", level)
    model, oracle = built(case)
    have = model.nll(SOURCES, TARGETS)
    for source, target, own in zip(SOURCES, TARGETS, have, strict=True):
        np.testing.assert_allclose(own, oracle.nats(source, target), atol=5e-5)


@pytest.mark.parametrize("case", CASES)
def test_steps_give_what_known_targets_give(case):
    """The log p of every token, step by step, and the attention."""
    model, oracle = built(case)
    memory = model.encode(SOURCES)
    network = model.decoder.network
    everyone = range(len(SOURCES))
    places, rows = Places.of(memory, everyone), network.begin(memory, everyone)
    for t, read in enumerate([END, 5, 7]):
        log_p_NV, a_NS, rows = network.step(places, np.full(len(SOURCES), read), rows)
        for b, source in enumerate(SOURCES):
            want, looked = oracle.next(source, [5, 7][:t])
            np.testing.assert_allclose(log_p_NV[b], want, atol=5e-5)
            np.testing.assert_allclose(a_NS[b, : len(source)], looked[-1], atol=5e-5)
            assert not a_NS[b, len(source) :].any()


@pytest.mark.parametrize("case", CASES)
def test_all_tokens_but_padding_share_the_probability(case):
    model, oracle = built(case)
    assert np.exp(oracle.next(SOURCES[0], [4])[0]).sum() == pytest.approx(1.0)
    memory = model.encode(SOURCES[:1])
    network = model.decoder.network
    log_p_1V = network.step(Places.of(memory, [0]), np.array([END]), network.begin(memory, [0]))[0]
    assert np.exp(log_p_1V.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-5)
    assert log_p_1V[0, 0] == -np.inf


@pytest.mark.parametrize("case", ["general", "everything", "no attention"])
def test_what_else_is_asked_changes_nothing(case, monkeypatch):
    model, _ = built(case)
    together = model.nll(SOURCES, TARGETS)
    best = model.answer(SOURCES, Search(beams=3))
    monkeypatch.setattr(answering, "GROUP_TOKENS", 1)
    for own, alone in zip(together, model.nll(SOURCES, TARGETS), strict=True):
        np.testing.assert_allclose(own, alone, atol=1e-5)
    for own, alone in zip(best, model.answer(SOURCES, Search(beams=3)), strict=True):
        assert [one.ids for one in own] == [one.ids for one in alone]


def test_long_rows_of_a_transformer_are_looked_over_in_parts(monkeypatch):
    model, _ = built("transformer")
    want = model.nll(SOURCES, TARGETS)
    monkeypatch.setattr(transformer, "LARGE", 64)
    for own, other in zip(model.nll(SOURCES, TARGETS), want, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.skipif(kernels.level() == "numpy", reason="the definition computes in float32")
def test_precision_changes_answers_a_little(precision):
    exact, _ = built("two layers")
    model, _ = built("two layers", precision=precision)
    want, have = exact.nll(SOURCES, TARGETS), model.nll(SOURCES, TARGETS)
    for one, other in zip(want, have, strict=True):
        np.testing.assert_allclose(one, other, atol=0.5)
    assert any((one != other).any() for one, other in zip(want, have, strict=True))


def test_mistakes():
    model, _ = built("own vocabularies")
    with pytest.raises(DataError, match="span 0 to 3, but the model knows 1 to 16"):
        model.encode([np.array([0, 3])])
    with pytest.raises(DataError, match="no tokens"):
        model.encode([np.array([], dtype=np.int64)])
    with pytest.raises(DataError, match="Ids of a target span 9 to 9, but the model knows 1 to 8"):
        model.nll([np.array([3])], [np.array([9])])
    with pytest.raises(DataError, match="1 sources, but 2 targets"):
        model.nll([np.array([3])], [np.array([4])] * 2)
    with pytest.raises(DataError, match="row of ids"):
        model.encode([np.array([1.5])])
    with pytest.raises(ConfigError, match="precision"):
        built("general", precision="float8")
    architecture = language_architecture()
    with pytest.raises(BundleError, match="no head sequence"):
        Seq2Seq(architecture, tensor_file({}), source="small.gw")
    architecture = seq2seq_architecture()
    weights = seq2seq_weights(architecture)
    del weights["writer.output.bias"]
    with pytest.raises(BundleError, match=r"small.gw: weight 'writer.output.bias' is missing"):
        Seq2Seq(architecture, tensor_file(weights), source="small.gw")
