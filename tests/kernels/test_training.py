"""The training kernels at every level: outputs and all gradients against the float64 oracles.

Budget of a gradient: 8 eps sqrt(I + H) times the largest entry of its array and the square root of the longest length.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.errors import ConfigError, DataError
from oracles import run, run_backward
from oracles.cases import Case, random_case

EPS32 = 2.0**-23

pytestmark = pytest.mark.skipif(not kernels.available(), reason="built without the extension")

EVERY_LEVEL = pytest.mark.parametrize("level", [name for name in kernels.levels() if name != "numpy"])
EVERY_CELL = pytest.mark.parametrize("name", list(CELLS))
SIZES = [(1, 1, 1, 1), (7, 3, 11, 17), (5, 13, 3, 16), (6, 9, 33, 31), (30, 5, 15, 15), (12, 40, 8, 129)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


def both(case: Case, other: Case) -> tuple[list, list]:
    """Weights and states of the two directions."""
    return [case.params, other.params], [case.cell_state, other.cell_state]


def packed_rows(a_TBX: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows of a PackedSequence; lengths must fall."""
    return np.concatenate([a_TBX[t, : int((lengths > t).sum())] for t in range(int(lengths[0]))])


def close(got: np.ndarray, want: np.ndarray, budget: float) -> None:
    size = max(1.0, float(np.abs(want).max(initial=0.0)))
    np.testing.assert_allclose(got, want, rtol=0, atol=budget * size)


@EVERY_LEVEL
@EVERY_CELL
@pytest.mark.parametrize(("T", "B", "I", "H"), SIZES)
def test_both_directions_match_float64(level, name, T, B, I, H, rng):
    case = random_case(name, rng, T, B, I, H, shortest=0).rounded()
    other = random_case(name, rng, T, B, I, H).rounded()
    params, states = both(case, other)
    y, last, tape = kernels.recurrent_forward(name, case.x_TBI, case.lengths, params, states, level=level)
    width = y.shape[2] // 2
    dy = rng.normal(size=y.shape).astype(np.float32)
    dlast = [type(state)(*(rng.normal(size=part.shape).astype(np.float32) for part in state)) for state in last]
    dx, dparams, dstates = kernels.recurrent_backward(
        name, tape, case.x_TBI, case.lengths, params, states, dy, dlast, level=level
    )
    budget = 8 * EPS32 * math.sqrt((I + H) * T)
    want_dx = 0.0
    for d, own in enumerate((case, other)):
        reverse = d == 1
        columns = slice(d * width, (d + 1) * width)
        want_y, want_last, tapes = run(name, case.x_TBI, case.lengths, own.params, own.state, reverse=reverse)
        close(y[:, :, columns], want_y, budget)
        for part, want in zip(last[d], want_last.values(), strict=True):
            close(part, want, budget)
        ends = dict(zip(own.state, (part.astype(float) for part in dlast[d]), strict=True))
        dy_d = dy[:, :, columns].astype(float)
        dx_d, start, grads = run_backward(name, own.params, tapes, dy_d, case.lengths, ends, I, reverse=reverse)
        want_dx = want_dx + dx_d
        for part, want in zip(dstates[d], start.values(), strict=True):
            close(part, want, budget)
        for key, want in grads.items():
            close(getattr(dparams[d], key), want, budget * math.sqrt(B))
    close(dx, want_dx, budget)
    for b, length in enumerate(case.lengths):
        assert not y[length:, b].any()
        assert not dx[length:, b].any()


@EVERY_CELL
def test_packed_rows_and_strides_give_the_same_bits(name, rng):
    case = random_case(name, rng, 9, 6, 5, 20).rounded()
    lengths = np.sort(case.lengths)[::-1]
    params, states = [case.params], [case.cell_state]
    x = case.x_TBI.astype(np.float32)
    y, last, tape = kernels.recurrent_forward(name, x, lengths, params, states)
    dy = rng.normal(size=y.shape).astype(np.float32)
    dx, dparams, dstates = kernels.recurrent_backward(name, tape, x, lengths, params, states, dy, None)

    rows = packed_rows(x, lengths)
    y_N, last_N, tape = kernels.recurrent_forward(name, rows, lengths, params, states)
    np.testing.assert_array_equal(y_N, packed_rows(y, lengths))
    dy_N = packed_rows(dy, lengths)
    dx_N, dparams_N, dstates_N = kernels.recurrent_backward(name, tape, rows, lengths, params, states, dy_N, None)
    np.testing.assert_array_equal(dx_N, packed_rows(dx, lengths))

    batch_first = np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    y_B, last_B, tape = kernels.recurrent_forward(name, batch_first, lengths, params, states)
    np.testing.assert_array_equal(y_B, y)
    dy_B = np.ascontiguousarray(dy.transpose(1, 0, 2)).transpose(1, 0, 2)
    dx_B, dparams_B, dstates_B = kernels.recurrent_backward(
        name, tape, batch_first, lengths, params, states, dy_B, None
    )
    np.testing.assert_array_equal(dx_B, dx)
    for mine in (last_N, last_B):
        for part, want in zip(mine[0], last[0], strict=True):
            np.testing.assert_array_equal(part, want)
    for ours in (dparams_N, dparams_B):
        for part, want in zip(ours[0], dparams[0], strict=True):
            np.testing.assert_array_equal(part, want)
    for ours in (dstates_N, dstates_B):
        for part, want in zip(ours[0], dstates[0], strict=True):
            np.testing.assert_array_equal(part, want)


