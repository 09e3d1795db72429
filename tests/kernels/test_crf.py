"""The CRF kernels at every level, against float64 oracles: every path listed for small cases, else recursions.

Budgets: a marginal's error is at most 1e-5, nll's 1e-6 (|log Z| + |score| + 1), a transition gradient's
1e-6 (steps + 1).
Right code uses about a tenth of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gatework import kernels
from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import constraints
from gatework.kernels import crf
from oracles import crf as oracle

LEVELS = [level for level in kernels.levels() if level != "avx512bf16"]  # which takes the code of avx512
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)
COMPILED = pytest.mark.parametrize("level", LEVELS[1:])
SIZES = (1, 2, 3, 15, 16, 17, 31, 33, 60, 129)


@dataclass(frozen=True)
class Case:
    e_TBK: np.ndarray
    tags_TB: np.ndarray
    lengths_B: np.ndarray
    scores: crf.Scores

    def sequence(self, b):
        """Float64 arrays for the oracles, and the gold path."""
        length = self.lengths_B[b]
        arrays = [part.astype(np.float64) for part in (self.e_TBK[:length, b], *self.scores)]
        return arrays, self.tags_TB[:length, b]

    def alone(self, b):
        length = self.lengths_B[b]
        return Case(self.e_TBK[:length, b : b + 1], self.tags_TB[:length, b : b + 1], np.array([length]), self.scores)


def random_case(rng, T, K, lengths, *, scale=1.0, forbid=0.0, spoil_padding=True):
    """Distinct scores, rubbish in padding (its tags too)."""
    lengths_B = np.array(lengths)
    e = (rng.normal(size=(T, len(lengths), K)) * scale).astype(np.float32)
    transitions, start, end = (rng.normal(size=shape).astype(np.float32) for shape in ((K, K), K, K))
    if forbid:
        transitions[rng.random((K, K)) < forbid] = -np.inf
        np.fill_diagonal(transitions, 0.25)
        start[1 : K // 2] = -np.inf
        end[K // 2 + 1 :] = -np.inf
        transitions[0] = rng.normal(size=K)  # so that some path is allowed
    tags = rng.integers(K, size=(T, len(lengths)))
    if spoil_padding:
        past = np.arange(T)[:, None] >= lengths_B
        e[past], tags[past] = np.nan, -100
    return Case(e, tags, lengths_B, crf.Scores(transitions, start, end))


_answers = {}


def answer(expectations, arrays):
    """What an oracle says; kept, since every level asks for the same."""
    key = (expectations, *(part.tobytes() for part in arrays))
    if key not in _answers:
        _answers[key] = expectations(*arrays)
    return _answers[key]


def check_against_oracle(case, level, expectations=oracle.expectations):
    nll_B, gradients = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    p_TBK = crf.marginals(case.e_TBK, case.lengths_B, case.scores, level=level)
    log_z_B = crf.log_partition(case.e_TBK, case.lengths_B, case.scores, level=level)
    K = case.e_TBK.shape[2]
    moves, first, last = np.zeros((K, K)), np.zeros(K), np.zeros(K)
    for b, length in enumerate(case.lengths_B):
        arrays, gold = case.sequence(b)
        want = answer(expectations if length else oracle.expectations, arrays)
        score = oracle.path_score(*arrays, gold)
        size = abs(want.log_z) + (abs(score) if np.isfinite(score) else 0) + 1
        np.testing.assert_allclose(log_z_B[b], want.log_z, rtol=0, atol=1e-6 * size)
        np.testing.assert_allclose(nll_B[b], want.log_z - score, rtol=0, atol=1e-6 * size)
        np.testing.assert_allclose(p_TBK[:length, b], want.tags_LK, rtol=0, atol=1e-5)
        d = want.tags_LK.copy()
        d[np.arange(length), gold] -= 1
        np.testing.assert_allclose(gradients.emissions[:length, b], d, rtol=0, atol=1e-5)
        assert not gradients.emissions[length:, b].any()
        assert not p_TBK[length:, b].any()
        moves += want.moves_KK
        np.subtract.at(moves, (gold[:-1], gold[1:]), 1)
        if length:
            first, last = first + d[0], last + d[-1]
    steps = case.lengths_B.sum() + 1
    for got, want, given in zip(gradients[1:], (moves, first, last), case.scores, strict=True):
        want = np.where(np.isneginf(given), 0, want)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * steps)


@EVERY_LEVEL
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("forbid", [0.0, 0.4])
@pytest.mark.parametrize(("T", "K"), [(1, 1), (7, 1), (6, 2), (5, 3), (4, 6)])
def test_matches_every_path_listed(level, T, K, forbid, seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng, T, K, [T, 0, 1, T, max(T - 1, 0)], scale=2.0, forbid=forbid)
    check_against_oracle(case, level, oracle.expectations_by_enumeration)


@EVERY_LEVEL
@pytest.mark.parametrize("forbid", [0.0, 0.3])
@pytest.mark.parametrize("K", SIZES)
def test_matches_float64(level, K, forbid):
    rng = np.random.default_rng(K)
    check_against_oracle(random_case(rng, 9, K, [9, 0, 1, 5, 9, 2, 3, 8, 8], forbid=forbid), level)


@EVERY_LEVEL
@pytest.mark.parametrize("scale", [1e-30, 0.01, 30.0, 1e4])
@pytest.mark.parametrize("forbid", [0.0, 0.3])
def test_matches_float64_at_any_scale(level, scale, forbid):
    rng = np.random.default_rng(7)
    check_against_oracle(random_case(rng, 12, 17, [12, 3, 12, 1, 7], scale=scale, forbid=forbid), level)


@COMPILED
def test_a_large_batch_in_many_parts(level):
    rng = np.random.default_rng(11)
    check_against_oracle(random_case(rng, 40, 20, rng.integers(0, 41, size=50)), level)


@COMPILED
@pytest.mark.parametrize("forbid", [0.0, 0.3])
def test_long_sequences_of_huge_scores(level, forbid):
    rng = np.random.default_rng(5)
    case = random_case(rng, 5000, 5, [5000, 4999], forbid=forbid)
    e = case.e_TBK + rng.choice([-1e4, 1e4], size=(5000, 2, 1)).astype(np.float32)
    check_against_oracle(Case(e, case.tags_TB, case.lengths_B, case.scores), level)
    e = (rng.integers(-3, 4, size=e.shape) * 3333.25).astype(np.float32)
    case = Case(e, np.abs(case.tags_TB), case.lengths_B, case.scores)
    check_against_oracle(case, level)
    tags, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    for b in range(2):
        arrays, _ = case.sequence(b)
        _, want = oracle.best_path(*arrays)
        got = oracle.path_score(*arrays, tags[: case.lengths_B[b], b])
        np.testing.assert_allclose([got, best_B[b]], want, rtol=1e-7)


@EVERY_LEVEL
def test_extreme_transitions_that_are_not_forbidden(level):
    """-10,000 as a poor man's -inf: where every path takes some, they must count exactly."""
    rng = np.random.default_rng(3)
    for K, share in ((3, 0.5), (17, 0.9)):
        case = random_case(rng, 8, K, [8, 5, 1, 0])
        case.scores.transitions_KK[rng.random((K, K)) < share] = -1e4
        case.scores.start_K[0] = -1e4
        case.scores.end_K[1] = 300.0
        check_against_oracle(case, level)


