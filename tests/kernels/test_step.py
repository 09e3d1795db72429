"""Single steps at every level, against the float64 oracles and against whole sequences."""

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
EVERY_LEVEL = pytest.mark.parametrize("level", kernels.levels())
EVERY_CELL = pytest.mark.parametrize("name", tuple(CELLS))
SIZES = [(1, 1), (17, 33), (64, 64), (31, 129), (5, 256)]
ERRORS = {"float32": 0.0, "bfloat16": 0.03, "int8": 0.1}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


def full_case(name: str, rng: np.random.Generator, T: int, B: int, I: int, H: int) -> Case:
    case = random_case(name, rng, T, B, I, H, P=max(1, H // 2)).rounded()
    x = rng.normal(size=case.x_TBI.shape)
    return Case(name, x, np.full(B, T), case.params, case.state).rounded()


def packed(case: Case, **options) -> kernels.Packed:
    return kernels.pack(case.name, case.params, **options)


def state_of(case: Case) -> kernels.RecurrentState:
    parts = CELLS[case.name].State(*(np.asarray(part, np.float32) for part in case.state.values()))
    units = len(case.params["b_G"]) // len(CELLS[case.name].gates)
    return kernels.RecurrentState((case.name,), (parts,), (units,))


def steps(case: Case, stepper: kernels.Stepper) -> np.ndarray:
    stepper.state = state_of(case)
    return np.stack([stepper.step(x_BI) for x_BI in case.x_TBI.astype(np.float32)])


@EVERY_LEVEL
@EVERY_CELL
@pytest.mark.parametrize(("I", "H"), SIZES)
@pytest.mark.parametrize("B", [1, 5])
def test_matches_float64(level, name, B, I, H, rng):
    case = full_case(name, rng, 4, B, I, H)
    want_y, want_state, _ = run(name, case.x_TBI, case.lengths, case.params, case.state)
    stepper = kernels.Stepper(packed(case, level=level), batch=B)
    y = steps(case, stepper)
    atol = 4 * EPS32 * math.sqrt(I + H)
    np.testing.assert_allclose(y, want_y, rtol=0, atol=atol * max(1.0, np.abs(want_y).max()))
    for part, want in zip(stepper.state.layers[0], want_state.values(), strict=True):
        np.testing.assert_allclose(part, want, rtol=0, atol=atol * max(1.0, np.abs(want).max()))


@EVERY_LEVEL
@EVERY_CELL
@pytest.mark.parametrize("precision", list(ERRORS))
def test_a_row_has_the_same_bits_alone_in_company_and_in_a_sequence(level, name, precision, rng):
    if level == "numpy":
        pytest.skip("NumPy's products depend on their shape")
    for I, H in SIZES:
        case = full_case(name, rng, 4, 6, I, H)
        weights = packed(case, level=level, precision=precision)
        zeros = Case(name, case.x_TBI, case.lengths, case.params, {k: 0 * v for k, v in case.state.items()})
        together = steps(zeros, kernels.Stepper(weights, batch=6))
        y, _ = kernels.sequence(name, case.x_TBI, case.lengths, weights)
        np.testing.assert_array_equal(together, y)
        alone = kernels.Stepper(weights)
        for b in (0, 5):
            alone.reset()
            one = np.stack([alone.step(x_I)[0] for x_I in case.x_TBI[:, b].astype(np.float32)])
            np.testing.assert_array_equal(one, together[:, b])


@EVERY_LEVEL
@EVERY_CELL
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_low_precision_stays_near(level, name, precision, rng):
    case = full_case(name, rng, 5, 1, 64, 64)
    want_y, _, _ = run(name, case.x_TBI, case.lengths, case.params, case.state)
    y = steps(case, kernels.Stepper(packed(case, level=level, precision=precision)))
    assert np.abs(y - want_y).max() <= ERRORS[precision] * max(1.0, np.abs(want_y).max())


@EVERY_LEVEL
@EVERY_CELL
def test_a_step_by_id_is_a_step_with_its_row(level, name, rng):
    case = full_case(name, rng, 1, 1, 19, 48)
    weights = packed(case, level=level)
    embedding_VI = rng.normal(size=(7, 19)).astype(np.float32)
    for B in (1, 3):
        table = kernels.fold(weights, embedding_VI)
        by_id, by_row = kernels.Stepper(weights, batch=B, table=table), kernels.Stepper(weights, batch=B)
        small = kernels.Stepper(weights, batch=B, table=kernels.fold(weights, embedding_VI, precision="bfloat16"))
        for ids in rng.integers(7, size=(5, B)):
            want = by_row.step(embedding_VI[ids])
            np.testing.assert_array_equal(by_id.step_id(ids if B > 1 else int(ids[0])), want)
            assert np.abs(small.step_id(ids) - want).max() <= 0.03 * max(1.0, np.abs(want).max())
        for odd in (7, -1, np.zeros(B + 1, np.int64), np.zeros(B, np.float32), "a", None, 1 << 70):
            with pytest.raises(DataError, match="step_id takes"):
                by_id.step_id(odd)
        with pytest.raises(DataError, match="step_id takes"):
            by_row.step_id(np.zeros(B, np.int64))


@EVERY_LEVEL
def test_layers_on_top_of_each_other(level, rng):
    below, above = full_case("gru", rng, 6, 2, 9, 20), full_case("lstm", rng, 6, 2, 20, 12)
    packs = [packed(below, level=level), packed(above, level=level)]
    stepper = kernels.Stepper(packs, batch=2)
    y = np.stack([stepper.step(x_BI) for x_BI in below.x_TBI.astype(np.float32)])
    h, _ = kernels.sequence("gru", below.x_TBI, below.lengths, packs[0])
    want, last = kernels.sequence("lstm", h, below.lengths, packs[1])
    np.testing.assert_allclose(y, want, atol=1e-6)
    np.testing.assert_allclose(stepper.state.layers[1].c_BH, last.c_BH, atol=1e-6)
    np.testing.assert_array_equal(stepper.h_BH, y[-1])


@EVERY_LEVEL
@EVERY_CELL
def test_states_travel(level, name, rng):
    """Out, to bytes, back, into another stepper; rows chosen, doubled, dropped and reset."""
    case = full_case(name, rng, 6, 4, 8, 33)
    weights, x = packed(case, level=level), case.x_TBI.astype(np.float32)
    stepper = kernels.Stepper(weights, batch=4)
    for t in range(3):
        stepper.step(x[t])
    saved = stepper.state
    other = kernels.Stepper(weights)
    other.state = kernels.RecurrentState.from_bytes(saved.to_bytes())
    assert other.batch == 4
    np.testing.assert_array_equal(other.step(x[3]), stepper.step(x[3]))
    for chosen in ([2, 0, 0, 1], [3], [1, 1, 2, 3, 0, 0, 3]):
        stepper.state = saved
        stepper.select(chosen)
        other.state = saved.select(chosen)
        want = stepper.step(x[4][chosen])
        np.testing.assert_array_equal(other.step(x[4][chosen]), want)
        assert want.shape[0] == len(chosen) == stepper.batch
    stepper.state = saved
    stepper.reset([1, 3])
    fresh = kernels.Stepper(weights, batch=4)
    y, zero = stepper.step(x[4]), fresh.step(x[4])
    np.testing.assert_allclose(y[[1, 3]], zero[[1, 3]], atol=1e-6)
    assert np.abs(y[[0, 2]] - zero[[0, 2]]).max() > 1e-4
    stepper.reset()
    np.testing.assert_array_equal(stepper.step(x[4]), zero)


def test_streams_of_many_users(rng):
    """Each keeps its own state; those that have something to say are stepped together."""
    case = full_case("lstm", rng, 8, 3, 5, 21)
    weights, x = packed(case), case.x_TBI.astype(np.float32)
    want, _ = kernels.sequence("lstm", x, case.lengths, weights)
    states = [kernels.Stepper(weights).state for _ in range(3)]
    at = [0, 0, 0]
    stepper = kernels.Stepper(weights)
    while speaking := [b for b in range(3) if at[b] < 8 and (rng.random() < 0.6)] or [b for b in range(3) if at[b] < 8]:
        stepper.state = kernels.RecurrentState.stack([states[b] for b in speaking])
        y = stepper.step(np.stack([x[at[b], b] for b in speaking]))
        after = stepper.state
        for place, b in enumerate(speaking):
            np.testing.assert_allclose(y[place], want[at[b], b], atol=1e-6)
            states[b] = after.select([place])
            at[b] += 1


def test_results_are_the_callers_own(rng):
    case = full_case("lstm", rng, 6, 1, 5, 7)
    stepper, x = kernels.Stepper(packed(case)), case.x_TBI.astype(np.float32)
    kept, copies = [], []
    for x_BI in x:
        kept.append(stepper.step(x_BI))
        copies.append(kept[-1].copy())
        stepper.step(x_BI)
    np.testing.assert_array_equal(np.stack(kept), np.stack(copies))
    # A result changed by its holder and then dropped does no harm.
    for _ in range(8):
        result = stepper.step(x[0])
        result.shape = (7,)
        result.flags.writeable = False
        del result
        assert stepper.step(x[0]).shape == (1, 7)
    views = [stepper.step(x[0])[0, :3] for _ in range(6)]
    numbers = [view.copy() for view in views]
    stepper.step(x[1])
    np.testing.assert_array_equal(np.stack(views), np.stack(numbers))


@EVERY_LEVEL
def test_out_and_layouts(level, rng):
    case = full_case("gru", rng, 2, 3, 6, 10)
    weights, x = packed(case, level=level), case.x_TBI[0].astype(np.float32)
    want = kernels.Stepper(weights, batch=3).step(x)
    wide = np.zeros((3, 40), np.float32)
    wide[:, 7:13] = x
    out = np.zeros((3, 30), np.float32)
    returned = kernels.Stepper(weights, batch=3).step(wide[:, 7:13], out=out[:, 5:15])
    np.testing.assert_array_equal(returned, want)
    np.testing.assert_array_equal(out[:, 5:15], want)
    assert not out[:, :5].any()
    assert not out[:, 15:].any()
    np.testing.assert_array_equal(kernels.Stepper(weights, batch=3).step(x[::-1]), want[::-1])
    vector = np.empty(10, np.float32)
    kernels.Stepper(weights).step(x[0], vector)
    np.testing.assert_array_equal(vector, kernels.Stepper(weights).step(x[:1])[0])


@EVERY_LEVEL
def test_mistakes_are_named(level, rng):
    case = full_case("lstm", rng, 1, 1, 6, 10)
    weights = packed(case, level=level)
    stepper, good = kernels.Stepper(weights, batch=2), np.zeros((2, 6), np.float32)
    locked = np.zeros((2, 10), np.float32)
    locked.flags.writeable = False
    odd = [good[:1], good[:, :5], good.astype(np.float64), np.zeros((2, 2, 6), np.float32), np.zeros(6, np.float32)]
    for x in [*odd, good.astype(">f4"), "text", None, [[0.0] * 6] * 2]:
        with pytest.raises(DataError, match=r"float32 array of shape \(2, 6\)"):
            stepper.step(x)
    if level != "numpy":
        for out in (good, locked, np.zeros((2, 10)), 3):
            with pytest.raises(DataError, match=r"out must be a float32 array of shape \(2, 10\)"):
                stepper.step(good, out=out)
        with pytest.raises(DataError, match="contiguous"):
            stepper.step(np.asfortranarray(good))
        for arguments, keywords in [((), {}), ((good, None, None), {}), ((good,), {"into": good})]:
            with pytest.raises(TypeError):
                stepper.step(*arguments, **keywords)
    np.testing.assert_array_equal(stepper.step(good), kernels.Stepper(weights, batch=2).step(good))
    for rows in ([2], [-1], [0.5], [[0]], "ab"):
        with pytest.raises(DataError):
            stepper.select(rows)
        with pytest.raises(DataError):
            stepper.reset(rows)
    with pytest.raises(DataError, match="no rows"):
        stepper.select([])
    for batch in (0, -1, 1.5, True):
        with pytest.raises(ConfigError, match="batch must be"):
            kernels.Stepper(weights, batch=batch)
    with pytest.raises(ConfigError, match="one below has 10 outputs"):
        kernels.Stepper([weights, weights])
    with pytest.raises(ConfigError, match="at least one layer"):
        kernels.Stepper([])
    with pytest.raises(ConfigError, match="other weights"):
        kernels.Stepper(packed(case, level=level), table=kernels.fold(weights, np.zeros((3, 6))))
    with pytest.raises(DataError, match="rows of 6"):
        kernels.fold(weights, np.zeros((3, 5)))
    with pytest.raises(DataError, match="not one of these layers"):
        stepper.state = kernels.RecurrentState.zeros([("lstm", 11, 11)], 2)
    with pytest.raises(DataError, match="not one of these layers"):
        stepper.state = None


@pytest.mark.skipif(not kernels.available(), reason="built without the extension")
@pytest.mark.parametrize("precision", list(ERRORS))
def test_threads_change_no_bits(precision, rng):
    case = full_case("lstm", rng, 3, 1, 128, 512)
    weights = packed(case, precision=precision)
    before = kernels.threads()
    try:
        results = []
        for threads in (1, 2, 3):
            kernels.set_threads(threads)
            results.append(steps(case, kernels.Stepper(weights)))
    finally:
        kernels.set_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.skipif(not kernels.available(), reason="built without the extension")
def test_one_thread_at_a_time(rng):
    """Steppers of their own in several threads agree; a shared one refuses the second thread or serves it in turn."""
    case = full_case("lstm", rng, 4, 1, 256, 512)
    weights = packed(case)
    want = steps(case, kernels.Stepper(weights))
    got: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: got.append(steps(case, kernels.Stepper(weights)))) for _ in range(4)]
    shared, refused = kernels.Stepper(weights), []

    def hammer() -> None:
        for x_BI in list(case.x_TBI.astype(np.float32)) * 5:
            try:
                shared.step(x_BI)
            except DataError as error:
                refused.append(str(error))

    threads += [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in got:
        np.testing.assert_array_equal(one, want)
    assert all("one step at a time" in message for message in refused)


@EVERY_LEVEL
@EVERY_CELL
def test_nan_comes_through(level, name, rng):
    case = full_case(name, rng, 2, 3, 16, 20)
    weights, x = packed(case, level=level), case.x_TBI.astype(np.float32)
    clean = kernels.Stepper(weights, batch=3)
    dirty = kernels.Stepper(weights, batch=3)
    poisoned = x[0].copy()
    poisoned[1, 3] = np.nan
    clean.step(x[0])
    dirty.step(poisoned)
    a, b = clean.step(x[1]), dirty.step(x[1])
    assert np.isnan(b[1]).all()
    np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])


