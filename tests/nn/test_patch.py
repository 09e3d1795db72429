"""`patch_torch`: torch's own modules on our kernels, and torch again afterwards."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch.nn.modules import rnn
from torch.nn.utils.rnn import pack_padded_sequence

import gatework

KINDS = {
    "LSTM": (torch.nn.LSTM, {}),
    "GRU": (torch.nn.GRU, {}),
    "RNN": (torch.nn.RNN, {}),
    "RNN-relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "LSTM-projection": (torch.nn.LSTM, {"proj_size": 3}),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def silence():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        yield


def make(kind: str, **options) -> torch.nn.Module:
    torch.manual_seed(2)
    cls, own = KINDS[kind]
    return cls(4, 5, num_layers=2, **own, **options)


def tensors(out) -> list[torch.Tensor]:
    y, state = out
    return [y if isinstance(y, torch.Tensor) else y.data, *(state if isinstance(state, tuple) else [state])]


def train(module, x, **options) -> list[torch.Tensor]:
    """Outputs, states and gradients of a call; dropout drawn from a fixed seed."""
    module.zero_grad()
    torch.manual_seed(3)
    out = tensors(module(x, **options))
    sum(part.square().sum() for part in out).backward()
    return [*(part.detach() for part in out), *(p.grad.clone() for p in module.parameters())]


def is_ours(module, x) -> bool:
    node = tensors(module(x))[0].grad_fn
    seen = set()
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [parent for parent, _ in node.next_functions]
    return any("_Recurrent" in node.name() for node in seen)


@EVERY_KIND
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_same_results_with_the_same_dropout(kind, bidirectional, batch_first):
    module = make(kind, dropout=0.4, bidirectional=bidirectional, batch_first=batch_first)
    x = torch.randn(6, 6, 4)
    packed = pack_padded_sequence(x, [3, 6, 1, 5, 5, 2], batch_first=batch_first, enforce_sorted=False)
    want = [train(module, x), train(module, packed)]
    with gatework.patch_torch():
        assert is_ours(module, x)
        assert is_ours(module, packed)
        got = [train(module, x), train(module, packed)]
    assert not is_ours(module, x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_call_lasts_until_undone():
    module, x = make("LSTM"), torch.randn(6, 3, 4)
    patch = gatework.patch_torch()
    try:
        assert is_ours(module, x)
        with gatework.patch_torch():
            assert is_ours(module, x)
        assert is_ours(module, x)
    finally:
        patch.undo()
    patch.undo()
    assert not is_ours(module, x)
    assert rnn._VF is torch._VF


def test_undone_when_the_program_fails():
    with pytest.raises(ZeroDivisionError), gatework.patch_torch():
        raise ZeroDivisionError
    assert rnn._VF is torch._VF


def test_unbatched_input_and_given_states():
    module = make("LSTM", bidirectional=True)
    x, state = torch.randn(6, 4), (torch.randn(4, 5), torch.randn(4, 5))
    want = train(module, x, hx=state)
    with gatework.patch_torch():
        torch.testing.assert_close(train(module, x, hx=state), want, rtol=1e-4, atol=1e-5)


def test_what_is_not_covered_is_torchs():
    module = make("GRU")
    x = torch.randn(6, 3, 4)
    with gatework.patch_torch():
        double = copy.deepcopy(module).double()
        assert not is_ours(double, x.double())
        assert not is_ours(copy.deepcopy(module).half(), x.half())
        assert is_ours(copy.deepcopy(module).bfloat16(), x.bfloat16())
        with pytest.raises(RuntimeError):
            module(torch.randn(0, 3, 4))
        meta = copy.deepcopy(module).to("meta")
        assert meta(x.to("meta"))[0].is_meta
        assert torch.func.grad(lambda w: module(w)[0].sum())(x).shape == x.shape
        cell = torch.nn.LSTMCell(4, 5)
        assert cell(x[0])[0].shape == (3, 5)


def test_hooks_and_subclasses_keep_working():
    class Doubled(torch.nn.LSTM):
        def forward(self, input, hx=None):
            y, state = super().forward(input, hx)
            return 2 * y, state

    torch.manual_seed(0)
    module, x, seen = Doubled(4, 5), torch.randn(6, 3, 4), []
    module.register_forward_hook(lambda *_: seen.append(1))
    want, _ = module(x)
    with gatework.patch_torch():
        torch.testing.assert_close(module(x)[0], want)
    assert len(seen) == 2


class Tagger(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.GRU(4, 5, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def test_tracing_scripting_exporting_and_compiling_still_work():
    module, x = Tagger(), torch.randn(6, 3, 4)
    want = module(x)
    with gatework.patch_torch(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        for made in (
            torch.jit.script(module),
            torch.jit.trace(module, (x,)),
            torch.export.export(module, (x,)).module(),
            torch.compile(module, backend="eager"),
        ):
            torch.testing.assert_close(made(x), want)


def test_autocast():
    module, x = make("LSTM"), torch.randn(6, 3, 4)
    want, _ = module(x)
    with gatework.patch_torch(), torch.autocast("cpu", torch.bfloat16):
        got, _ = module(x)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), want, rtol=0, atol=0.05)
