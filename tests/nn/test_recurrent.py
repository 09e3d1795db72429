"""The recurrent stack: every way to the same numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatework.cells import CELLS
from gatework.core.errors import ConfigError, DataError
from gatework.nn import Direction, RecurrentStack, detach_state

EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
LENGTHS = torch.tensor([3, 7, 1, 5])


def stack(cell: str, **options) -> RecurrentStack:
    torch.manual_seed(7)
    if cell == "lstm-projection":
        options["projection"] = 3
    made = RecurrentStack(cell, 4, 5, **{"layers": 2, "bidirectional": True, **options}).double()
    with torch.no_grad():
        for weight in made.parameters():  # zero biases would hide a wrong one
            weight.add_(0.1 * torch.randn_like(weight))
    return made


def inputs(batch: int = 4, time: int = 7) -> torch.Tensor:
    return torch.randn(batch, time, 4, dtype=torch.float64)


def random_state(module: RecurrentStack, batch: int = 4):
    return tuple(
        tuple(d.cell.State(*(torch.randn(batch, width, dtype=torch.float64) for width in widths(d))) for d in layer)
        for layer in module.layers
    )


def widths(direction: Direction) -> list[int]:
    return [direction.outputs, direction.units][: len(direction.cell.State._fields)]


def change(state, of):
    return tuple(tuple(type(s)(*map(of, s)) for s in layer) for layer in state)


def flat(state) -> list[torch.Tensor]:
    return [part for layer in state for s in layer for part in s]


def assert_close(a, b, atol: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@EVERY_CELL
def test_kernels_equal_definition(cell):
    """float32, which the kernels compute, against float64, which torch and the definition do."""
    exact = stack(cell, residual=True)
    module = copy.deepcopy(exact).float()
    x, state = inputs(), random_state(exact)
    y, last = module(x.float(), lengths_B=LENGTHS, state=change(state, torch.Tensor.float))
    want_y, want_last = exact(x, lengths_B=LENGTHS, state=state)
    assert_close(y.double(), want_y, atol=1e-5)
    assert_close([part.double() for part in flat(last)], flat(want_last), atol=1e-5)


def test_padded_equals_packed_torch_lstm():
    """Against `torch.nn.LSTM` itself: same weights, packed, deep, both directions."""
    module, theirs = stack("lstm"), torch.nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True).double()
    with torch.no_grad():
        for name, weight in module.weights():
            layer, direction, parameter = name.split(".")
            key = {"w_GI": "weight_ih", "r_GH": "weight_hh", "b_G": "bias_ih"}[parameter]
            suffix = f"_l{layer}{'_reverse' if direction == 'backward' else ''}"
            getattr(theirs, key + suffix).copy_(weight)
            getattr(theirs, "bias_hh" + suffix).zero_()
    x = inputs()
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y, (h, c) = theirs(packed)
    want, _ = pad_packed_sequence(y, batch_first=True)
    got, last = module(x, lengths_B=LENGTHS)
    assert_close(got, want)
    assert_close([s.h_BH for layer in last for s in layer], list(h))
    assert_close([s.c_BH for layer in last for s in layer], list(c))


@EVERY_CELL
def test_padding_is_not_read_and_outputs_there_are_zero(cell):
    module, x = stack(cell), inputs()
    y, _ = module(x, lengths_B=LENGTHS)
    dirty = x.clone()
    for row, length in zip(dirty, LENGTHS, strict=True):
        row[length:] = 1e6
    assert_close(module(dirty, lengths_B=LENGTHS)[0], y)
    for index, length in enumerate(LENGTHS.tolist()):
        assert (y[index, length:] == 0).all()
        alone, _ = module(x[index : index + 1, :length])
        assert_close(y[index, :length], alone[0])


@EVERY_CELL
def test_carried_state_equals_whole(cell):
    module, x = stack(cell, bidirectional=False), inputs()
    lengths = torch.tensor([6, 7, 4, 5])
    y, last = module(x, lengths_B=lengths)
    first, state = module(x[:, :3])
    rest, end = module(x[:, 3:], lengths_B=lengths - 3, state=detach_state(state))
    assert_close(torch.cat([first, rest], 1), y)
    assert_close(flat(end), flat(last))


@EVERY_CELL
def test_gradients(cell):
    module = stack(cell, layers=1)
    state = random_state(module, 2)
    parts = [part.requires_grad_() for part in flat(state)]
    x = inputs(2, 3).requires_grad_()
    weights = [weight for _, weight in module.weights()]

    def outputs(*_):
        y, last = module(x, lengths_B=torch.tensor([2, 3]), state=state)
        return (y, *flat(last))

    assert torch.autograd.gradcheck(outputs, (x, *parts, *weights))


@pytest.mark.parametrize(
    "option", [{"dropout": 0.5}, {"variational_dropout": 0.5}, {"weight_drop": 0.5}, {"zoneout": 0.5}], ids=str
)
@EVERY_CELL
def test_each_regulariser_acts_in_training_alone(cell, option):
    plain, module = stack(cell), stack(cell, **option)
    x = inputs()
    want, _ = plain(x, lengths_B=LENGTHS)
    torch.manual_seed(1)
    once, _ = module(x, lengths_B=LENGTHS)
    other, _ = module(x, lengths_B=LENGTHS)
    torch.manual_seed(1)
    again, _ = module(x, lengths_B=LENGTHS)
    assert not torch.allclose(once, want)
    assert not torch.allclose(once, other)
    assert_close(once, again, atol=0)
    assert_close(module.eval()(x, lengths_B=LENGTHS)[0], want, atol=0)


@pytest.mark.parametrize("cell", ["gru", "gru-reset-before"])
def test_variational_dropout_leaves_what_a_gru_carries(cell, monkeypatch):
    """With every unit's h dropped, the recurrent product is gone, but z h is not: checked against the equation."""
    module = stack(cell, layers=1, bidirectional=False, variational_dropout=0.5)
    monkeypatch.setattr("gatework.nn.variants.keep_mask", lambda shape, chance, like: torch.zeros(shape).to(like))
    (direction,) = module.first_directions()
    x, state = inputs(time=1), random_state(module)
    y, _ = module(x, state=state)
    bias = direction.b_G + getattr(direction, "rb_G", 0)
    _, z, n = (x[:, 0] @ direction.w_GI.T + bias).chunk(3, 1)
    z = z.sigmoid()
    if cell == "gru":
        r = (x[:, 0] @ direction.w_GI.T + bias).chunk(3, 1)[0].sigmoid()
        n = x[:, 0] @ direction.w_GI.T[:, 10:] + direction.b_G[10:] + r * direction.rb_G[10:]
    assert_close(y[:, 0], (1 - z) * n.tanh() + z * state[0][0].h_BH)


