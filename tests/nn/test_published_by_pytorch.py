"""PyTorch's own entries for `RNN`, `GRU` and `LSTM` in the database its module tests run from, run against ours.

`torch.testing._internal` comes with torch: constructor arguments and inputs for every option of the modules. Each entry
is checked for what PyTorch's `test_modules.py` checks there: forward against a reference, gradients, pickling, that
non-contiguous inputs make no difference, and that training and evaluation agree where they should.
"""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch

from gatework import nn

pytest.importorskip("expecttest", reason="PyTorch's test utilities need expecttest")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

INFOS = {
    info.module_cls.__name__: info
    for info in module_db
    if info.module_cls in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM)
}


def entries(name: str, dtype: torch.dtype, training: bool) -> list:
    torch.manual_seed(1)
    info = INFOS[name]
    return info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)


CASES = [
    pytest.param(name, place, training, id=f"{name}-{place}-{'train' if training else 'eval'}")
    for name in INFOS
    for training in (True, False)
    for place in range(len(entries(name, torch.float32, training)))
]


@pytest.fixture(autouse=True)
def silence():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        warnings.filterwarnings("ignore", message="dropout option adds dropout")
        yield


def build(entry, name: str, package, dtype: torch.dtype, training: bool) -> torch.nn.Module:
    torch.manual_seed(2)
    options = entry.constructor_input
    return getattr(package, name)(*options.args, **options.kwargs, dtype=dtype).train(training)


def tensors(out) -> list[torch.Tensor]:
    if isinstance(out, torch.Tensor):
        return [out]
    return [t for part in out for t in tensors(part)]


def leaves(value):
    """The arguments with every tensor a fresh leaf that takes a gradient."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_()
    return type(value)(map(leaves, value)) if isinstance(value, tuple | list) else value


def run(module, entry, change=lambda t: t) -> list[torch.Tensor]:
    arguments = leaves(entry.forward_input.args)
    out = tensors(module(*[change(a) for a in arguments]))
    torch.manual_seed(3)
    loss = sum((part * torch.randn(part.shape).to(part.dtype)).sum() for part in out)
    wanted = [t for t in tensors(arguments)] + list(module.parameters())
    return [t.detach() for t in (*out, *torch.autograd.grad(loss, wanted))]


def test_all_entries_are_there():
    assert {name: len(entries(name, torch.float32, True)) for name in INFOS} == {"RNN": 32, "GRU": 16, "LSTM": 32}


@pytest.mark.parametrize(("name", "place", "training"), CASES)
def test_forward_and_gradients(name, place, training):
    entry = entries(name, torch.float32, training)[place]
    ours = build(entry, name, nn, torch.float32, training)
    theirs = build(entry, name, torch.nn, torch.float32, training)
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), rtol=0, atol=0)
    got, want = run(ours, entry), run(theirs, entry)
    torch.testing.assert_close(got, want)  # PyTorch's own tolerance
    if entry.reference_fn is not None:
        reference = entry.reference_fn(copy.deepcopy(theirs), *entry.forward_input.args)
        torch.testing.assert_close(tensors(ours(*entry.forward_input.args)), tensors(reference))


@pytest.mark.parametrize(("name", "place", "training"), CASES)
def test_pickle_and_non_contiguous_inputs(name, place, training):
    entry = entries(name, torch.float32, training)[place]
    ours = build(entry, name, nn, torch.float32, training)
    want = run(ours, entry)
    torch.testing.assert_close(run(pickle.loads(pickle.dumps(ours)), entry), want, rtol=0, atol=0)

    def spread(value):
        if isinstance(value, torch.Tensor):
            return value.repeat_interleave(2, value.dim() - 1)[..., ::2]
        return tuple(map(spread, value)) if isinstance(value, tuple) else value

    torch.testing.assert_close(run(ours, entry, spread), want, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "place", "training"), CASES[::7])
def test_gradcheck_and_gradgradcheck(name, place, training):
    entry = entries(name, torch.float64, training)[place]
    ours = build(entry, name, nn, torch.float64, training)
    arguments = leaves(entry.forward_input.args)
    flat = tensors(arguments)

    def outputs(*values):
        rest = iter(values)

        def put(value):
            if isinstance(value, torch.Tensor):
                return next(rest)
            return tuple(map(put, value)) if isinstance(value, tuple) else value

        return tuple(tensors(ours(*map(put, arguments))))

    assert torch.autograd.gradcheck(outputs, flat)
    assert torch.autograd.gradgradcheck(outputs, flat)