@EVERY_LEVEL
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_tag_schemes_hold_exactly(level, scheme, scale):
    rng = np.random.default_rng(13)
    marks = "BI" if scheme == "bio" else "BIES"
    labels = ["O", *(f"{mark}-{kind}" for kind in ("PER", "LOC", "ORG", "MISC") for mark in marks)]
    allowed = constraints(labels, scheme)
    case = random_case(rng, 12, len(labels), [12, 11, 6, 1, 0], scale=scale)
    scores = crf.constrain(case.scores, allowed)
    case = Case(case.e_TBK, np.where(case.tags_TB < 0, -100, 0), case.lengths_B, scores)  # O is always allowed
    check_against_oracle(case, level)
    p = crf.marginals(case.e_TBK, case.lengths_B, scores, level=level)
    assert not p[0][:, ~allowed.start_K].any()
    tags, _ = crf.viterbi(case.e_TBK, case.lengths_B, scores, level=level)
    for path in [tags, *crf.n_best(case.e_TBK, case.lengths_B, scores, 5, level=level)[0]]:
        for b, length in enumerate(case.lengths_B):
            steps = path[:length, b]
            assert allowed.transitions_KK[steps[:-1], steps[1:]].all()
            assert not length or (allowed.start_K[steps[0]] and allowed.end_K[steps[-1]])


