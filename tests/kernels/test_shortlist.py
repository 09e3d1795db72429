"""Lists of the tokens that may come: the compiled loop against the definition, which has -inf for all others."""

import numpy as np
import pytest

from gatework import kernels
from gatework.core.automaton import Constraint
from gatework.kernels.automaton import Pieces, lift, nearer
from gatework.kernels.decoding import END, Search
from gatework.kernels.decoding_definition import decode_one
from gatework.kernels.sampling import Sampling
from gatework.runtime.ensemble import Ensemble
from gatework.runtime.seq2seq import Seq2Seq
from language_models import tensor_file
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights

VOCABULARY = 90
"""More than a panel of the packed output table."""
LETTERS = [b"", b"", b"", b" ", *(bytes([97 + n % 26]) * (1 + n // 26) for n in range(VOCABULARY - 4))]
KINDS = ["general", "two layers", "no attention", "everything", "copy", "transformer, copy", "together"]
SEARCHES = {
    "greedy": Search(max_tokens=6),
    "beams": Search(beams=4, count=3, max_tokens=6, never=(1, 5)),
    "no repeats": Search(beams=3, count=2, max_tokens=7, no_repeat=1, min_tokens=4),
    "draws": Search(count=4, max_tokens=6, sampling=Sampling(exempt=END)),
    "few draws": Search(count=2, max_tokens=6, sampling=Sampling(top_k=3, exempt=END)),
}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def one_model(case, seed=0, precision="float32"):
    changes = {name: value for name, value in CASES[case].items() if name != "outputs"}
    architecture = seq2seq_architecture(**changes, vocabulary=VOCABULARY)
    weights = tensor_file(seq2seq_weights(architecture, seed))
    return Seq2Seq(architecture, weights, source="small.gw", precision=precision)


def made(case, **options):
    if case == "together":
        return Ensemble(
            [one_model(name, seed, **options) for seed, name in enumerate(("general", "copy", "transformer"))]
        )
    return one_model(case, **options)


def sources_and_lists(rng):
    sources = [rng.integers(3, VOCABULARY, size) for size in (5, 1, 7, 3)]
    lists = [np.unique(np.concatenate([[END], one, rng.integers(1, VOCABULARY, 30)])) for one in sources]
    return sources, [None if place == 2 else ids.astype(np.int32) for place, ids in enumerate(lists)]


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("search", SEARCHES)
def test_as_the_definition_says(case, search, rng):
    model, asked = made(case), SEARCHES[search]
    sources, lists = sources_and_lists(rng)
    memory, seeds = model.encode(sources), [3, 4, 5, 6]
    found = model.decode(memory, asked, seeds=seeds, only=lists)
    for b, own in enumerate(found):
        plan = asked.plan(len(sources[b]), (), seeds[b], lists[b])
        want = decode_one(model.decoder.network, memory, b, asked, plan)
        assert [(one.ids, one.reason) for one in own] == [(one.ids, one.reason) for one in want]
        np.testing.assert_allclose([one.score for one in own], [one.score for one in want], atol=2e-4)
        if lists[b] is not None:
            assert all(set(one.ids) <= set(lists[b].tolist()) for one in own)
    alone = model.decode(model.encode(sources), asked, seeds=seeds)
    assert [one.ids for one in alone[2]] == [one.ids for one in found[2]]


@pytest.mark.skipif(kernels.level() == "numpy", reason="there are no packed products")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("case", ["general", "transformer"])
def test_a_list_of_all_tokens_changes_no_bit(case, precision, rng):
    model = made(case, precision=precision)
    sources = [rng.integers(3, VOCABULARY, size) for size in (5, 1, 7)]
    memory, everything = model.encode(sources), np.arange(1, VOCABULARY, dtype=np.int32)
    search = Search(beams=3, count=2, max_tokens=8)
    lists = [everything] * 3
    for have, want in zip(model.decode(memory, search, only=lists), model.decode(memory, search), strict=True):
        assert [one.ids for one in have] == [one.ids for one in want]
        np.testing.assert_allclose([one.log_p for one in have], [one.log_p for one in want], rtol=1e-6)


@pytest.mark.parametrize("case", ["general", "everything", "together"])
def test_what_must_come_comes(case, rng):
    model = made(case)
    sources, lists = sources_and_lists(rng)
    lifted = lift(Constraint(must=("qq", "rv")).dfa, Pieces(LETTERS))
    needed = nearer(lifted)
    raw = [LETTERS[token] for token in needed]
    assert {b"qq", b"r", b"v", b" "} <= set(raw)
    assert not {b"a", b"zz"} & set(raw)
    lists = [None if ids is None else np.union1d(ids, needed).astype(np.int32) for ids in lists]
    search = Search(beams=3, automaton=lifted, grid=True, max_tokens=12)
    for b, own in enumerate(model.decode(model.encode(sources), search, only=lists)):
        text = b"".join(LETTERS[token] for token in own[0].ids)
        assert b"qq" in text
        assert b"rv" in text
        assert lists[b] is None or set(own[0].ids) <= set(lists[b].tolist())
