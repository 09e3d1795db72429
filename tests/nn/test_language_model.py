"""Pre-training: the sampled softmax, what it trains, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatework.core.architecture import Encoder
from gatework.core.errors import ConfigError
from gatework.nn import Network, PretrainHead
from gatework.nn.sampled import _LogSumExp
from nn.cases import VOCABULARY, architecture, batch, full_architecture


def head(network: Network | None = None, *, negatives: int = 20, counts=None) -> PretrainHead:
    torch.manual_seed(2)
    counts = np.arange(VOCABULARY)[::-1].copy() if counts is None else counts
    return PretrainHead(network or Network(architecture()), counts, negatives=negatives)


def test_sampled_loss_is_its_equation():
    made = head()
    o, wanted, drawn = torch.randn(3, 6), [4, 7, 9], [7, 12, 7, 30]
    table, bias, log_q = made.network.inputs.embedding.weight, made.bias_V, made.negatives.log_q_V
    total = 0.0
    for row, target in zip(o, wanted, strict=True):
        score = {k: (row @ table[k] + bias[k] - log_q[k]).exp() for k in [target, *drawn]}
        others = sum((score[k] for k in drawn if k != target), torch.tensor(0.0))
        total += -torch.log(score[target] / (score[target] + others))
    torch.testing.assert_close(
        made.negatives.nats(o, torch.tensor(wanted), torch.tensor(drawn), made._vectors, bias).mean(), total / 3
    )


def test_sum_over_negatives_has_its_gradient():
    torch.manual_seed(1)
    o, vectors, offset = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 3), (4, 3), (4,)))
    left_out = torch.rand(5, 4) < 0.3
    left_out[2] = True
    rows = torch.tensor([0, 1, 3, 4])  # where all are left out the value is -inf: finite differences say nothing
    inputs = tuple(part.requires_grad_() for part in (o, vectors, offset))
    want = (o @ vectors.T + offset).masked_fill(left_out, -torch.inf).logsumexp(1)
    torch.testing.assert_close(_LogSumExp.apply(*inputs, left_out, False), want)
    assert torch.autograd.gradcheck(lambda *parts: _LogSumExp.apply(*parts, left_out, False)[rows], inputs)
    _LogSumExp.apply(*inputs, left_out, False)[2].exp().backward()
    assert not any(part.grad.any() for part in inputs)


def test_sum_over_negatives_of_bfloat16_products_is_near():
    torch.manual_seed(1)
    inputs = tuple(torch.randn(*shape, requires_grad=True) for shape in ((50, 32), (40, 32), (40,)))
    left_out = torch.rand(50, 40) < 0.1
    found = []
    for low in (False, True):
        value = _LogSumExp.apply(*inputs, left_out, low)
        found.append((value.detach(), *torch.autograd.grad(value.sum(), inputs)))
    for exact, near in zip(*found, strict=True):
        assert near.dtype == torch.float32
        torch.testing.assert_close(near, exact, rtol=0, atol=float(exact.abs().max()) / 50)


def test_negatives_follow_their_distribution():
    made = head(negatives=100_000)
    drawn = torch.bincount(made.negatives.draw(), minlength=VOCABULARY) / 100_000
    torch.testing.assert_close(drawn, made.negatives.log_q_V.exp(), rtol=0, atol=0.002)
    assert drawn[0] == 0


@pytest.mark.parametrize("bidirectional", [True, False])
def test_each_direction_predicts_its_neighbour_and_sees_no_target(bidirectional):
    """Changing the last token of a text may change the backward losses, and the forward loss of that target alone."""
    made = head(Network(architecture(encoder=Encoder(cell="lstm", units=5, bidirectional=bidirectional))))
    seen = []
    made.negatives.nats = lambda o, wanted, *_: seen.append((o.detach(), wanted)) or o.sum(1)
    given = batch([4])
    changed = given._replace(tokens_WT=given.tokens_WT.clone())
    changed.tokens_WT[0, -1] = (changed.tokens_WT[0, -1] + 1) % 40 + 2
    made.loss(given)
    made.loss(changed)
    tokens, directions = given.tokens_WT[0], 2 if bidirectional else 1
    assert len(seen) == 2 * directions
    ahead, ahead_changed = seen[0], seen[directions]
    assert ahead[1].tolist() == tokens[1:].tolist()
    torch.testing.assert_close(ahead_changed[0], ahead[0], rtol=0, atol=0)
    if bidirectional:
        assert seen[1][1].tolist() == tokens[:-1].tolist()
        assert not torch.allclose(seen[3][0], seen[1][0])


def test_ngrams_give_no_target_away():
    made = head(Network(full_architecture())).eval()
    given = batch([4])
    torch.manual_seed(3)
    value = made.loss(given)
    torch.manual_seed(3)
    assert made.loss(given._replace(local_WTM=given.local_WTM.flip(0, 1) + 1)) == value


def test_padding_has_no_part_in_the_loss():
    made = head()
    seen = []
    made.negatives.nats = lambda o, wanted, *_: seen.append(wanted) or o.sum(1)
    made.loss(batch([3, 6, 1]))
    assert [len(wanted) for wanted in seen] == [2 + 5, 2 + 5]
    assert all((wanted > 0).all() for wanted in seen)


def test_windows_of_one_token_give_a_loss_of_zero():
    value = head().loss(batch([1, 1]))
    value.backward()
    assert value == 0


@pytest.mark.parametrize("sparse", [False, True])
def test_trains_what_it_says(sparse):
    made = head(Network(full_architecture(), sparse_embedding=sparse))
    made.loss(batch([5, 12])).backward()
    dense, sparse_ones = made.dense_parameters(), made.sparse_parameters()
    assert all(p.grad is not None and not p.grad.is_sparse for p in dense)
    assert all(p.grad is not None and p.grad.is_sparse for p in sparse_ones)
    listed = {id(p) for p in dense + sparse_ones}
    assert listed == {id(p) for p in made.parameters() if p.grad is not None and p.grad.to_dense().any()}
    assert id(made.network.inputs.embedding.weight) in listed
    assert id(made.network.head.weight) not in listed


def test_learns_what_follows_what():
    """Texts that count upwards: the loss falls far below that of guessing."""
    made = head(negatives=60)
    given = batch([7, 7, 7, 7])
    starts = torch.tensor([[2], [9], [20], [33]])
    given = given._replace(tokens_WT=starts + torch.arange(7))
    optimiser = torch.optim.Adam(made.parameters(), lr=0.02)
    first = made.loss(given).item()
    for _ in range(120):
        optimiser.zero_grad()
        made.loss(given).backward()
        optimiser.step()
    assert made.loss(given).item() < 0.3 * first


@pytest.mark.parametrize("counts", [np.ones(7, dtype=int), np.zeros(VOCABULARY, dtype=int)])
def test_bad_counts(counts):
    with pytest.raises(ConfigError, match=f"must be {VOCABULARY} counts"):
        head(counts=counts)
