"""`LSTM`, `GRU` and `RNN` against those of `torch.nn`."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatework import nn
from gatework.core.errors import ConfigError

KINDS = {"LSTM": {}, "GRU": {}, "RNN": {}, "RNN-relu": {"nonlinearity": "relu"}, "LSTM-projection": {"proj_size": 3}}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
SHAPES = pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"batch_first": True, "num_layers": 2},
        {"bidirectional": True, "bias": False, "batch_first": True},
    ],
    ids=["plain", "deep-bidirectional", "batch-first", "no-bias"],
)
VARIANTS = [{"variational_dropout": 0.5}, {"weight_drop": 0.5}, {"zoneout": 0.5}]
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: next(iter(v)))


def pair(kind: str, options: dict, **variant):
    """Ours and torch's, with the same weights."""
    torch.manual_seed(3)
    name, options = kind.split("-")[0], {**KINDS[kind], **options}
    ours = getattr(nn, name)(4, 5, **options, **variant)
    theirs = getattr(torch.nn, name)(4, 5, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


def random_state(module, batch: int):
    count = module.num_layers * (2 if module.bidirectional else 1)
    h = torch.randn(count, batch, module.proj_size or module.hidden_size, dtype=torch.float64)
    if module.mode != "LSTM":
        return h
    return h, torch.randn(count, batch, module.hidden_size, dtype=torch.float64)


def flat(result) -> list[torch.Tensor]:
    y, state = result
    y = y.data if hasattr(y, "batch_sizes") else y
    return [y, *(state if isinstance(state, tuple) else [state])]


def assert_same(ours, theirs, *, atol: float = 0.0) -> None:
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


@EVERY_KIND
@SHAPES
def test_equals_torch(kind, options):
    ours, theirs = pair(kind, options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    batch = 6 if options.get("batch_first") else 3
    state = random_state(ours, batch)
    assert_same(ours(x), theirs(x))
    assert_same(ours(x, state), theirs(x, state))
    assert_same(ours(x[0]), theirs(x[0]))


@EVERY_KIND
@SHAPES
def test_equals_torch_packed(kind, options):
    ours, theirs = pair(kind, options)
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([4, 6, 1]), batch_first=True, enforce_sorted=False)
    assert_same(ours(packed, random := random_state(ours, 3)), theirs(packed, random))


@EVERY_KIND
@SHAPES
def test_step_by_step_equals_torch(kind, options):
    """The way taken by variational dropout and zoneout, with the chances at 0: inputs of each form, states, layouts."""
    ours, theirs = pair(kind, options)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    state = random_state(ours, 6 if options.get("batch_first") else 3)
    assert_same(ours._forward_by_steps(x, state), theirs(x, state), atol=1e-12)
    assert_same(ours._forward_by_steps(x[0], None), theirs(x[0]), atol=1e-12)
    for order in (True, False):
        lengths = torch.tensor([5, 3, 2] if order else [3, 2, 5])
        packed = pack_padded_sequence(x, lengths, enforce_sorted=order)
        state = random_state(ours, 3)
        got, want = ours._forward_by_steps(packed, state), theirs(packed, state)
        assert_same(got, want, atol=1e-12)
        torch.testing.assert_close(pad_packed_sequence(got[0]), pad_packed_sequence(want[0]), rtol=0, atol=1e-12)


@EVERY_KIND
@EVERY_VARIANT
def test_each_variant_acts_in_training_alone(kind, variant):
    ours, theirs = pair(kind, {"num_layers": 2, "bidirectional": True}, **variant)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    whole = flat(theirs(x))[0]
    once, again = flat(ours(x))[0], flat(ours(x))[0]
    assert not torch.allclose(once, whole)
    assert not torch.allclose(once, again)
    packed = pack_padded_sequence(x, torch.tensor([6, 4, 2]))
    assert not torch.allclose(ours(packed)[0].data, theirs(packed)[0].data)
    ours.eval()
    assert_same(ours(x), theirs(x))


@EVERY_VARIANT
def test_seed_decides_the_masks(variant):
    ours, _ = pair("LSTM", {}, **variant)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    torch.manual_seed(1)
    first = ours(x)
    torch.manual_seed(1)
    assert_same(ours(x), first)


@EVERY_VARIANT
def test_weights_learn_through_a_variant_and_stay_whole(variant):
    ours, _ = pair("GRU", {}, **variant)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours(torch.randn(6, 3, 4, dtype=torch.float64))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in ours.parameters())
    torch.testing.assert_close(dict(ours.state_dict()), before, rtol=0, atol=0)


def test_bad_chance():
    with pytest.raises(ConfigError, match=r"zoneout must be in \[0, 1\), got 1\.0"):
        nn.LSTM(2, 3, zoneout=1.0)