@EVERY_LEVEL
@pytest.mark.parametrize("K", SIZES)
def test_viterbi_matches_float64_and_breaks_ties_by_the_lowest_tag(level, K):
    rng = np.random.default_rng(K)
    real = random_case(rng, 9, K, [9, 0, 1, 5, 9, 2, 3], forbid=0.3 if K % 2 else 0.0)
    # Small integers: sums are exact, and ties are everywhere.
    e = rng.integers(-1, 2, size=real.e_TBK.shape).astype(np.float32)
    scores = crf.Scores(*(np.round(part) for part in real.scores))
    for case in (real, Case(e, real.tags_TB, real.lengths_B, scores)):
        tags, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
        for b, length in enumerate(case.lengths_B):
            arrays, _ = case.sequence(b)
            want, score = oracle.best_path(*arrays)
            assert tags[:length, b].tolist() == want
            assert not tags[length:, b].any()
            np.testing.assert_allclose(best_B[b], score, rtol=1e-6, atol=1e-6)


def test_viterbi_has_the_same_bits_at_every_level():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        case = random_case(rng, 30, 21, [30, 17, 30, 4, 0], scale=100.0)
        answers = [crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level) for level in LEVELS]
        for tags, best_B in answers[1:]:
            np.testing.assert_array_equal(tags, answers[0][0])
            np.testing.assert_allclose(best_B, answers[0][1], rtol=1e-7)


@EVERY_LEVEL
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("T", "K", "n"), [(1, 1, 3), (5, 1, 2), (6, 2, 64), (7, 2, 5), (4, 5, 64), (3, 6, 10)])
def test_n_best_matches_every_path_listed(level, T, K, n, ties):
    rng = np.random.default_rng(T + K)
    case = random_case(rng, T, K, [T, 1, 0, T - 1], forbid=0.3 if K == 5 else 0.0)
    if ties:
        e = np.round(np.nan_to_num(case.e_TBK))
        case = Case(e, case.tags_TB, case.lengths_B, crf.Scores(*(np.round(part) for part in case.scores)))
    tags, scores_Bn = crf.n_best(case.e_TBK, case.lengths_B, case.scores, n, level=level)
    for b, length in enumerate(case.lengths_B):
        arrays, _ = case.sequence(b)
        want = oracle.enumerate_paths(*arrays)
        count = min(n, int(np.isfinite(want.scores).sum()))
        np.testing.assert_allclose(scores_Bn[b, :count], want.scores[:count], rtol=0, atol=1e-5)
        assert np.isneginf(scores_Bn[b, count:]).all()
        assert [tuple(path) for path in tags[:count, :length, b].tolist()] == want.tags[:count]
        assert not tags[count:, :, b].any()
        assert not tags[:, length:, b].any()


@EVERY_LEVEL
def test_the_first_of_the_n_best_is_viterbi(level):
    rng = np.random.default_rng(2)
    case = random_case(rng, 25, 19, [25, 24, 3])
    tags, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    lists, scores_Bn = crf.n_best(case.e_TBK, case.lengths_B, case.scores, 20, level=level)
    np.testing.assert_array_equal(lists[0], tags)
    np.testing.assert_allclose(scores_Bn[:, 0], best_B, rtol=1e-6)
    assert (np.diff(scores_Bn, axis=1) <= 0).all()
    for b, length in enumerate(case.lengths_B):
        arrays, _ = case.sequence(b)
        paths = {tuple(path) for path in lists[:, :length, b].tolist()}
        assert len(paths) == 20
        for place in range(20):
            score = oracle.path_score(*arrays, lists[place, :length, b])
            np.testing.assert_allclose(scores_Bn[b, place], score, rtol=1e-6)