@EVERY_CELL
def test_state_bytes_are_checked(name, rng):
    case = full_case(name, rng, 1, 3, 4, 5)
    state = state_of(case)
    data = state.to_bytes()
    back = kernels.RecurrentState.from_bytes(data)
    assert back.shapes == state.shapes
    assert len(back) == 3
    for part, want in zip(back.layers[0], state.layers[0], strict=True):
        np.testing.assert_array_equal(part, want)
        assert part.flags.writeable
    assert back.to_bytes() == data == state.copy().to_bytes()
    for cut in range(len(data)):
        with pytest.raises(DataError):
            kernels.RecurrentState.from_bytes(data[:cut])
    with pytest.raises(DataError):
        kernels.RecurrentState.from_bytes(data + b"\0")
    for _ in range(300):
        hostile = bytearray(data)
        hostile[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        with pytest.raises(DataError):
            kernels.RecurrentState.from_bytes(hostile)
    for place in range(4, 40, 4):
        for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
            hostile = bytearray(data)
            hostile[place : place + 4] = value.to_bytes(4, "little")
            if hostile != data:
                with pytest.raises(DataError):
                    kernels.RecurrentState.from_bytes(hostile)


def test_states_are_stacked_and_chosen(rng):
    one, two = (state_of(full_case("lstm", rng, 1, B, 4, 5)) for B in (2, 3))
    both = kernels.RecurrentState.stack([one, two])
    assert len(both) == 5
    np.testing.assert_array_equal(both.select([2, 3, 4]).layers[0].h_BH, two.layers[0].h_BH)
    np.testing.assert_array_equal(both.select([0, 1]).layers[0].c_BH, one.layers[0].c_BH)
    assert len(both.select([])) == 0
    copy = both.copy()
    copy.layers[0].h_BH[:] = 0
    assert both.layers[0].h_BH.any()
    with pytest.raises(DataError, match="no states"):
        kernels.RecurrentState.stack([])
    with pytest.raises(DataError, match="do not go together"):
        kernels.RecurrentState.stack([one, state_of(full_case("gru", rng, 1, 2, 4, 5))])
    for rows in ([5], [-1]):
        with pytest.raises(DataError, match="not all among"):
            both.select(rows)
    with pytest.raises(ConfigError):
        kernels.RecurrentState.zeros([("lstm", 4, 5)], 1)
