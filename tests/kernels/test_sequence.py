"""The sequence kernels at every level, against the float64 oracles.

Budget: an output's error is at most 4 eps sqrt(I + H), eps = 2^-23, for rows of weights with norm about 1. Right code
uses up to a quarter of it (rnn-relu, whose outputs have no bound, three quarters); a swapped gate, thousands of times
as much.
"""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.errors import ConfigError, DataError
from oracles import run
from oracles.cases import Case, random_case

EPS32 = 2.0**-23
NATIVE = tuple(CELLS)

pytestmark = pytest.mark.skipif(not kernels.available(), reason="built without the extension")

EVERY_LEVEL = pytest.mark.parametrize("level", kernels.levels())
EVERY_KERNEL = pytest.mark.parametrize("name", NATIVE)
EITHER_WAY = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240502)


def compute(case: Case, *, level: str, reverse: bool = False):
    return kernels.sequence(
        case.name, case.x_TBI, case.lengths, case.params, case.cell_state, reverse=reverse, level=level
    )


def full_lengths(case: Case, rng: np.random.Generator) -> Case:
    x = rng.normal(size=case.x_TBI.shape)
    return Case(case.name, x, np.full(x.shape[1], x.shape[0]), case.params, case.state)


@EVERY_LEVEL
@EVERY_KERNEL
@EITHER_WAY
@pytest.mark.parametrize(
    ("T", "B", "I", "H"),
    # Sizes around vector and panel widths, rows above and below what a micro-kernel takes, more than one chunk ahead.
    [(1, 1, 1, 1), (7, 3, 11, 17), (5, 13, 3, 16), (4, 6, 33, 31), (9, 7, 2, 65), (100, 4, 64, 64), (40, 29, 8, 130)],
)
def test_matches_float64(level, name, reverse, T, B, I, H, rng):
    case = random_case(name, rng, T, B, I, H).rounded()
    want_y, want_state, _ = run(name, case.x_TBI, case.lengths, case.params, case.state, reverse=reverse)
    y, state = compute(case, level=level, reverse=reverse)
    atol = 4 * EPS32 * math.sqrt(I + H)
    np.testing.assert_allclose(y, want_y, rtol=0, atol=atol)
    for part, want in zip(state, want_state.values(), strict=True):
        # Memory has no bound: its error grows with its size.
        np.testing.assert_allclose(part, want, rtol=0, atol=atol * max(1.0, np.abs(want).max()))
    for b, length in enumerate(case.lengths):
        assert not y[length:, b].any()


@EVERY_KERNEL
def test_the_budget_catches_swapped_gates(name, rng):
    """The tolerance means something: weights with two gates exchanged miss it by far."""
    case = random_case(name, rng, 7, 3, 11, 17).rounded()
    gates = len(CELLS[name].gates)
    order = np.roll(np.arange(gates), 1) if gates > 1 else np.array([0])
    wrong = {
        key: value.reshape(gates, -1, *value.shape[1:])[order].reshape(value.shape) if gates > 1 else value[::-1]
        for key, value in case.params.items()
        if key[-2:] in ("_G", "GI", "GH", "GP")
    }
    want_y, _, _ = run(name, case.x_TBI, case.lengths, {**case.params, **wrong}, case.state)
    y, _ = compute(case, level=kernels.level())
    assert np.abs(y - want_y).max() > 1000 * 4 * EPS32 * math.sqrt(11 + 17)


@EVERY_LEVEL
@EVERY_KERNEL
def test_a_sequence_alone_has_the_same_bits_as_in_a_batch(level, name, rng):
    if level == "numpy":
        pytest.skip("NumPy's matrix product depends on the number of rows")
    case = random_case(name, rng, 9, 14, 21, 37)
    y, state = compute(case, level=level)
    for b in range(14):
        length = case.lengths[b]
        start = {key: value[b : b + 1] for key, value in case.state.items()}
        alone = Case(name, case.x_TBI[:length, b : b + 1], case.lengths[b : b + 1], case.params, start)
        y_alone, state_alone = compute(alone, level=level)
        np.testing.assert_array_equal(y[:length, b : b + 1], y_alone)
        for part, want in zip(state, state_alone, strict=True):
            np.testing.assert_array_equal(part[b : b + 1], want)


@EVERY_LEVEL
@EVERY_KERNEL
def test_carried_state_equals_one_long_sequence(level, name, rng):
    case = full_lengths(random_case(name, rng, 12, 3, 5, 20), rng)
    y, state = compute(case, level=level)
    packed = kernels.pack(name, case.params, level=level)
    carried, pieces = case.cell_state, []
    for start, end in ((0, 5), (5, 6), (6, 12)):
        piece, carried = kernels.sequence(name, case.x_TBI[start:end], np.full(3, end - start), packed, carried)
        pieces.append(piece)
    np.testing.assert_allclose(np.concatenate(pieces), y, rtol=0, atol=EPS32)
    for part, want in zip(carried, state, strict=True):
        np.testing.assert_allclose(part, want, rtol=0, atol=EPS32)


@EVERY_LEVEL
@EVERY_KERNEL
def test_padding_is_never_read(level, name, rng):
    case = random_case(name, rng, 6, 4, 3, 5)
    y, state = compute(case, level=level)
    spoiled = case.x_TBI.copy()
    for b, length in enumerate(case.lengths):
        spoiled[length:, b] = np.nan
    y_spoiled, state_spoiled = compute(Case(name, spoiled, case.lengths, case.params, case.state), level=level)
    np.testing.assert_array_equal(y, y_spoiled)
    for part, want in zip(state, state_spoiled, strict=True):
        np.testing.assert_array_equal(part, want)