@COMPILED
@pytest.mark.parametrize("K", [1, 5, 20, 60, 70])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_sequence_alone_has_the_same_bits_as_in_a_batch(level, K, scale):
    rng = np.random.default_rng(17)
    case = random_case(rng, 14, K, [3, 14, 0, 9, 13, 1, 14, 2, 10, 11, 7], scale=scale, forbid=0.4 if K > 5 else 0.0)
    batch = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    tags, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    for b, length in enumerate(case.lengths_B):
        one = case.alone(b)
        nll_B, gradients = crf.nll_and_gradients(one.e_TBK, one.tags_TB, one.lengths_B, one.scores, level=level)
        np.testing.assert_array_equal(nll_B, batch[0][b : b + 1])
        np.testing.assert_array_equal(gradients.emissions, batch[1].emissions[:length, b : b + 1])
        path, best = crf.viterbi(one.e_TBK, one.lengths_B, one.scores, level=level)
        np.testing.assert_array_equal(path, tags[:length, b : b + 1])
        np.testing.assert_array_equal(best, best_B[b : b + 1])


@COMPILED
def test_the_same_bits_whatever_the_threads(level):
    rng = np.random.default_rng(23)
    case = random_case(rng, 50, 33, rng.integers(0, 51, size=70), forbid=0.3)
    before, answers = kernels.threads(), []
    try:
        for count in (1, 2, 3, 8, 2):
            kernels.set_threads(count)
            nll_B, gradients = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
            best = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
            lists = crf.n_best(case.e_TBK, case.lengths_B, case.scores, 3, level=level)
            answers.append([nll_B, *gradients, *best, *lists])
    finally:
        kernels.set_threads(before)
    for answer in answers[1:]:
        for got, want in zip(answer, answers[0], strict=True):
            np.testing.assert_array_equal(got, want)