def regularised(name, rng, case):
    """Masks, in rows as x."""
    T, B = case.x_TBI.shape[:2]
    width = next(iter(case.state.values())).shape[1]
    units = len(case.params["b_G"]) // len(CELLS[name].gates)
    mask = (rng.random((B, width)) < 0.7).astype(np.float32) / 0.7
    keep_h = rng.random((T, B, width)) < 0.3
    keep_c = rng.random((T, B, units)) < 0.3
    return mask, keep_h, keep_c


def regularised_by_steps(name, case, p, mask, keep_h, keep_c):
    """Loss-free definition in float64: the cell's step with masked h where matrices see it, then zoneout."""
    cell = CELLS[name]
    B = len(case.lengths)
    params = cell.Params(**p)
    outputs = []
    ends = []
    for b in range(B):
        state = cell.State(*(part[b : b + 1] for part in case.cell_state))
        for t in range(case.lengths[b]):
            h = state[0]
            masked = h * mask[b : b + 1]
            new = cell.step(np, case.x_TBI[t, b : b + 1], type(state)(masked, *state[1:]), params)
            if "z" in cell.gates:
                units, place = h.shape[1], cell.gates.index("z")
                rows = slice(place * units, (place + 1) * units)
                z = case.x_TBI[t, b : b + 1] @ params.w_GI[rows].T + masked @ params.r_GH[rows].T + params.b_G[rows]
                if hasattr(params, "rb_G"):
                    z = z + params.rb_G[rows]
                new = type(state)(new[0] + 1 / (1 + np.exp(-z)) * (h - masked))
            keeps = (keep_h[t, b : b + 1], keep_c[t, b : b + 1])
            state = type(state)(*(np.where(k, a, n) for k, a, n in zip(keeps, state, new, strict=False)))
            outputs.append(((t, b), state[0]))
        ends.append(state)
    return outputs, ends


@EVERY_LEVEL
@EVERY_CELL
def test_masks_and_zoneout_match_the_definition(level, name, rng):
    case = random_case(name, rng, 5, 3, 4, 6).rounded()
    mask, keep_h, keep_c = regularised(name, rng, case)
    options = dict(recurrent_masks=[mask], keep_h=[keep_h.view(np.uint8)], keep_c=[keep_c.view(np.uint8)], level=level)
    params, states = [case.params], [case.cell_state]
    y, last, tape = kernels.recurrent_forward(name, case.x_TBI, case.lengths, params, states, **options)
    weights = rng.normal(size=y.shape)
    weights[np.arange(5)[:, None] >= case.lengths] = 0.0
    dlast = type(last[0])(*(rng.normal(size=part.shape) for part in last[0]))

    def loss(p: dict[str, np.ndarray]) -> float:
        outputs, ends = regularised_by_steps(name, case, p, mask, keep_h, keep_c)
        total = sum(float((weights[place] * h).sum()) for place, h in outputs)
        return total + sum(
            float((g[b] * part).sum()) for b, end in enumerate(ends) for g, part in zip(dlast, end, strict=True)
        )

    outputs, _ = regularised_by_steps(name, case, case.params, mask, keep_h, keep_c)
    for place, h in outputs:
        np.testing.assert_allclose(y[place], h[0], rtol=0, atol=1e-5)
    _, dparams, _ = kernels.recurrent_backward(
        name, tape, case.x_TBI, case.lengths, params, states, weights, [dlast], **options
    )
    for key, value in case.params.items():
        for _ in range(3):
            place = tuple(rng.integers(size) for size in value.shape)
            shifted = []
            for step in (1e-6, -1e-6):
                moved = value.copy()
                moved[place] += step
                shifted.append(loss({**case.params, key: moved}))
            slope = (shifted[0] - shifted[1]) / 2e-6
            np.testing.assert_allclose(getattr(dparams[0], key)[place], slope, rtol=1e-3, atol=2e-4)


