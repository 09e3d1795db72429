"""Searching for targets: against all targets of a few tokens, with probabilities by the equations in float64."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gatework import kernels
from gatework.core.automaton import Constraint
from gatework.core.errors import ConfigError
from gatework.kernels.automaton import Pieces, lift
from gatework.kernels.decoding import END, SLACK, Search
from gatework.kernels.decoding_definition import decode_one
from gatework.kernels.sampling import Sampling
from gatework.runtime.seq2seq import Seq2Seq
from language_models import tensor_file
from oracles.writer import Oracle
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights

SOURCES = [np.array([3, 4, 5, 3]), np.array([5]), np.array([4, 4])]
LONGEST = 3
TOKENS = (3, 4, 5)
ALL = 64
"""Beams: more than there are beginnings."""
PIECES = Pieces([b"", b"", b"", b"a", b"b", b"c"])
SEARCHES = {
    "log p": {"length_penalty": 0.0},
    "mean": {},
    "between": {"length_penalty": 0.6},
    "gnmt": {"length_penalty": 0.0, "gnmt": 0.8},
    "coverage": {"coverage_penalty": 0.4},
}
FEW = ("general", "everything", "no attention", "transformer, copy")


@cache
def built(case, scale=0.7):
    changes = {name: value for name, value in CASES[case].items() if name != "outputs"}
    architecture = seq2seq_architecture(**changes, vocabulary=6)
    weights = seq2seq_weights(architecture, scale=scale)
    return Seq2Seq(architecture, tensor_file(weights), source="small.gw"), Oracle(architecture, weights)


@cache
def targets(case, place, longest=LONGEST):
    return built(case)[1].targets(SOURCES[place].tolist(), longest, TOKENS)


def ranked(search, found):
    """Ids and scores, best first, those that ended before those that were cut; by the formulas of the papers."""
    scored = []
    for ids, log_p, ended, a_TS in found:
        tokens = len(ids) + ended
        score = log_p / max(tokens, 1) ** search.length_penalty / ((5 + tokens) / 6) ** search.gnmt
        if search.coverage_penalty and a_TS.any():
            score += search.coverage_penalty * sum(math.log(min(seen, 1.0)) for seen in a_TS.sum(axis=0))
        scored.append((not ended, -score, ids))
    return [(ids, -score, "length" if cut else "end") for cut, score, ids in sorted(scored)]


def same(have, want):
    assert [one.ids for one in have] == [ids for ids, _, _ in want]
    np.testing.assert_allclose([one.score for one in have], [score for _, score, _ in want], atol=2e-4)
    assert [one.reason for one in have] == [reason for _, _, reason in want]


def exact(search, case, keep=lambda ids: True, **options):
    """What all beams find is the best of all targets that may be written."""
    wide = replace(search, beams=ALL, max_tokens=LONGEST, never=(1,))
    memory = built(case)[0].encode(SOURCES)
    for place, have in enumerate(built(case)[0].decode(memory, wide, **options)):
        want = ranked(wide, [one for one in targets(case, place) if keep(one[0])])[: wide.count]
        assert want
        same(have, want)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("search", SEARCHES)
def test_all_beams_find_the_best_of_all_targets(case, search):
    exact(Search(**SEARCHES[search], count=5), case)


def test_a_penalty_of_coverage_needs_something_that_is_looked_at():
    model, _ = built("no attention")
    memory = model.encode(SOURCES)
    with_it, without = (model.decode(memory, Search(beams=3, coverage_penalty=value)) for value in (0.4, 0.0))
    assert [one[0].score for one in with_it] == [one[0].score for one in without]
    assert with_it[0][0].attention_TS is None


@pytest.mark.parametrize("case", CASES)
def test_one_beam_takes_the_most_likely_token_each_time(case):
    model, oracle = built(case)
    found = model.decode(model.encode(SOURCES), Search(never=(1,), max_tokens=4))
    for source, (best,) in zip(SOURCES, found, strict=True):
        ids, log_p, reason = (), 0.0, "length"
        while len(ids) < 4:
            log_p_V, _ = oracle.next(source, ids)
            log_p_V[1] = -np.inf
            token = int(log_p_V.argmax())
            log_p += log_p_V[token]
            if token == END:
                reason = "end"
                break
            ids = (*ids, token)
        assert (best.ids, best.reason) == (ids, reason)
        assert best.log_p == pytest.approx(log_p, abs=1e-4)
        if "no attention" not in case and "without attention" not in case:
            assert best.attention_TS.shape == (len(ids) + (reason == "end"), len(source))


def narrow(oracle, source, beams, longest):
    """Beginnings and ends of a beam search, one step after the other."""
    live, ended = [((), 0.0)], []
    for _ in range(longest):
        longer = []
        for ids, log_p in live:
            rows = oracle.next(source, ids)[0]
            longer += [((*ids, token), log_p + rows[token]) for token in (END, *TOKENS)]
        longer.sort(key=lambda one: -one[1])
        ended += [(ids[:-1], log_p) for ids, log_p in longer[:beams] if ids[-1] == END]
        live = [one for one in longer if one[0][-1] != END][:beams]
        if len(ended) >= beams:
            return [], ended
    return live, ended


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("beams", [2, 3])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_few_beams(case, beams, penalty):
    model, oracle = built(case)
    search = Search(beams=beams, never=(1,), max_tokens=5, length_penalty=penalty)
    for source, (best,) in zip(SOURCES, model.decode(model.encode(SOURCES), search), strict=True):
        live, ended = narrow(oracle, source.tolist(), beams, 5)
        ids, log_p = max(ended or live, key=lambda one: one[1] / (len(one[0]) + bool(ended)) ** penalty)
        assert best.ids == ids
        assert best.log_p == pytest.approx(log_p, abs=1e-4)
        assert best.reason == ("end" if ended else "length")


@pytest.mark.parametrize("case", FEW)
def test_what_may_come(case):
    exact(Search(min_tokens=2, count=9), case, lambda ids: len(ids) >= 2)
    exact(Search(no_repeat=1, count=9), case, lambda ids: len(set(ids)) == len(ids))
    exact(Search(no_repeat=2, count=9), case, lambda ids: len(ids) < 3 or ids[:2] != ids[1:])
    prefixes = [(4, 3), (4, 3), (4, 3)]
    exact(Search(count=3), case, lambda ids: ids[:2] == (4, 3), prefixes=prefixes)


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("pattern", ["a*(bc|c)", ".*b.*", "(b|c)*a?"])
def test_a_constraint_holds_for_every_target(case, pattern):
    asked = Constraint(pattern=pattern)
    automaton = lift(asked.dfa, PIECES)

    def matches(ids):
        return asked.dfa.matches("".join("   abc"[token] for token in ids))

    exact(Search(automaton=automaton, count=4), case, matches)


def test_a_constraint_with_a_prefix_and_a_least_length():
    automaton = lift(Constraint(pattern="a(b|c)*a").dfa, PIECES)
    automaton.count_ways(20)
    model, _ = built("general")
    search = Search(beams=4, automaton=automaton, min_tokens=4, max_tokens=6)
    for best in model.decode(model.encode(SOURCES), search, prefixes=[(3, 4)] * 3):
        assert best[0].ids[:2] == (3, 4)
        assert best[0].ids[-1] == 3
        assert 4 <= len(best[0].ids) <= 6
    with pytest.raises(ConfigError, match="prefix and the constraint contradict"):
        model.decode(model.encode(SOURCES), search, prefixes=[(4,)] * 3)
    even = lift(Constraint(pattern="(ab)+").dfa, PIECES)
    even.count_ways(20)
    with pytest.raises(ConfigError, match="No target of 3 to 3 tokens satisfies"):
        model.decode(model.encode(SOURCES[:1]), Search(automaton=even, min_tokens=3, max_tokens=3))


def test_the_limit_makes_room_for_what_must_come():
    automaton = lift(Constraint(pattern="a{9}").dfa, PIECES)
    model, _ = built("general")
    (best,) = model.decode(model.encode(SOURCES[:1]), Search(automaton=automaton, max_tokens=2))
    assert best[0].ids == (3,) * 9
    (best,) = model.decode(model.encode(SOURCES[:1]), Search(max_tokens=2), prefixes=[(3, 4, 5, 3)])
    assert (best[0].ids, best[0].reason) == ((3, 4, 5, 3), "length")


@pytest.mark.parametrize("beams", [1, 3])
def test_an_output_that_would_never_end_is_cut_and_says_so(beams):
    architecture = seq2seq_architecture(vocabulary=6)
    weights = seq2seq_weights(architecture)
    weights["head.bias"][END] = -100.0
    model = Seq2Seq(architecture, tensor_file(weights), source="small.gw")
    search = Search(beams=beams, max_ratio=1.5)
    for source, (best,) in zip(SOURCES, model.decode(model.encode(SOURCES), search), strict=True):
        assert len(best.ids) == int(1.5 * len(source)) + SLACK
        assert best.reason == "length"


def test_draws_come_as_often_as_they_are_likely():
    model, _ = built("general")
    draws = 600
    search = Search(sampling=Sampling(), count=draws, max_tokens=2, never=(1,))
    oracle = built("general")[1]
    first = np.exp(oracle.next(SOURCES[0])[0])
    first[1] = 0.0
    (found,) = model.decode(model.encode(SOURCES[:1]), search, seeds=[11])
    counts = np.bincount([one.ids[0] if one.ids else END for one in found], minlength=6)
    p = first / first.sum()
    assert (np.abs(counts - draws * p) <= 4 * np.sqrt(draws * p * (1 - p)) + 1e-9).all()
    again = model.decode(model.encode(SOURCES[:1]), search, seeds=[11])[0]
    assert [one.ids for one in again] == [one.ids for one in found]
    other = model.decode(model.encode(SOURCES[:1]), search, seeds=[12])[0]
    assert [one.ids for one in other] != [one.ids for one in found]
    cold = replace(search, sampling=Sampling(temperature=0.0), count=1)
    greedy = replace(search, sampling=None, count=1)
    memory = model.encode(SOURCES)
    assert [one[0].ids for one in model.decode(memory, cold)] == [one[0].ids for one in model.decode(memory, greedy)]


WORD = Pieces([b"", b"", b"", *(bytes([value]) for value in b"abcdefghijklmn")])
MANY = [np.random.default_rng(length).integers(3, 17, 1 + length % 7) for length in range(9)]


def wanted():
    """Searches that use everything there is."""
    automaton = lift(Constraint(pattern="[a-d]*e[a-h]*").dfa, WORD)
    automaton.count_ways(40)
    return {
        "greedy": Search(never=(1,)),
        "beams": Search(beams=4, count=4, gnmt=0.3, coverage_penalty=0.2),
        "short": Search(beams=3, count=2, length_penalty=0.0, max_tokens=3),
        "no repeat": Search(beams=3, no_repeat=2, min_tokens=5, never=(1, 7)),
        "no repeat of one": Search(no_repeat=1, min_tokens=16, max_ratio=6.0),
        "constraint": Search(beams=3, count=3, automaton=automaton, min_tokens=3, no_repeat=1),
        "draws": Search(count=3, sampling=Sampling(top_k=6, top_p=0.9, min_p=0.01, repetition_penalty=1.3, exempt=END)),
        "draws under a constraint": Search(count=2, sampling=Sampling(temperature=0.7), automaton=automaton),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("level", [level for level in kernels.levels() if level != "numpy"])
def test_every_level_finds_what_the_definition_finds(case, level, monkeypatch):
    monkeypatch.setenv("GATEWORK_LEVEL", level)
    changes = {name: value for name, value in CASES[case].items() if name != "outputs"}
    architecture = seq2seq_architecture(**changes)
    model = Seq2Seq(architecture, tensor_file(seq2seq_weights(architecture)), source="small.gw")
    memory, seeds = model.encode(MANY), list(range(len(MANY)))
    for name, search in wanted().items():
        prefixes = [[3, 4]] * len(MANY) if name in ("beams", "constraint", "draws") else [()] * len(MANY)
        have = model.decode(memory, search, prefixes=prefixes, seeds=seeds)
        for b, (source, own) in enumerate(zip(MANY, have, strict=True)):
            plan = search.plan(len(source), prefixes[b], seeds[b])
            want = decode_one(model.decoder.network, memory, b, search, plan)
            assert [(one.ids, one.reason) for one in own] == [(one.ids, one.reason) for one in want], (name, b)
            np.testing.assert_allclose([one.log_p for one in own], [one.log_p for one in want], atol=2e-4)
            np.testing.assert_allclose([one.score for one in own], [one.score for one in want], atol=2e-4)
            for one, other in zip(own, want, strict=True):
                if other.attention_TS is None:
                    assert one.attention_TS is None
                else:
                    np.testing.assert_allclose(one.attention_TS, other.attention_TS, atol=2e-5)


@pytest.mark.parametrize("case", ["general", "no attention", "transformer"])
def test_long_targets(case):
    """What was tried and dropped is forgotten on the way; nothing of the answer is."""
    architecture = seq2seq_architecture(**CASES[case])
    weights = seq2seq_weights(architecture)
    weights["head.bias"][END] = -100.0
    model = Seq2Seq(architecture, tensor_file(weights), source="small.gw")
    memory, search = model.encode(MANY[3:4]), Search(beams=4, count=4, max_ratio=150.0)
    (have,) = model.decode(memory, search)
    want = decode_one(model.decoder.network, memory, 0, search, search.plan(len(MANY[3])))
    assert [one.ids for one in have] == [one.ids for one in want]
    assert len(have[0].ids) == 150 * len(MANY[3]) + SLACK
    if want[0].attention_TS is not None:
        np.testing.assert_allclose(have[-1].attention_TS, want[-1].attention_TS, atol=1e-4)


@pytest.mark.skipif(kernels.level() == "numpy", reason="NumPy goes one source at a time")
@pytest.mark.parametrize("case", FEW)
def test_threads_and_neighbours_change_nothing(case):
    model, _ = built(case)
    rng = np.random.default_rng(2)
    sources = [rng.integers(3, 6, rng.integers(1, 9)) for _ in range(150)]
    seeds = list(range(len(sources)))
    for search in (Search(beams=3, count=2), Search(count=2, sampling=Sampling())):
        found = []
        for threads in (1, 3):
            before = kernels.threads()
            kernels.set_threads(threads)
            try:
                found.append(model.decode(model.encode(sources), search, seeds=seeds))
            finally:
                kernels.set_threads(before)
        alone = [
            model.decode(model.encode([source]), search, seeds=[seed])[0]
            for source, seed in zip(sources, seeds, strict=True)
        ]
        for one, other, single in zip(*found, alone, strict=True):
            assert [each.ids for each in one] == [each.ids for each in other] == [each.ids for each in single]
            assert [each.log_p for each in one] == [each.log_p for each in other]


SIGNS = "红猫狗"
"""What tokens write here: signs that may stand side by side, so that words may stand anywhere."""


def containing(*words):
    """An automaton over tokens 3, 4, 5, and whether ids have all of the words."""
    pieces = Pieces([b"", b"", b"", *(sign.encode() for sign in SIGNS)])
    return lift(Constraint(must=words).dfa, pieces), lambda ids: all(word in spelt(ids) for word in words)


def spelt(ids):
    return "".join(SIGNS[one - 3] for one in ids)


@pytest.mark.parametrize("case", FEW)
def test_a_grid_of_all_beams_is_exact(case):
    automaton, keep = containing("狗猫")
    exact(Search(automaton=automaton, grid=True, count=4), case, keep=keep)


@pytest.mark.parametrize("case", FEW)
def test_a_grid_says_what_must_come_and_plans_for_it(case):
    """Every hypothesis has what must come; on average they are better than those of beams that put it off."""
    rng = np.random.default_rng(3)
    sources = [rng.integers(3, 6, size=size) for size in rng.integers(1, 9, size=40)]
    model = built(case)[0]
    memory = model.encode(sources)
    (automaton, keep), scores = containing("狗红狗", "猫猫"), {}
    for grid in (False, True):
        search = Search(beams=2, max_ratio=1.0, automaton=automaton, grid=grid, never=(1,), count=2)
        found = model.decode(memory, search)
        assert all(keep(one.ids) for own in found for one in own)
        scores[grid] = [own[0].score for own in found]
    assert np.mean(scores[True]) > np.mean(scores[False])
    assert np.mean(np.array(scores[True]) >= np.array(scores[False]) - 1e-4) > 0.8


def test_banks_of_far_states_are_shared():
    automaton, _ = containing(SIGNS * 7)
    search = Search(beams=2, automaton=automaton, grid=True)
    plan = search.plan(3)
    banks = [search.bank(plan, state) for state in range(automaton.states) if automaton.distance(state) < 99]
    assert set(banks) == set(range(search.banks(plan) - 1)), (
        "the last one is of states beyond the start; there are none"
    )
    prefixed = search.plan(3, (3, 4))
    assert search.bank(prefixed, prefixed.automaton) == search.banks(prefixed) - 2
    assert Search(beams=2, automaton=automaton).banks(plan) == 1


@pytest.mark.parametrize("case", FEW)
@pytest.mark.parametrize("options", [{"count": 2}, {"no_repeat": 3, "gnmt": 0.4}])
def test_a_grid_finds_what_the_definition_finds(case, options):
    model, automaton = built(case)[0], containing("狗红狗", "猫猫")[0]
    search = Search(beams=2, automaton=automaton, grid=True, max_ratio=1.0, **options)
    prefixes = [[3]] * len(SOURCES) if "gnmt" in options else [[]] * len(SOURCES)
    memory = model.encode(SOURCES)
    for b, own in enumerate(model.decode(memory, search, prefixes=prefixes)):
        want = decode_one(model.decoder.network, memory, b, search, search.plan(len(SOURCES[b]), prefixes[b]))
        assert [(one.ids, one.reason) for one in own] == [(one.ids, one.reason) for one in want]
        np.testing.assert_allclose([one.score for one in own], [one.score for one in want], atol=2e-4)


class Caught(Exception):
    """What the compiled loop was given."""


@pytest.mark.skipif(kernels.level() == "numpy", reason="there is no compiled loop")
@pytest.mark.parametrize("case", ["general", "everything", "transformer"])
def test_the_compiled_loop_refuses_what_does_not_fit(case):
    model = built(case)[0]
    memory = model.encode(SOURCES)
    native = model.decoder._ready(1)

    class Spy:
        def run(self, given):
            raise Caught(given)

    with pytest.raises(Caught) as caught:
        model.decoder._run(Spy(), memory, Search(beams=2), [Search().plan(3)] * 3)
    (given,) = caught.value.args
    assert len(native.run(given)) == 3
    short = {name: given[name][:-1] for name in ("ids", "limits", "states", "seeds", "prefixes", "only_starts")}
    wrong = {
        "beams": [0, -1, 1 << 40],
        "count": [0, 1 << 40],
        "never": [[6], [-1]],
        "grid": [True],
        "offsets": [given["offsets"] + 1, given["offsets"][::-1].copy(), given["offsets"][:0]],
        "limits": [given["limits"] * 0],
        "prefixes": [[[0], [], []], [[2], [], []], [[6], [], []], [[-1], [], []]],
        "memories": [[], given["memories"] * 2],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises((ValueError, TypeError, RuntimeError)):
                native.run(given | {name: value})
    lists = [([2, 4, 4], [0, 3, 3, 3]), ([4, 2], [0, 2, 2, 2]), ([0, 2], [0, 2, 2, 2]), ([3, 4], [0, 2, 2, 2])]
    lists += [([2, 6], [0, 2, 2, 2]), ([2], [0, 1, 0, 1]), ([2], [0, 2, 2, 2]), ([], [-1, 0, 0, 0])]
    for ids, starts in lists:
        with pytest.raises(ValueError, match="list"):
            native.run(given | {"only": np.array(ids, np.int32), "only_starts": np.array(starts, np.int64)})
    (memory,) = given["memories"]
    wrong = {
        "h": [
            memory["h"][:-1] if memory["h"] else [np.zeros((3, 7), np.float32)],
            [one[:, :-1] for one in memory["h"]],
        ],
        "m": [memory["m"].astype(np.float64), memory["m"][:, :-1], memory["m"][:-1]],
        "keys": [memory["keys"][:-1]],
        "summary": [memory["summary"][:-1]],
    }
    for name, values in wrong.items():
        for value in values:
            if name == "h" and not value:
                continue  # a transformer begins without states
            with pytest.raises((ValueError, TypeError, RuntimeError)):
                native.run(given | {"memories": [memory | {name: value}]})
    for name, value in short.items():
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            native.run(given | {name: value})
