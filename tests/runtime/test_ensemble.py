"""Models that answer together: the mixture of their probabilities, the search over it, and what does not fit."""

from itertools import product

import numpy as np
import pytest

import gatework as package
import language_models
from gatework.core.errors import ConfigError
from gatework.kernels.decoding import Search
from gatework.kernels.decoding_definition import decode_one
from gatework.kernels.sampling import Sampling
from gatework.runtime.ensemble import Ensemble
from gatework.runtime.seq2seq import Seq2Seq
from gatework.text.running import RunningCodec
from language_models import tensor_file
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights, write_model

SOURCES = [np.array([3, 4, 5, 3]), np.array([5]), np.array([4, 4])]
KINDS = ["general", "everything", "no attention", "gru"]
WORDS = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog"])


def member(case, seed):
    changes = {name: value for name, value in CASES[case].items() if name != "outputs"}
    architecture = seq2seq_architecture(**changes, vocabulary=6)
    return Seq2Seq(architecture, tensor_file(seq2seq_weights(architecture, seed)), source="small.gw")


@pytest.fixture(scope="module")
def together():
    members = [member(case, seed) for seed, case in enumerate(KINDS)]
    return Ensemble(members), members


def test_known_targets_are_as_likely_as_the_mixture_says(together):
    ensemble, members = together
    targets = [np.array(one) for one in ([3, 5], [], [4, 4, 4])]
    each = [one.nll(SOURCES, targets) for one in members]
    for place, nats in enumerate(ensemble.nll(SOURCES, targets)):
        want = -np.log(np.mean([np.exp(-own[place].astype(np.float64)) for own in each], axis=0))
        np.testing.assert_allclose(nats, want, atol=1e-5)


def test_all_beams_find_the_best_of_the_mixture(together):
    ensemble, _ = together
    search = Search(beams=64, max_tokens=3, never=(1,), length_penalty=0.0, count=3)
    found = ensemble.answer(SOURCES, search)
    every = [ids for length in range(3) for ids in product((3, 4, 5), repeat=length)]
    for place, own in enumerate(found):
        log_p = [-float(ensemble.nll([SOURCES[place]], [np.array(ids, dtype=int)])[0].sum()) for ids in every]
        best = np.argsort(-np.array(log_p), kind="stable")
        ended = [one for one in own if one.reason == "end"]
        assert ended
        for one, want in zip(ended, best, strict=False):
            assert one.ids == every[want]
            assert one.log_p == pytest.approx(log_p[want], abs=1e-4)
            assert one.attention_TS.shape == (len(one.ids) + 1, len(SOURCES[place]))
            np.testing.assert_allclose(one.attention_TS.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"beams": 3, "count": 3}, {"count": 3, "sampling": Sampling(exempt=2)}])
@pytest.mark.parametrize("kinds", [KINDS, ["transformer", "copy"], ["no attention", "two layers without attention"]])
def test_the_compiled_loop_finds_what_the_definition_finds(kinds, options):
    ensemble, search = (
        Ensemble([member(case, seed) for seed, case in enumerate(kinds)]),
        Search(max_tokens=6, **options),
    )
    memory, seeds = ensemble.encode(SOURCES), [7, 8, 9]
    for b, own in enumerate(ensemble.decode(memory, search, seeds=seeds)):
        want = decode_one(ensemble.decoder.network, memory, b, search, search.plan(len(SOURCES[b]), (), seeds[b]))
        assert [(one.ids, one.reason) for one in own] == [(one.ids, one.reason) for one in want]
        np.testing.assert_allclose([one.log_p for one in own], [one.log_p for one in want], atol=2e-4)
        for one, other in zip(own, want, strict=True):
            assert (one.attention_TS is None) == (other.attention_TS is None)
            if one.attention_TS is not None:
                np.testing.assert_allclose(one.attention_TS, other.attention_TS, atol=1e-5)


def test_a_model_with_itself_says_what_it_says_alone():
    one = member("everything", 3)
    alone, twice = (
        model.answer(SOURCES, Search(beams=3, count=2, max_tokens=6)) for model in (one, Ensemble([one] * 2))
    )
    for have, want in zip(twice, alone, strict=True):
        assert [own.ids for own in have] == [own.ids for own in want]
        for own, other in zip(have, want, strict=True):
            assert own.log_p == pytest.approx(other.log_p, abs=1e-4)
            np.testing.assert_allclose(own.attention_TS, other.attention_TS, atol=1e-5)


def test_bundles_are_loaded_together(tmp_path):
    paths = [tmp_path / name for name in ("a.gw", "b.gw", "c.gw")]
    for seed, (path, case) in enumerate(zip(paths, ("general", "copy", "additive"), strict=True)):
        write_model(path, WORDS, seed=seed, case=case)
    model, single = package.load(paths), package.load(paths[0])
    pairs = [("red cat", "blue"), ("dog", "dog dog")]
    scores = [[one.log_p for one in package.load(path).score([pairs[0]])] for path in paths]
    assert len(scores) == 3
    assert min(scores)[0] < model.score([pairs[0]])[0].log_p < max(scores)[0]
    assert package.load([paths[0]]).predict("red cat").text == single.predict("red cat").text
    answer = model.predict("red cat", beams=4, constraint={"must": ("dog",)}, max_ratio=3.0)
    assert "dog" in answer.text.split()
    assert answer.log_p == pytest.approx(model.score([("red cat", answer.text)])[0].log_p, abs=1e-3)
    assert model.predict("red", temperature=1.0, seed=3).text == model.predict("red", temperature=1.0, seed=3).text


def test_what_does_not_go_together(tmp_path):
    write_model(tmp_path / "a.gw", WORDS)
    write_model(tmp_path / "b.gw", RunningCodec(unit="word", tokens=["red", "green", "blue", "dog", "cat"]))
    write_model(tmp_path / "s.gw", WORDS, task="summarize")
    language_models.write_model(tmp_path / "lm.gw")
    for names, says in (
        (["a.gw", "b.gw"], r"b\.gw: its vocabularies are not those of .*a\.gw"),
        (["a.gw", "s.gw"], r"s\.gw: of the task summarize, but .*a\.gw is of translate"),
        (["lm.gw", "lm.gw"], r"models of the task lm do not answer together"),
        (["a.gw", "lm.gw"], r"lm\.gw: of the task lm"),
        ([], "no model"),
    ):
        with pytest.raises(ConfigError, match=says):
            package.load([tmp_path / name for name in names])
