"""Checks every cell in the registry passes. A new cell is picked up by name; its oracle goes to `oracles/`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatework import kernels
from gatework.cells import CELLS, scan
from gatework.core.errors import ConfigError, DataError
from oracles import ORACLES, run, run_backward
from oracles.cases import Case, random_case

EVERY_CELL = pytest.mark.parametrize("name", CELLS)
EITHER_WAY = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
SIZES = pytest.mark.parametrize(
    ("T", "B", "I", "H", "P"),
    [(1, 1, 1, 1, 1), (5, 1, 3, 4, 2), (1, 4, 2, 3, 3), (7, 3, 1, 5, 1), (6, 5, 4, 1, 2), (9, 4, 11, 17, 6)],
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240501)


def tensor(a: np.ndarray, *, grad: bool = False) -> torch.Tensor:
    return torch.tensor(a, dtype=torch.float64, requires_grad=grad)


def run_scan(case: Case, *, reverse: bool = False):
    return scan(CELLS[case.name], np, case.x_TBI, case.lengths, case.cell_state, case.params, reverse=reverse)


def test_every_cell_has_an_oracle():
    assert set(ORACLES) == set(CELLS)


@EVERY_CELL
@EITHER_WAY
@SIZES
def test_agrees_with_the_oracle(name, reverse, T, B, I, H, P, rng):
    case = random_case(name, rng, T, B, I, H, P)
    want_y, want_state, _ = run(name, case.x_TBI, case.lengths, case.params, case.state, reverse=reverse)
    y, state = run_scan(case, reverse=reverse)
    np.testing.assert_allclose(y, want_y, rtol=0, atol=1e-13)
    for part, want in zip(state, want_state.values(), strict=True):
        np.testing.assert_allclose(part, want, rtol=0, atol=1e-13)


@EVERY_CELL
@EITHER_WAY
@pytest.mark.parametrize(("T", "B", "I", "H", "P"), [(1, 1, 1, 1, 1), (6, 3, 4, 5, 2)])
def test_gradients_agree_with_back_propagation_through_time(name, reverse, T, B, I, H, P, rng):
    case = random_case(name, rng, T, B, I, H, P)
    x = tensor(case.x_TBI, grad=True)
    params = {key: tensor(value, grad=True) for key, value in case.params.items()}
    state = {key: tensor(value, grad=True) for key, value in case.state.items()}
    start = CELLS[name].State(*state.values())
    y, last = scan(CELLS[name], torch, x, torch.tensor(case.lengths), start, params, reverse=reverse)
    dy = rng.normal(size=y.shape)
    dlast = {key: rng.normal(size=value.shape) for key, value in case.state.items()}
    loss = (y * tensor(dy)).sum() + sum((a * tensor(b)).sum() for a, b in zip(last, dlast.values(), strict=True))
    loss.backward()
    _, _, tapes = run(name, case.x_TBI, case.lengths, case.params, case.state, reverse=reverse)
    dx, dstate, dp = run_backward(name, case.params, tapes, dy, case.lengths, dlast, I, reverse=reverse)
    want = {"x": dx} | {f"state {key}": value for key, value in dstate.items()} | dp
    got = {"x": x} | {f"state {key}": value for key, value in state.items()} | params
    for key, value in want.items():
        np.testing.assert_allclose(got[key].grad.numpy(), value, rtol=1e-9, atol=1e-12, err_msg=key)


@EVERY_CELL
def test_gradcheck(name, rng):
    cell = CELLS[name]
    case = random_case(name, rng, 3, 2, 2, 3)
    values = {"x": case.x_TBI, **case.state, **case.params}
    keys = list(values)

    def outputs(*tensors: torch.Tensor):
        given = dict(zip(keys, tensors, strict=True))
        state = cell.State(*(given[key] for key in case.state))
        params = {key: given[key] for key in case.params}
        y, last = scan(cell, torch, given["x"], torch.tensor(case.lengths), state, params)
        return (y, *last)

    # rnn-relu has kinks; none of these random values lies within a difference step of one.
    values["x"] = np.clip(values["x"], -3, 3)
    assert torch.autograd.gradcheck(outputs, [tensor(value, grad=True) for value in values.values()])


@EVERY_CELL
def test_steps_equal_the_whole_sequence(name, rng):
    cell = CELLS[name]
    case = random_case(name, rng, 6, 3, 4, 5)
    full = Case(name, rng.normal(size=(6, 3, 4)), np.full(3, 6), case.params, case.state)
    whole_y, whole_state = run_scan(full)
    state = full.cell_state
    before = [part.copy() for part in state]
    for t in range(6):
        state = cell.step(np, full.x_TBI[t], state, cell.params(full.params))
        np.testing.assert_array_equal(cell.output(state), whole_y[t])
    for part, want in zip(state, whole_state, strict=True):
        np.testing.assert_array_equal(part, want)
    for part, want in zip(full.cell_state, before, strict=True):
        np.testing.assert_array_equal(part, want, err_msg="step changed the state it was given")


@EVERY_CELL
def test_gates_as_they_acted_give_the_new_state(name, rng):
    cell = CELLS[name]
    case = random_case(name, rng, 2, 3, 4, 5)
    before, params = case.cell_state, cell.params(case.params)
    after, gates = cell.look(np, case.x_TBI[0], before, params)
    assert len(gates) == len(cell.gates)
    shut = dict(zip(cell.gates, gates, strict=True))
    assert all(np.all((value > 0) & (value < 1)) for gate, value in shut.items() if gate in "ifozr")
    assert all(np.all(np.abs(value) < 1) for gate, value in shut.items() if gate in "gn")
    if "g" in shut:
        forget = shut.get("f", 1 - shut["i"])
        np.testing.assert_allclose(after.c_BH, forget * before.c_BH + shut["i"] * shut["g"], rtol=1e-14)
    elif "n" in shut:
        np.testing.assert_allclose(after.h_BH, (1 - shut["z"]) * shut["n"] + shut["z"] * before.h_BH, rtol=1e-14)
    else:
        np.testing.assert_array_equal(after.h_BH, shut["h"])


@EVERY_CELL
@EITHER_WAY
def test_alone_equals_padded_batch(name, reverse, rng):
    case = random_case(name, rng, 8, 5, 4, 6)
    y, state = run_scan(case, reverse=reverse)
    for b, length in enumerate(case.lengths):
        start = {key: value[b : b + 1] for key, value in case.state.items()}
        alone = Case(name, case.x_TBI[:length, b : b + 1], case.lengths[b : b + 1], case.params, start)
        y_alone, state_alone = run_scan(alone, reverse=reverse)
        np.testing.assert_allclose(y[:length, b : b + 1], y_alone, rtol=0, atol=1e-13)
        assert not y[length:, b].any()
        for part, want in zip(state, state_alone, strict=True):
            np.testing.assert_allclose(part[b : b + 1], want, rtol=0, atol=1e-13)


@EVERY_CELL
def test_reverse_reads_from_each_sequences_own_end(name, rng):
    case = random_case(name, rng, 7, 4, 3, 5)
    flipped = case.x_TBI.copy()
    for b, length in enumerate(case.lengths):
        flipped[:length, b] = case.x_TBI[:length, b][::-1]
    y, state = run_scan(case, reverse=True)
    y_flipped, state_flipped = run_scan(Case(name, flipped, case.lengths, case.params, case.state))
    for b, length in enumerate(case.lengths):
        np.testing.assert_array_equal(y[:length, b], y_flipped[:length, b][::-1])
    for part, want in zip(state, state_flipped, strict=True):
        np.testing.assert_array_equal(part, want)


@EVERY_CELL
def test_carried_state_equals_one_long_sequence(name, rng):
    case = random_case(name, rng, 9, 3, 4, 5)
    x = rng.normal(size=(9, 3, 4))
    lengths = np.array([9, 4, 6])
    whole_y, whole_state = run_scan(Case(name, x, lengths, case.params, case.state))
    first_y, middle = scan(CELLS[name], np, x[:5], np.minimum(lengths, 5), case.cell_state, case.params)
    second_y, last = scan(CELLS[name], np, x[5:], np.maximum(lengths - 5, 0), middle, case.params)
    np.testing.assert_allclose(np.concatenate([first_y, second_y]), whole_y, rtol=0, atol=1e-14)
    for part, want in zip(last, whole_state, strict=True):
        np.testing.assert_allclose(part, want, rtol=0, atol=1e-14)


@EVERY_CELL
def test_empty_sequences_keep_their_state(name, rng):
    case = random_case(name, rng, 4, 3, 2, 5, shortest=0)
    for lengths in (np.zeros(3, dtype=int), np.array([0, 4, 0])):
        y, state = run_scan(Case(name, case.x_TBI * 0, lengths, case.params, case.state))
        assert not y[:, 0].any()
        for part, want in zip(state, case.cell_state, strict=True):
            np.testing.assert_array_equal(part[[0, 2]], want[[0, 2]])


@EVERY_CELL
def test_no_state_means_zeros(name, rng):
    case = random_case(name, rng, 4, 3, 2, 5)
    zero = Case(name, case.x_TBI, case.lengths, case.params, {k: v * 0 for k, v in case.state.items()})
    y, _ = scan(CELLS[name], np, case.x_TBI, case.lengths, None, case.params)
    np.testing.assert_array_equal(y, run_scan(zero)[0])


@EVERY_CELL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_the_dtype_in_numpy_and_torch(name, dtype, rng):
    case = random_case(name, rng, 4, 3, 2, 5)
    params = {key: value.astype(dtype) for key, value in case.params.items()}
    state = CELLS[name].State(*(value.astype(dtype) for value in case.state.values()))
    x = case.x_TBI.astype(dtype)
    y, last = scan(CELLS[name], np, x, case.lengths, state, params)
    assert y.dtype == dtype
    assert all(part.dtype == dtype for part in last)
    in_torch = {key: torch.tensor(value) for key, value in params.items()}
    lengths = torch.tensor(case.lengths)
    y_torch, _ = scan(CELLS[name], torch, torch.tensor(x), lengths, type(state)(*map(torch.tensor, state)), in_torch)
    assert y_torch.numpy().dtype == dtype
    np.testing.assert_allclose(y_torch.numpy(), y, rtol=0, atol=50 * np.finfo(dtype).eps)


@EVERY_CELL
def test_large_inputs_stay_finite(name, rng):
    case = random_case(name, rng, 3, 2, 2, 3)
    wild = Case(name, rng.normal(size=(3, 2, 2)) * 1e4, np.full(2, 3), case.params, case.state)
    y, _ = run_scan(wild)
    assert np.isfinite(y).all()


@EVERY_CELL
def test_kernels_answer_for_it_at_every_level(name, rng):
    case = random_case(name, rng, 6, 4, 3, 5).rounded()
    want, _, _ = run(name, case.x_TBI, case.lengths, case.params, case.state)
    for level in kernels.levels():
        y, _ = kernels.sequence(name, case.x_TBI, case.lengths, case.params, case.cell_state, level=level)
        # A layer-normalised row of a few units divides by a deviation that may be small; the others are held to the
        # kernels' budget in tests/kernels.
        np.testing.assert_allclose(y, want, rtol=0, atol=1e-5 if name == "lstm-layernorm" else 2e-6)


@EVERY_CELL
@pytest.mark.parametrize("lengths", [[1, 2], [1, 2, 9], [1, 2, -1]])
def test_wrong_lengths_are_an_error(name, lengths, rng):
    case = random_case(name, rng, 4, 3, 2, 5)
    with pytest.raises(DataError, match="lengths_B"):
        scan(CELLS[name], np, case.x_TBI, np.array(lengths), case.cell_state, case.params)


@EVERY_CELL
def test_parameters_are_checked(name, rng):
    cell = CELLS[name]
    params = random_case(name, rng, 2, 2, 2, 3).params
    with pytest.raises(ConfigError, match="'b_G' is missing"):
        cell.params({key: value for key, value in params.items() if key != "b_G"})
    with pytest.raises(ConfigError, match="'zz' is unknown"):
        cell.params({**params, "zz": 1})
    with pytest.raises(ConfigError, match="projection"):
        cell.parameters(2, 3, 0 if cell.projects else 2)
    with pytest.raises(ConfigError, match="units must be at least 1"):
        cell.parameters(2, 0, 0)
    assert list(cell.parameters(2, 3, 2 if cell.projects else 0)) == list(cell.Params._fields)


def test_unknown_cell_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'lstm-peephole'"):
        CELLS["lstm-peepholes"]


TORCH_CELLS = {
    "rnn": lambda i, h: torch.nn.RNN(i, h, dtype=torch.float64),
    "rnn-relu": lambda i, h: torch.nn.RNN(i, h, nonlinearity="relu", dtype=torch.float64),
    "gru": lambda i, h: torch.nn.GRU(i, h, dtype=torch.float64),
    "lstm": lambda i, h: torch.nn.LSTM(i, h, dtype=torch.float64),
    "lstm-projection": lambda i, h: torch.nn.LSTM(i, h, proj_size=2, dtype=torch.float64),
}


@pytest.mark.parametrize("name", TORCH_CELLS)
def test_oracle_agrees_with_torch(name, rng):
    """Outputs, last states and gradients of `torch.nn` where it has the same cell, on a packed ragged batch."""
    torch.manual_seed(3)
    case = random_case(name, rng, 6, 4, 3, 5)
    module = TORCH_CELLS[name](3, 5)
    weights = {key.removesuffix("_l0"): value.detach().numpy() for key, value in module.named_parameters()}
    params = dict(zip(case.params, (weights["weight_ih"], weights["weight_hh"]), strict=False))
    params["b_G"] = weights["bias_ih"] if name == "gru" else weights["bias_ih"] + weights["bias_hh"]
    if name == "gru":
        params["rb_G"] = weights["bias_hh"]
    if name == "lstm-projection":
        params["v_PH"] = weights["weight_hr"]
    x = tensor(case.x_TBI, grad=True)
    states = tuple(tensor(value[None]) for value in case.state.values())
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(case.lengths), enforce_sorted=False)
    out, last = module(packed, states if len(states) > 1 else states[0])
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(out, total_length=6)
    want_y, want_last, tapes = run(name, case.x_TBI, case.lengths, params, case.state)
    np.testing.assert_allclose(y.detach().numpy(), want_y, rtol=0, atol=1e-13)
    for part, want in zip(last if len(states) > 1 else (last,), want_last.values(), strict=True):
        np.testing.assert_allclose(part[0].detach().numpy(), want, rtol=0, atol=1e-13)
    dy = rng.normal(size=want_y.shape)
    (y * tensor(dy)).sum().backward()
    zero = {key: value * 0 for key, value in case.state.items()}
    dx, _, dp = run_backward(name, params, tapes, dy, case.lengths, zero, 3)
    np.testing.assert_allclose(x.grad.numpy(), dx, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(module.weight_hh_l0.grad.numpy(), list(dp.values())[1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(module.bias_ih_l0.grad.numpy(), dp["b_G"], rtol=1e-9, atol=1e-12)


@EVERY_CELL
def test_oracle_gradients_agree_with_finite_differences(name, rng):
    """The oracle's back-propagation against differences of its own forward: no torch, no code of the package."""
    case = random_case(name, rng, 4, 1, 3, 4)
    lengths = np.array([4])
    x = rng.normal(size=(4, 1, 3))
    dy = rng.normal(size=(4, 1, next(iter(case.state.values())).shape[1]))
    dlast = {key: rng.normal(size=value.shape) for key, value in case.state.items()}

    def loss() -> float:
        y, last, _ = run(name, x, lengths, case.params, case.state)
        return float((y * dy).sum() + sum((last[key] * dlast[key]).sum() for key in last))

    _, _, tapes = run(name, x, lengths, case.params, case.state)
    dx, dstate, dp = run_backward(name, case.params, tapes, dy, lengths, dlast, 3)
    pairs = [(x, dx), *((case.state[k], dstate[k]) for k in dstate), *((case.params[k], dp[k]) for k in dp)]
    for values, gradient in pairs:
        for place in np.ndindex(values.shape):
            kept = values[place]
            values[place] = kept + 1e-5
            above = loss()
            values[place] = kept - 1e-5
            slope = (above - loss()) / 2e-5
            values[place] = kept
            assert slope == pytest.approx(gradient[place], rel=1e-6, abs=1e-7)
