"""The compiled loop against its definition: sampling, automata over tokens, whole texts."""

import itertools
import re

import numpy as np
import pytest

from gatework import kernels
from gatework.core.automaton import Constraint, finder
from gatework.kernels.automaton import FAR, Pieces, lift
from gatework.kernels.generation import REASONS, Order, Writing
from gatework.kernels.sampling import Sampling, choose, row_seed, uniform
from language_models import CASES, END, language_architecture, language_model_of, language_weights

RAW = [b"", b"", b"", *(bytes([value]) for value in b"abcdefghijkl\n ")]
FORWARD = [case for case in CASES if case not in ("backward", "one word")]
SETTINGS = [
    Sampling(temperature=0.0),
    Sampling(),
    Sampling(temperature=0.5, top_k=4),
    Sampling(top_p=0.7),
    Sampling(temperature=1.7, min_p=0.2),
    Sampling(top_k=9, top_p=0.8, min_p=0.05, repetition_penalty=1.4, no_repeat=2, exempt=END),
    Sampling(temperature=0.0, repetition_penalty=2.0, no_repeat=3, exempt=END),
    Sampling(no_repeat=1, exempt=END),
]


def generator(case, monkeypatch, level=None, precision="float32", raw=RAW, spaced=False, storage="fp32"):
    if level:
        monkeypatch.setenv("GATEWORK_LEVEL", level)
    architecture = language_architecture(**CASES[case])
    model = language_model_of(architecture, language_weights(architecture), storage=storage, precision=precision)
    pieces = Pieces(raw[: architecture.vocabulary], spaced=spaced)
    return model, model.generator(pieces, [2, *range(3, architecture.vocabulary)], END), pieces


def write(model, made, order, *, texts=3, steps=30, at_once=7, seed=5):
    start = model.start("forward")
    begun = order.automaton.start if order.automaton is not None else 0
    writings = [
        Writing(recent=np.array([END, 3 + n % 8], dtype=np.int32), position=n, seed=row_seed(seed, n), automaton=begun)
        for n in range(texts)
    ]
    state = kernels.RecurrentState.stack([start.recurrent] * texts)
    for _ in range(0, steps, at_once):
        state = made.write(state, writings, order, steps=at_once)
    return writings, state