@EVERY_LEVEL
def test_packed_rows_and_strides_equal_the_rectangle(level):
    rng = np.random.default_rng(29)
    case = random_case(rng, 8, 18, [8, 8, 5, 2, 1, 0])
    running = [(case.lengths_B > t).sum() for t in range(8)]

    def pack(a):
        return np.concatenate([a[t, :count] for t, count in enumerate(running)])

    batch_first = np.ascontiguousarray(case.e_TBK.swapaxes(0, 1)).swapaxes(0, 1)
    wide = np.zeros((8, 6, 40), dtype=np.float32)
    wide[:, :, 3:21] = case.e_TBK
    tags_first = np.ascontiguousarray(case.tags_TB.T).T
    nll_B, want = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    best, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    lists, scores_Bn = crf.n_best(case.e_TBK, case.lengths_B, case.scores, 3, level=level)
    for e in (batch_first, wide[:, :, 3:21], wide[:, :, 3:21][::-1].copy()[::-1], np.asfortranarray(case.e_TBK)):
        got_B, got = crf.nll_and_gradients(e, tags_first, case.lengths_B.astype(np.int32), case.scores, level=level)
        for a, b in zip((got_B, *got), (nll_B, *want), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(crf.viterbi(e, case.lengths_B, case.scores, level=level)[0], best)
    e_NK, tags_N = pack(case.e_TBK), pack(case.tags_TB)
    got_B, got = crf.nll_and_gradients(e_NK, tags_N, case.lengths_B, case.scores, level=level)
    np.testing.assert_array_equal(got_B, nll_B)
    np.testing.assert_array_equal(got.emissions, pack(want.emissions))
    np.testing.assert_array_equal(got.transitions_KK, want.transitions_KK)
    tags, scores_B = crf.viterbi(e_NK, case.lengths_B, case.scores, level=level)
    np.testing.assert_array_equal(tags, pack(best))
    np.testing.assert_array_equal(scores_B, best_B)
    got_lists, got_Bn = crf.n_best(e_NK, case.lengths_B, case.scores, 3, level=level)
    np.testing.assert_array_equal(got_lists, np.stack([pack(paths) for paths in lists]))
    np.testing.assert_array_equal(got_Bn, scores_Bn)


@EVERY_LEVEL
def test_weights(level):
    rng = np.random.default_rng(31)
    case = random_case(rng, 6, 17, [6, 3, 0, 5, 6], forbid=0.3)
    weights = np.array([0.5, -2.0, 3.0, 0.0, 1.0])
    arguments = (case.e_TBK, case.tags_TB, case.lengths_B, case.scores)
    nll_B, weighted = crf.nll_and_gradients(*arguments, weights_B=weights, level=level)
    plain_B, plain = crf.nll_and_gradients(*arguments, level=level)
    np.testing.assert_array_equal(nll_B, plain_B)
    np.testing.assert_allclose(weighted.emissions, plain.emissions * weights[:, None], atol=1e-6)
    sums = [np.zeros(part.shape) for part in case.scores]
    for b, weight in enumerate(weights):
        one = case.alone(b)
        gradients = crf.nll_and_gradients(one.e_TBK, one.tags_TB, one.lengths_B, one.scores, level=level)[1]
        for total, part in zip(sums, gradients[1:], strict=True):
            total += weight * part
    for got, want in zip(weighted[1:], sums, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@EVERY_LEVEL
@pytest.mark.parametrize("where", ["emissions", "transitions", "start", "end"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_comes_through(level, where, bad):
    rng = np.random.default_rng(37)
    case = random_case(rng, 5, 18, [5, 5, 3], spoil_padding=False)
    if where == "emissions":
        case.e_TBK[2, 1, 17] = bad
    else:
        case.scores[("transitions", "start", "end").index(where)][..., 3] = bad
    hit = [1] if where == "emissions" else [0, 1, 2]
    nll_B, gradients = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    log_z_B = crf.log_partition(case.e_TBK, case.lengths_B, case.scores, level=level)
    _, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    _, scores_Bn = crf.n_best(case.e_TBK, case.lengths_B, case.scores, 2, level=level)
    for b in range(3):
        spoiled = b in hit
        assert np.isnan(nll_B[b]) == np.isnan(log_z_B[b]) == np.isnan(best_B[b]) == spoiled
        assert (np.isnan(scores_Bn[b]) == spoiled).all()
        assert (np.isnan(gradients.emissions[: case.lengths_B[b], b]) == spoiled).all()
    for part in gradients[1:]:
        assert np.isnan(part).all()


@EVERY_LEVEL
@pytest.mark.parametrize("K", [1, 2, 17])
def test_tags_stay_in_range_where_sums_overflow(level, K):
    huge = np.float32(3e38)
    for sign in (1, -1):
        scores = crf.Scores(np.full((K, K), sign * huge), np.full(K, sign * huge), np.full(K, sign * huge))
        for e in (np.full((5, 2, K), huge), np.full((5, 2, K), np.nan), np.full((5, 2, K), np.inf)):
            tags, _ = crf.viterbi(e, np.array([5, 3]), scores, level=level)
            assert ((tags >= 0) & (tags < K)).all()


@EVERY_LEVEL
def test_forbidden_gold_and_no_path_at_all(level):
    rng = np.random.default_rng(41)
    case = random_case(rng, 4, 3, [4, 2, 4], spoil_padding=False)
    transitions = case.scores.transitions_KK
    transitions[0, 1] = -np.inf
    case.tags_TB[:2, 0] = 0, 1
    nll_B, gradients = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    assert nll_B[0] == np.inf
    assert all(np.isfinite(part).all() for part in gradients)
    assert gradients.transitions_KK[0, 1] == 0
    transitions[:] = -np.inf
    nll_B, gradients = crf.nll_and_gradients(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    assert np.isnan(nll_B).all()
    assert np.isnan(gradients.emissions[:2]).all()
    assert np.isneginf(crf.log_partition(case.e_TBK, case.lengths_B, case.scores, level=level)).all()
    tags, best_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    assert np.isneginf(best_B).all()
    assert ((tags >= 0) & (tags < 3)).all()
    assert np.isneginf(crf.n_best(case.e_TBK, case.lengths_B, case.scores, 2, level=level)[1]).all()


@EVERY_LEVEL
def test_emissions_may_forbid(level):
    rng = np.random.default_rng(43)
    case = random_case(rng, 7, 20, [7, 7, 4, 1], forbid=0.3)
    case.e_TBK[:, :, 5:] = np.where(rng.random((7, 4, 15)) < 0.5, -np.inf, case.e_TBK[:, :, 5:])
    case.tags_TB[case.tags_TB > 4] = 0
    check_against_oracle(case, level)


@EVERY_LEVEL
def test_empty_batches(level):
    scores = crf.Scores(np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    for shape, lengths in (((4, 0, 3), []), ((0, 2, 3), [0, 0]), ((4, 2, 3), [0, 0]), ((0, 3), [0, 0]), ((0, 3), [])):
        e, tags = np.full(shape, np.nan), np.full(shape[:-1], -1)
        lengths_B = np.array(lengths, dtype=np.int64)
        nll_B, gradients = crf.nll_and_gradients(e, tags, lengths_B, scores, level=level)
        assert nll_B.shape == lengths_B.shape
        assert not nll_B.any()
        assert not any(part.any() for part in gradients)
        paths, best_B = crf.viterbi(e, lengths_B, scores, level=level)
        assert paths.shape == shape[:-1]
        assert not paths.any()
        assert not best_B.any()
        paths, scores_Bn = crf.n_best(e, lengths_B, scores, 2, level=level)
        assert not paths.any()
        assert scores_Bn.tolist() == [[0.0, -np.inf]] * len(lengths)


@EVERY_LEVEL
def test_mistakes_are_errors(level):
    rng = np.random.default_rng(47)
    case = random_case(rng, 4, 5, [4, 2, 3], spoil_padding=False)
    e, tags, lengths, scores = case.e_TBK, case.tags_TB, case.lengths_B, case.scores
    for bad in ([4, 2], [4, 2, 5], [4, 2, -1], [[4, 2, 3]]):
        with pytest.raises(DataError, match="lengths_B"):
            crf.viterbi(e, np.array(bad), scores, level=level)
    for bad in ([2, 4, 3], [4, 3, 3]):
        with pytest.raises(DataError, match="falling lengths that add up to N"):
            crf.viterbi(e[:3].reshape(9, 5), np.array(bad), scores, level=level)
    for bad in (-2, 5):
        wrong = tags.copy()
        wrong[3, 0] = bad
        with pytest.raises(DataError, match="a tag is below"):
            crf.nll_and_gradients(e, wrong, lengths, scores, level=level)
        with pytest.raises(DataError, match="a tag is below"):
            crf.nll(e, wrong, lengths, scores, level=level)
    with pytest.raises(DataError, match="tags have shape"):
        crf.nll(e, tags[:2], lengths, scores, level=level)
    with pytest.raises(DataError, match="tags have shape"):
        crf.nll(e, tags.astype(np.float32), lengths, scores, level=level)
    with pytest.raises(DataError, match=r"start_K has shape \(4,\), but the emissions have 5 tags"):
        crf.viterbi(e, lengths, scores._replace(start_K=np.zeros(4)), level=level)
    with pytest.raises(DataError, match=r"expected \(T, B, K\) or \(N, K\)"):
        crf.viterbi(e[0, 0], lengths, scores, level=level)
    with pytest.raises(DataError, match="one weight a sequence"):
        crf.nll_and_gradients(e, tags, lengths, scores, weights_B=[1.0], level=level)
    with pytest.raises(ConfigError, match="n must be at least 1, got 0"):
        crf.n_best(e, lengths, scores, 0, level=level)
    with pytest.raises(ConfigError, match="level"):
        crf.viterbi(e, lengths, scores, level="avx1024")


def path_shares(arrays, path):
    """P(y_t) and P(y_t | y_t-1) along a path, by the oracle's pairs of every path that agrees so far."""
    want = answer(oracle.expectations, arrays)
    e, transitions, start, end = arrays
    p = want.tags_LK[np.arange(len(path)), path]
    step = p.copy()
    for t in range(1, len(path)):
        # What lies before t does not matter to a step from a known tag: the sequence from t - 1 on, its first tag held.
        held = e[t - 1 :].copy()
        held[0, np.arange(e.shape[1]) != path[t - 1]] = -np.inf
        step[t] = oracle.expectations(held, transitions, np.zeros_like(start), end).tags_LK[1, path[t]]
    return p, step


@EVERY_LEVEL
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("K", [1, 2, 5, 17, 33])
def test_path_marginals(level, K, scale):
    rng = np.random.default_rng(K)
    case = random_case(rng, 9, K, [9, 0, 1, 5, 9, 2, 3], scale=scale, forbid=0.3 if K > 2 else 0.0)
    tags, _ = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    second = crf.n_best(case.e_TBK, case.lengths_B, case.scores, 2, level=level)[0][1]
    for paths in (tags, second):
        got = crf.path_marginals(case.e_TBK, paths, case.lengths_B, case.scores, level=level)
        nll_B = crf.nll(case.e_TBK, paths, case.lengths_B, case.scores, level=level)
        np.testing.assert_allclose(got.nll_B, nll_B, rtol=1e-5, atol=1e-5)
        for b, length in enumerate(case.lengths_B):
            arrays, _ = case.sequence(b)
            p, step = path_shares(arrays, paths[:length, b]) if length and K > 1 else (np.ones(length),) * 2
            np.testing.assert_allclose(got.p[:length, b], p, rtol=0, atol=1e-5)
            np.testing.assert_allclose(got.step[:length, b], np.where(np.roll(p, 1) > 0, step, 0), rtol=1e-3, atol=1e-4)
            assert not got.p[length:, b].any()
            assert not got.step[length:, b].any()


@EVERY_LEVEL
def test_probability_of_a_span_by_every_path_listed(level):
    rng = np.random.default_rng(4)
    case = random_case(rng, 5, 3, [5], scale=2.0, spoil_padding=False)
    arrays, _ = case.sequence(0)
    listed = oracle.enumerate_paths(*arrays)
    share = np.exp(listed.scores - listed.scores.max())
    share /= share.sum()
    tags = np.array(listed.tags[7])
    got = crf.path_marginals(case.e_TBK, tags[:, None], case.lengths_B, case.scores, level=level)
    np.testing.assert_allclose(np.exp(-got.nll_B[0]), share[7], rtol=1e-5)
    for first in range(5):
        for last in range(first, 5):
            span = slice(first, last + 1)
            want = sum(p for path, p in zip(listed.tags, share, strict=True) if path[span] == tuple(tags[span]))
            chain = got.p[first, 0] * np.prod(got.step[first + 1 : last + 1, 0])
            np.testing.assert_allclose(chain, want, rtol=1e-4)


@EVERY_LEVEL
def test_path_marginals_of_packed_rows_and_of_nothing_allowed(level):
    rng = np.random.default_rng(6)
    case = random_case(rng, 6, 4, [6, 4, 4, 1], spoil_padding=False)
    running = [(case.lengths_B > t).sum() for t in range(6)]
    packed = np.concatenate([case.e_TBK[t, :n] for t, n in enumerate(running)])
    tags = np.concatenate([case.tags_TB[t, :n] for t, n in enumerate(running)])
    want = crf.path_marginals(case.e_TBK, case.tags_TB, case.lengths_B, case.scores, level=level)
    got = crf.path_marginals(packed, tags, case.lengths_B, case.scores, level=level)
    for name in ("p", "step"):
        rows = np.concatenate([getattr(want, name)[t, :n] for t, n in enumerate(running)])
        np.testing.assert_array_equal(getattr(got, name), rows)
    never = case.scores._replace(end_K=np.full(4, -np.inf, np.float32))
    nothing = crf.path_marginals(case.e_TBK, case.tags_TB, case.lengths_B, never, level=level)
    assert np.isnan(nothing.p[:6, 0]).all()
    with pytest.raises(DataError, match="tag"):
        crf.path_marginals(case.e_TBK, case.tags_TB + 9, case.lengths_B, case.scores, level=level)


@EVERY_LEVEL
@pytest.mark.parametrize("forbid", [0.0, 0.4])
@pytest.mark.parametrize("weighted", [False, True])
def test_unknown_tags_by_every_path_listed(level, forbid, weighted):
    """log Z minus the log of what agrees with the known tags, and its gradients as differences of expectations."""
    rng = np.random.default_rng(9)
    case = random_case(rng, 5, 3, [5, 3, 0, 5, 1], scale=2.0, forbid=forbid)
    tags = case.tags_TB.copy()
    for b, length in enumerate(case.lengths_B):  # known tags of paths that are allowed
        if length:
            arrays, _ = case.sequence(b)
            listed = oracle.enumerate_paths(*arrays)
            tags[:length, b] = listed.tags[int(np.isfinite(listed.scores).sum()) // 2]
    tags[1:3, 0], tags[0, 1], tags[:, 3], tags[0, 4] = -1, -1, -1, -1
    weights_B = np.array([1.0, 2.0, 3.0, 0.5, 1.5], dtype=np.float32) if weighted else None
    nll_B, gradients = crf.nll_and_gradients(
        case.e_TBK, tags, case.lengths_B, case.scores, weights_B=weights_B, level=level
    )
    np.testing.assert_array_equal(crf.nll(case.e_TBK, tags, case.lengths_B, case.scores, level=level), nll_B)
    moves = np.zeros((3, 3))
    for b, length in enumerate(case.lengths_B):
        if not length:
            assert nll_B[b] == 0
            continue
        arrays, _ = case.sequence(b)
        known = tags[:length, b]
        held = arrays[0].copy()
        held[(known[:, None] >= 0) & (known[:, None] != np.arange(3))] = -np.inf
        listed = oracle.enumerate_paths(*arrays)
        agree = [all(k in (-1, y) for k, y in zip(known, path, strict=True)) for path in listed.tags]
        weight = np.exp(listed.scores)
        np.testing.assert_allclose(nll_B[b], np.log(weight.sum() / weight[agree].sum()), rtol=0, atol=2e-5)
        free, fixed = oracle.expectations(*arrays), oracle.expectations(held, *arrays[1:])
        factor = weights_B[b] if weighted else 1.0
        want = factor * (free.tags_LK - fixed.tags_LK)
        np.testing.assert_allclose(gradients.emissions[:length, b], want, rtol=0, atol=1e-5)
        moves += factor * (free.moves_KK - fixed.moves_KK)
    np.testing.assert_allclose(gradients.transitions_KK, np.where(np.isfinite(case.scores[0]), moves, 0), atol=1e-5)
    assert nll_B[3] == pytest.approx(0, abs=1e-5), "nothing known, nothing to learn"


def test_unknown_tags_that_are_no_tags():
    case = random_case(np.random.default_rng(1), 4, 3, [4, 2])
    for wrong in (-2, 3):
        tags = np.where(np.arange(4)[:, None] == 0, -1, case.tags_TB)
        tags[1, 0] = wrong
        with pytest.raises(DataError, match="tag is below -1 or not below the number of tags"):
            crf.nll(case.e_TBK, tags, case.lengths_B, case.scores)


@EVERY_LEVEL
def test_best_path_is_viterbi_with_its_shares(level):
    case = random_case(np.random.default_rng(3), 7, 17, [7, 0, 1, 4, 7], forbid=0.3)
    got = crf.best_path(case.e_TBK, case.lengths_B, case.scores, level=level)
    tags, scores_B = crf.viterbi(case.e_TBK, case.lengths_B, case.scores, level=level)
    np.testing.assert_array_equal(got.tags, tags)
    np.testing.assert_array_equal(got.scores_B, scores_B)
    want = crf.path_marginals(case.e_TBK, tags, case.lengths_B, case.scores, level=level)
    for part, expected in zip(got.shares, want, strict=True):
        np.testing.assert_array_equal(part, expected)