def test_zoneout_keeps_whole_units(monkeypatch):
    """With the chance near 1 nothing moves from the given state."""
    module = stack("lstm", layers=1, bidirectional=False, zoneout=1 - 1e-12)
    state = random_state(module)
    _, last = module(inputs(), state=state)
    assert_close(flat(last), flat(state), atol=0)


def test_residual_adds_the_input_where_widths_agree():
    plain, residual = stack("lstm", layers=2), stack("lstm", layers=2, residual=True)
    x = inputs()
    first = stack("lstm", layers=1)
    first.load_state_dict({k: v for k, v in plain.state_dict().items() if k.startswith("layers.0")})
    assert_close(residual(x)[0], plain(x)[0] + first(x)[0])


def test_learned_state_begins_at_zero_and_learns():
    module, plain = stack("lstm", learned_state=True), stack("lstm")
    with torch.no_grad():
        for start in module.starts:
            start.zero_()
    module.layers.load_state_dict(plain.layers.state_dict())
    x = inputs()
    y, _ = module(x)
    assert_close(y, plain(x)[0])
    y.square().sum().backward()
    assert len(module.starts) == 8
    assert all(start.grad is not None and start.grad.abs().sum() > 0 for start in module.starts)


@pytest.mark.parametrize("scheme", ["orthogonal", "xavier", "truncated-normal"])
def test_initialisation(scheme):
    torch.manual_seed(2)
    (direction,) = RecurrentStack("lstm", 40, 50, forget_bias=0.75, initialisation=scheme).first_directions()
    i, f, g, o = direction.b_G.chunk(4)
    assert (f == 0.75).all()
    assert not any(part.any() for part in (i, g, o))
    gram = direction.r_GH.T @ direction.r_GH
    assert torch.allclose(gram, torch.eye(50), atol=1e-5) == (scheme == "orthogonal")
    assert direction.w_GI.std().item() == pytest.approx((2 / 240) ** 0.5, rel=0.13)


def test_a_coupled_cell_remembers_by_its_input_gate():
    (direction,) = RecurrentStack("lstm-coupled", 4, 5, forget_bias=1.0).first_directions()
    i, g, o = direction.b_G.chunk(3)
    assert (i == -1.0).all()
    assert not g.any()
    assert not o.any()


def test_bfloat16_autocast_stays_close():
    module = RecurrentStack("lstm", 4, 5, bidirectional=True)
    x = torch.randn(4, 7, 4)
    want, _ = module(x, lengths_B=LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        got, _ = module(x, lengths_B=LENGTHS)
    torch.testing.assert_close(got.float(), want, rtol=0, atol=0.05)
    got.sum().backward()


@pytest.mark.parametrize("lengths", [[0, 7, 1, 5], [8, 7, 1, 5], [7, 7, 7]])
def test_bad_lengths(lengths):
    with pytest.raises(DataError, match="lengths_B must be 4 lengths from 1 to 7"):
        stack("lstm")(inputs(), lengths_B=torch.tensor(lengths))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "lstn"}, "Did you mean 'lstm'"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"weight_drop": 1.0}, r"weight_drop must be in \[0, 1\)"),
        ({"initialisation": "ortogonal"}, "Did you mean 'orthogonal'"),
        ({"projection": 3}, "has no projection"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        RecurrentStack(**{"cell": "lstm", "inputs": 4, "units": 5, **options})
