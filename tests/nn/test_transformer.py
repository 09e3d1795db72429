"""Transformers in training: gradients in float64, and what may be seen."""

import pytest

torch = pytest.importorskip("torch")

from gatework.nn.transformer import TransformerEncoder, TransformerWriter  # noqa: E402
from seq2seqs import CASES, seq2seq_architecture  # noqa: E402

A = seq2seq_architecture(**CASES["transformer, copy"])
LENGTHS = torch.tensor([4, 2])
REAL = torch.arange(4) < LENGTHS[:, None]


def built(kind, *args):
    torch.manual_seed(0)
    chances = {"dropout": 0.0} | ({"output_dropout": 0.0} if args else {})
    made = kind(A.writer if args else A.encoder, *args, **chances).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return made


def test_gradients_of_an_encoder():
    encoder = built(TransformerEncoder)
    x_BSd = torch.randn(2, 4, 8, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*encoder.named_parameters(), strict=True)

    def run(x, *values):
        made = torch.func.functional_call(encoder, dict(zip(names, values, strict=True)), (x, REAL))
        return made[REAL]

    assert torch.autograd.gradcheck(run, (x_BSd, *weights))


def test_gradients_of_a_writer():
    writer = built(TransformerWriter, 8)
    x_BTd = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    m_BSP = torch.randn(2, 4, 8, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*writer.named_parameters(), strict=True)

    def run(x, m, *values):
        own = dict(zip(names, values, strict=True))
        return tuple(torch.func.functional_call(writer, own, (x, m, m[:, 0], REAL, LENGTHS)))

    assert torch.autograd.gradcheck(run, (x_BTd, m_BSP, *weights))


def test_nothing_looks_ahead_or_at_padding():
    writer, encoder = built(TransformerWriter, 8), built(TransformerEncoder)
    x, m = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 4, 8, dtype=torch.float64)
    want = writer(x, m, m[:, 0], REAL, LENGTHS).o_BTE
    later, beyond = x.clone(), m.clone()
    later[:, 3:] += torch.randn(2, 2, 8)  # the same for all units would be lost in a norm
    beyond[1, 2:] += torch.randn(2, 8)
    torch.testing.assert_close(writer(later, m, m[:, 0], REAL, LENGTHS).o_BTE[:, :3], want[:, :3])
    torch.testing.assert_close(writer(x, beyond, m[:, 0], REAL, LENGTHS).o_BTE, want)
    assert (writer(later, m, m[:, 0], REAL, LENGTHS).o_BTE[:, 3:] - want[:, 3:]).abs().max() > 1e-3
    torch.testing.assert_close(encoder(beyond, REAL)[REAL], encoder(m, REAL)[REAL])