@EVERY_CELL
def test_threads_change_no_bit(name, rng):
    case = random_case(name, rng, 8, 17, 6, 10).rounded()
    before = kernels.threads()
    results = []
    try:
        for count in (1, 2, 3):
            kernels.set_threads(count)
            y, last, tape = kernels.recurrent_forward(name, case.x_TBI, case.lengths, [case.params], [case.cell_state])
            kernels.set_threads(4 - count)  # the tape knows how it was dealt out
            dx, dparams, _ = kernels.recurrent_backward(
                name, tape, case.x_TBI, case.lengths, [case.params], [case.cell_state], y, last
            )
            results.append((y, last, dx, dparams))
    finally:
        kernels.set_threads(before)
    for y, last, dx, dparams in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(last[0][0], results[0][1][0][0])
        np.testing.assert_array_equal(dx, results[0][2])
        for key, want in results[0][3][0]._asdict().items():
            part = getattr(dparams[0], key)
            if key[0] in "gp" or key == "bc_H":  # gains and peepholes: sums of the threads' sums
                np.testing.assert_allclose(part, want, rtol=1e-5, atol=1e-5)
            else:
                np.testing.assert_array_equal(part, want)


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm-layernorm"])
def test_nan_stays_in_its_sequence(name, rng):
    case = random_case(name, rng, 6, 4, 3, 5).rounded()
    x = case.x_TBI.copy()
    lengths = np.full(4, 6)
    x[np.abs(x) > 100] = 0.5
    clean, _, _ = kernels.recurrent_forward(name, x, lengths, [case.params], [case.cell_state])
    x[2, 1, 0] = np.nan
    y, _, _ = kernels.recurrent_forward(name, x, lengths, [case.params], [case.cell_state])
    assert np.isnan(y[2:, 1]).all()
    np.testing.assert_array_equal(y[:, [0, 2, 3]], clean[:, [0, 2, 3]])
    np.testing.assert_array_equal(y[:2, 1], clean[:2, 1])


def test_mistakes_are_named(rng):
    case = random_case("lstm", rng, 3, 2, 4, 5).rounded()
    args = ([case.params], [case.cell_state])
    with pytest.raises(DataError, match="takes 4 inputs"):
        kernels.recurrent_forward("lstm", case.x_TBI[:, :, :3], case.lengths, *args)
    with pytest.raises(DataError, match="a length is below 0 or above the steps"):
        kernels.recurrent_forward("lstm", case.x_TBI, np.array([4, 1]), *args)
    with pytest.raises(DataError, match="must fall"):
        kernels.recurrent_forward("lstm", case.x_TBI.reshape(6, 4)[:5], np.array([2, 3]), *args)
    with pytest.raises(ConfigError, match="precision 'int8' is unknown here"):
        kernels.recurrent_forward("lstm", case.x_TBI, case.lengths, *args, precision="int8")
    with pytest.raises(ConfigError, match="need the compiled extension"):
        kernels.recurrent_forward("lstm", case.x_TBI, case.lengths, *args, level="numpy")
    _, _, tape = kernels.recurrent_forward("lstm", case.x_TBI, case.lengths, *args)
    with pytest.raises(DataError, match="tape is too small"):
        kernels.recurrent_backward("lstm", tape[:9], case.x_TBI, case.lengths, *args, None, None)
    with pytest.raises(DataError, match="dy has shape"):
        kernels.recurrent_backward("lstm", tape, case.x_TBI, case.lengths, *args, np.zeros((3, 2, 4)), None)


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """Length of the difference over the length of what is wanted."""
    return float(np.linalg.norm(got - want) / max(1e-3, np.linalg.norm(want)))


@EVERY_LEVEL
@EVERY_CELL
def test_bfloat16_gradients_are_close(level, name, rng):
    case = random_case(name, rng, 9, 7, 21, 37, P=11).rounded()
    params, states = [case.params], [case.cell_state]
    y, _, tape = kernels.recurrent_forward(
        name, case.x_TBI, case.lengths, params, states, precision="bfloat16", level=level
    )
    budget = 8e-2 if name == "rnn-relu" else 3e-2  # a unit may fall on the other side of 0
    want_y, _, tapes = run(name, case.x_TBI, case.lengths, case.params, case.state)
    assert relative(y, want_y) < 2e-2
    dy = rng.normal(size=y.shape)
    zeros = {key: np.zeros(value.shape) for key, value in case.state.items()}
    dx, dparams, _ = kernels.recurrent_backward(
        name, tape, case.x_TBI, case.lengths, params, states, dy, None, precision="bfloat16", level=level
    )
    want_dx, _, grads = run_backward(name, case.params, tapes, dy, case.lengths, zeros, 21)
    assert relative(dx, want_dx) < budget
    for key, want in grads.items():
        assert relative(getattr(dparams[0], key), want) < budget, key


@EVERY_LEVEL
@EVERY_CELL
@pytest.mark.parametrize(("precision", "budget"), [("bfloat16", 2e-2), ("int8", 4e-2)])
def test_fewer_bits_answer_nearly_the_same(level, name, precision, budget, rng):
    case = random_case(name, rng, 12, 5, 33, 50, P=17).rounded()
    packed = kernels.pack(name, case.params, precision=precision, level=level)
    y, _ = kernels.sequence(name, case.x_TBI, case.lengths, packed, case.cell_state)
    want, _, _ = run(name, case.x_TBI, case.lengths, case.params, case.state)
    assert relative(y, want) < budget
    swapped = {**case.params, "b_G": np.roll(case.params["b_G"], 50)}
    wrong, _, _ = run(name, case.x_TBI, case.lengths, swapped, case.state)
    assert relative(wrong, want) > 2 * budget or name.startswith("rnn")