@pytest.mark.parametrize("case", FORWARD)
@pytest.mark.parametrize("level", [level for level in kernels.levels() if level != "numpy"])
@pytest.mark.parametrize("storage", ["fp32", "int8"])
def test_every_level_writes_what_the_definition_writes(case, level, storage, monkeypatch):
    for sampling in SETTINGS:
        order = Order(sampling=sampling, most=30)
        want, state = write(*generator(case, monkeypatch, "numpy", storage=storage)[:2], order)
        have, own = write(*generator(case, monkeypatch, level, storage=storage)[:2], order)
        for one, other in zip(have, want, strict=True):
            assert one.ids == other.ids
            assert (one.reason, one.position, one.written) == (other.reason, other.position, other.written)
            assert one.log_p == pytest.approx(other.log_p, abs=1e-3)
            assert one.recent.tolist() == other.recent.tolist()
        for parts, others in zip(own.layers, state.layers, strict=True):
            for part, other in zip(parts, others, strict=True):
                np.testing.assert_allclose(part, other, atol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_smaller_precisions_write_too(precision, monkeypatch):
    order = Order(sampling=Sampling(), most=30)
    have, _ = write(*generator("two layers", monkeypatch, None, precision)[:2], order)
    assert all(text.written == 30 or REASONS[text.reason] == "end" for text in have)


def test_a_large_table_is_multiplied_each_step(monkeypatch):
    order = Order(sampling=Sampling(), most=30)
    for case in ("two layers", "residual from the start"):
        want, _ = write(*generator(case, monkeypatch)[:2], order)
        monkeypatch.setattr(kernels.generation, "MOST_FOLDED", 0)
        have, _ = write(*generator(case, monkeypatch)[:2], order)
        monkeypatch.undo()
        assert [text.ids for text in have] == [text.ids for text in want]


@pytest.mark.parametrize("case", ["two layers", "residual from the start", "clusters"])
@pytest.mark.parametrize("storage", ["fp32", "int8"])
def test_texts_do_not_notice_each_other_nor_the_steps_at_once(case, storage, monkeypatch):
    model, made, _ = generator(case, monkeypatch, storage=storage)
    order = Order(sampling=Sampling(), most=25)
    together, _ = write(model, made, order, texts=19, steps=30, at_once=30)
    for steps in (1, 4):
        apart, _ = write(model, made, order, texts=19, steps=30, at_once=steps)
        assert [(text.ids, text.log_p) for text in apart] == [(text.ids, text.log_p) for text in together]
    alone, _ = write(model, made, order, texts=1, steps=30)
    assert (alone[0].ids, alone[0].log_p) == (together[0].ids, together[0].log_p)
    assert len({tuple(text.ids) for text in together}) > 10


@pytest.mark.parametrize("storage", ["fp32", "int8"])
def test_log_p_is_that_of_scoring(storage, monkeypatch):
    model, made, _ = generator("two layers", monkeypatch, storage=storage)
    texts, _ = write(model, made, Order(sampling=Sampling(temperature=0.7, top_k=3), most=20), texts=8)
    for n, text in enumerate(texts):
        ids = [*text.ids] + ([END] if REASONS[text.reason] == "end" else [])
        begun = model.start("forward").after(model.start("forward").recurrent, np.array([3 + n % 8]))
        nats, _ = model.nll(np.array(ids), begun)
        assert text.log_p == pytest.approx(-nats.sum(), abs=1e-4)


def test_draws_follow_the_probabilities():
    rng = np.random.default_rng(1)
    log_p = np.log(rng.dirichlet(np.ones(6)))
    draws = [choose(log_p, np.arange(3, 9), [], Sampling(), uniform(7, n)) for n in range(20000)]
    np.testing.assert_allclose(np.bincount(draws, minlength=6) / 20000, np.exp(log_p), atol=0.015)


def test_what_settings_leave():
    p = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    for settings, left in (
        (Sampling(top_k=2), {0, 1}),
        (Sampling(top_p=0.7), {0, 1}),
        (Sampling(top_p=0.71), {0, 1, 2}),
        (Sampling(min_p=0.25), {0, 1, 2, 3}),
        (Sampling(top_k=3, top_p=0.9), {0, 1, 2}),
        (Sampling(no_repeat=1), {1, 2, 4}),
        (Sampling(no_repeat=1, exempt=3), {0, 1, 2, 4}),
        (Sampling(no_repeat=2), {1, 2, 4}),
        (Sampling(temperature=0.0, repetition_penalty=3.0), {1}),
    ):
        recent = [6, 6, 3, 6]
        found = {choose(np.log(p), np.arange(3, 8), recent, settings, u) for u in np.linspace(0, 0.9999, 300)}
        assert found == left, settings


VOCABULARIES = {
    "letters": ([b"", b"", b"", b"a", b"b", b"c", b"\n"], False),
    "pieces": ([b"", b"", b"", b"a", b"ab", b"abc", b"b", b"bc", b"ca", b"c", b"\n", b"\n\n"], False),
    "bytes": ([b"", b"", b"", b"a", b"\xc3", b"\xa9", "é".encode(), "éa".encode(), b"\xe4", b"\xb8", b"\x80"], False),
    "words": ([b"", b"", b"", b" a", b" ab", b" b", b" c", b"\n"], True),
}
CONSTRAINTS = {
    "pattern": {"pattern": "(ab|c)*a?"},
    "lines": {"lines": "a[ab ]*", "line_count": (1, 2)},
    "must": {"must": "ab", "characters": (2, 5)},
    "choices": {"choices": ("abc", "é", "a b", "aaaa")},
    "two bytes": {"pattern": "[é一]{1,2}a|ab"},
}


def joined(raw, ids, spaced):
    text = b"".join(raw[one] for one in ids)
    return text.replace(b"\n ", b"\n").removeprefix(b" ") if spaced else text


@pytest.mark.parametrize("level", ["numpy", "portable"])
@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("parts", CONSTRAINTS)
def test_masks_are_those_of_brute_force(level, name, parts, monkeypatch):
    monkeypatch.setenv("GATEWORK_LEVEL", level)
    raw, spaced = VOCABULARIES[name]
    dfa = Constraint(**CONSTRAINTS[parts]).dfa
    lifted = lift(dfa, Pieces(raw, spaced=spaced))
    tokens, longest = [n for n, one in enumerate(raw) if one], 5
    good = set()
    for count in range(longest + 1):
        for ids in itertools.product(tokens, repeat=count):
            try:
                good |= {ids} if dfa.matches(joined(raw, ids, spaced).decode()) else set()
            except UnicodeDecodeError:
                continue
    lifted.count_ways(longest)
    reached = {(): lifted.start}
    for count in range(longest + 1):
        for ids in [ids for ids in reached if len(ids) == count]:
            state = reached[ids]
            rest = [len(other) - count for other in good if other[:count] == ids]
            assert lifted.accepts(state) == (ids in good)
            assert all(lifted.within(state, n, n) == (n in rest) for n in range(longest - count + 1))
            if rest:
                assert lifted.distance(state) == min(rest)
            can, targets = lifted.row(state)
            assert can == sorted(can)
            below = {other[count] for other in good if other[:count] == ids and len(other) > count}
            assert below <= set(can)
            near = {one for one, target in zip(can, targets, strict=True) if lifted.distance(target) < longest - count}
            assert near == below
            reached |= {(*ids, one): target for one, target in zip(can, targets, strict=True)}
    assert bool(good) == (lifted.distance(lifted.start) <= longest)


def test_nothing_that_can_be_written(monkeypatch):
    for level in ("numpy", "portable"):
        monkeypatch.setenv("GATEWORK_LEVEL", level)
        lifted = lift(Constraint(pattern="x").dfa, Pieces([b"", b"", b"", b"a"]))
        assert lifted.distance(lifted.start) == FAR
        assert lifted.row(lifted.start) == ([], [])


@pytest.mark.parametrize("level", ["numpy", kernels.levels()[-1]])
@pytest.mark.parametrize(
    ("pattern", "fewest", "most"),
    [("([ab]c?)*", 0, 9), ("(abc|d)+", 5, 8), ("a|bb|[c-l]{7}", 0, 7), ("", 0, 5), ("[^a]*", 9, 9)],
)
def test_constrained_texts_match(level, pattern, fewest, most, monkeypatch):
    model, made, pieces = generator("two layers", monkeypatch, level)
    lifted = lift(Constraint(pattern=pattern).dfa, pieces)
    lifted.count_ways(most)
    for sampling in (Sampling(), Sampling(temperature=0.0), Sampling(no_repeat=1)):
        order = Order(sampling=sampling, most=most, fewest=fewest, automaton=lifted)
        texts, _ = write(model, made, order, texts=30)
        for text in texts:
            assert text.reason != 0
            assert fewest <= len(text.ids) <= most
            assert re.fullmatch(pattern, b"".join(RAW[one] for one in text.ids).decode())


@pytest.mark.parametrize("level", ["numpy", kernels.levels()[-1]])
@pytest.mark.parametrize("spaced", [False, True])
def test_stop_strings_end_texts_where_they_appear(level, spaced, monkeypatch):
    raw = [b"", b"", b"", *(b" " + one if one != b"\n" else one for one in RAW[3:])] if spaced else RAW
    model, made, _ = generator("two layers", monkeypatch, level, raw=raw, spaced=spaced)
    stops = [" b", "c a", "\nd"] if spaced else ["ab", "c", "ddd"]
    texts, _ = write(
        model, made, Order(sampling=Sampling(temperature=1.5), most=60, stop=finder(stops)), texts=40, steps=60
    )
    reasons = set()
    for text in texts:
        whole = joined(raw, text.ids, spaced).decode()
        before = joined(raw, text.ids[:-1], spaced).decode()
        found = any(stop in whole for stop in stops)
        assert found == (REASONS[text.reason] == "stop")
        assert not any(stop in before for stop in stops)
        reasons.add(REASONS[text.reason])
    assert reasons == {"stop", "end", "length"} or reasons >= {"stop", "end"}