@EVERY_LEVEL
@EVERY_KERNEL
def test_nan_comes_through(level, name, rng):
    case = full_lengths(random_case(name, rng, 4, 3, 3, 5), rng)
    case.x_TBI[1, 1] = np.nan
    y, _ = compute(case, level=level)
    assert np.isnan(y[1:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()
    assert np.isfinite(y[0]).all()


@EVERY_LEVEL
@EVERY_KERNEL
def test_empty_sequences_and_empty_batches(level, name, rng):
    case = full_lengths(random_case(name, rng, 4, 3, 2, 5), rng)
    state = [part.astype(np.float32) for part in case.cell_state]
    y, last = compute(Case(name, case.x_TBI, np.array([0, 4, 0]), case.params, case.state), level=level)
    assert not y[:, [0, 2]].any()
    assert y[:, 1].all() or name == "rnn-relu"
    for part, want in zip(last, state, strict=True):
        np.testing.assert_array_equal(part[[0, 2]], want[[0, 2]])
    none = {key: value[:0] for key, value in case.state.items()}
    y, _ = compute(Case(name, case.x_TBI[:, :0], np.zeros(0, int), case.params, none), level=level)
    assert y.shape == (4, 0, case.state["h"].shape[1])
    y, last = compute(Case(name, case.x_TBI[:0], np.zeros(3, int), case.params, case.state), level=level)
    assert y.shape == (0, 3, case.state["h"].shape[1])
    np.testing.assert_array_equal(last[0], state[0])


@EVERY_LEVEL
@EVERY_KERNEL
def test_inputs_are_left_alone_and_may_be_strided_or_read_only(level, name, rng):
    case = random_case(name, rng, 6, 4, 3, 5)
    x = case.x_TBI.astype(np.float32)
    y, _ = kernels.sequence(name, x, case.lengths, case.params, case.cell_state, level=level)
    batch_first = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    batch_first.flags.writeable = False
    params = {key: np.asfortranarray(value.astype(np.float32)) for key, value in case.params.items()}
    for value in params.values():
        value.flags.writeable = False
    kept = [part.copy() for part in case.cell_state]
    lengths = case.lengths.astype(np.int32)
    y_again, _ = kernels.sequence(name, batch_first, lengths, params, case.cell_state, level=level)
    np.testing.assert_array_equal(y, y_again)
    for part, want in zip(case.cell_state, kept, strict=True):
        np.testing.assert_array_equal(part, want)


def test_threads_share_packed_weights(rng):
    case = full_lengths(random_case("lstm", rng, 30, 4, 16, 32), rng)
    packed = kernels.pack("lstm", case.params)
    want, _ = kernels.sequence("lstm", case.x_TBI, case.lengths, packed)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            y, _ = kernels.sequence("lstm", case.x_TBI, case.lengths, packed)
            if not np.array_equal(y, want):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_packed_weights_do_not_follow_their_source(rng):
    case = random_case("gru", rng, 3, 2, 2, 4)
    params = {key: value.astype(np.float32) for key, value in case.params.items()}
    packed = kernels.pack("gru", params)
    y, _ = kernels.sequence("gru", case.x_TBI, case.lengths, packed)
    params["w_GI"][:] = 7
    np.testing.assert_array_equal(kernels.sequence("gru", case.x_TBI, case.lengths, packed)[0], y)
    assert (packed.inputs, packed.units, packed.outputs) == (2, 4, 4)
    assert packed.nbytes >= sum(value.nbytes for value in params.values())


@EVERY_LEVEL
def test_mistakes_are_errors(level, rng):
    case = random_case("lstm", rng, 4, 3, 2, 5)
    packed = kernels.pack("lstm", case.params, level=level)
    good = (case.x_TBI, case.lengths, packed, case.cell_state)
    with pytest.raises(DataError, match=r"takes \(T, B, 2\)"):
        kernels.sequence("lstm", case.x_TBI[:, :, :1], *good[1:])
    for lengths in ([1, 2, 5], [1, 2, -1], [1, 2]):
        with pytest.raises(DataError, match="lengths_B"):
            kernels.sequence("lstm", case.x_TBI, np.array(lengths), packed)
    short = type(case.cell_state)(case.cell_state[0], case.cell_state[1][:, :4])
    with pytest.raises(DataError, match=r"c_BH has shape \(3, 4\), expected \(3, 5\)"):
        kernels.sequence("lstm", *good[:3], short)
    with pytest.raises(ConfigError, match="must be a LSTMState, got tuple"):
        kernels.sequence("lstm", *good[:3], tuple(case.cell_state))
    with pytest.raises(ConfigError, match="packed for lstm"):
        kernels.sequence("gru", *good[:3])
    with pytest.raises(ConfigError, match=r"r_GH has shape \(20, 4\), expected \(20, 5\)"):
        kernels.pack("lstm", {**case.params, "r_GH": case.params["r_GH"][:, :4]}, level=level)
    with pytest.raises(ConfigError, match="Did you mean 'lstm'"):
        kernels.pack("lstmm", case.params)
