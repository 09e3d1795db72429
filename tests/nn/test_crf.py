"""nn.CRF: the loss and its gradients by kernels, by operators and by torch operations; decoding; compile and export."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatework.core.errors import ConfigError, DataError, GateworkError
from gatework.core.tag_scheme import constraints
from gatework.nn import CRF
from gatework.nn import crf_operator as operator
from oracles import crf as oracle

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def layer(tags=5, *, constrained=False, seed=0):
    torch.manual_seed(seed)
    crf = CRF(tags, constraints=constraints(LABELS, "bio") if constrained else None)
    for part in crf.parameters():
        nn.init.normal_(part)
    return crf


def batch(tags=5, B=4, T=6, lengths=(6, 3, 0, 1), seed=1, dtype=torch.float32):
    torch.manual_seed(seed)
    lengths_B = torch.tensor(lengths)
    past = torch.arange(T) >= lengths_B[:, None]
    emissions = (2 * torch.randn(B, T, tags, dtype=dtype)).masked_fill(past[:, :, None], float("nan"))
    gold = torch.randint(tags, (B, T))
    return emissions.requires_grad_(), gold.masked_fill(past, -100), lengths_B


def outside(tags_BT):
    """Gold tags that any scheme allows."""
    return torch.where(tags_BT < 0, tags_BT, 0)


def gradients(crf, loss, emissions):
    return torch.autograd.grad(loss, [emissions, *crf.parameters()])


@pytest.mark.parametrize("constrained", [False, True])
def test_loss_is_the_oracles(constrained):
    crf = layer(constrained=constrained)
    emissions, tags, lengths = batch()
    tags = outside(tags) if constrained else tags
    nll_B = crf(emissions, tags, lengths)
    scores = [part.detach().double().numpy() for part in crf._scores()]
    for b, length in enumerate(lengths.tolist()):
        e = emissions[b, :length].detach().double().numpy()
        want = oracle.expectations(e, *scores).log_z - oracle.path_score(e, *scores, tags[b, :length].tolist())
        np.testing.assert_allclose(nll_B[b].item(), want, rtol=1e-6)


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("weights", ["sum", "mean", "outer sum", "outer mean", "uneven", "one"])
def test_gradients_are_those_of_the_definition_in_float64(constrained, weights):
    crf = layer(constrained=constrained)
    emissions, tags, lengths = batch()
    tags = outside(tags) if constrained else tags
    uneven = torch.tensor([0.5, -2.0, 1.0, 3.0])

    def loss(crf, emissions):
        if weights in ("sum", "mean"):
            return crf(emissions, tags, lengths, reduction=weights)
        nll_B = crf(emissions, tags, lengths)
        if weights == "one":
            return nll_B[0] * 3
        return {"outer sum": nll_B.sum(), "outer mean": nll_B.mean(), "uneven": (uneven.to(nll_B) * nll_B).sum()}[
            weights
        ]

    double = copy.deepcopy(crf).double()
    wide = emissions.detach().double().requires_grad_()
    value, want_value = loss(crf, emissions), loss(double, wide)
    torch.testing.assert_close(value.double(), want_value, rtol=1e-6, atol=1e-6)
    got, want = gradients(crf, value, emissions), gradients(double, want_value, wide)
    for part, expected in zip(got, want, strict=True):
        torch.testing.assert_close(part.double(), expected, rtol=1e-5, atol=1e-5)
    for part, mask in zip(got[1:], crf._masks() or (), strict=False):
        assert not part[mask.isinf()].any()


@pytest.mark.parametrize("constrained", [False, True])
def test_gradcheck_and_second_derivatives_in_float64(constrained):
    crf = layer(constrained=constrained).double()
    emissions, tags, lengths = batch(dtype=torch.float64)
    tags = outside(tags) if constrained else tags
    clean = emissions.detach().nan_to_num(0.3).requires_grad_()

    def loss(emissions, *parts):
        return torch.func.functional_call(
            crf, dict(zip(dict(crf.named_parameters()), parts, strict=True)), (emissions, tags, lengths)
        )

    inputs = (clean, *(part.detach().requires_grad_() for part in crf.parameters()))
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_unknown_tags(constrained, reduction):
    """log Z less the log of what agrees with the known tags: the kernels, and the definition with its derivatives."""
    crf = layer(constrained=constrained)
    emissions, tags, lengths = batch()
    tags = outside(tags) if constrained else tags
    unknown = tags.clone()
    unknown[0, 1:4], unknown[1, 0], unknown[3, 0] = -1, -1, -1
    double = copy.deepcopy(crf).double()
    wide = emissions.detach().double().requires_grad_()
    value, want_value = (
        made(e, unknown, lengths, reduction=reduction).sum() for made, e in ((crf, emissions), (double, wide))
    )
    torch.testing.assert_close(value.double(), want_value, rtol=1e-5, atol=1e-5)
    got, want = gradients(crf, value, emissions), gradients(double, want_value, wide)
    for part, expected in zip(got, want, strict=True):
        torch.testing.assert_close(part.double(), expected, rtol=1e-5, atol=1e-5)
    nll_B = crf(emissions, unknown, lengths)
    assert nll_B[3].item() == pytest.approx(0, abs=1e-5), "nothing is known of it"
    assert (nll_B <= crf(emissions, tags, lengths) + 1e-5).all(), "less is asked"
    first = [part.detach().double().numpy() for part in crf._scores()]
    e = emissions[0].detach().double().numpy()
    listed = oracle.enumerate_paths(e, *first)
    agree = [all(k in (-1, y) for k, y in zip(unknown[0].tolist(), path, strict=True)) for path in listed.tags]
    weight = np.exp(listed.scores)
    assert nll_B[0].item() == pytest.approx(np.log(weight.sum() / weight[agree].sum()), rel=1e-5)
    clean = wide.detach().nan_to_num().requires_grad_()
    assert torch.autograd.gradcheck(lambda e: double(e, unknown, lengths), clean)


def test_the_kernels_say_that_they_have_no_second_derivatives():
    crf, (emissions, tags, lengths) = layer(), batch()
    (first,) = torch.autograd.grad(crf(emissions, tags, lengths).sum(), emissions, create_graph=True)
    with pytest.raises(GateworkError, match="no second derivatives"):
        first.nan_to_num().square().sum().backward()
    ready = operator.crf_loss(emissions, *crf.parameters(), tags, lengths, True)
    (first,) = torch.autograd.grad(ready[0].sum(), emissions, create_graph=True)
    with pytest.raises(GateworkError, match="no second derivatives"):
        first.nan_to_num().square().sum().backward()


def test_a_graph_may_be_walked_twice():
    crf, (emissions, tags, lengths) = layer(), batch()
    loss = crf(emissions, tags, lengths).sum()
    loss.backward(retain_graph=True)
    once = [part.grad.clone() for part in (emissions, *crf.parameters())]
    loss.backward()
    for part, before in zip((emissions, *crf.parameters()), once, strict=True):
        torch.testing.assert_close(part.grad, 2 * before)


def test_changes_in_place_before_backward_are_noticed():
    crf, (emissions, tags, lengths) = layer(), batch()
    loss = (crf(emissions, tags, lengths) * torch.arange(4)).sum()
    with torch.no_grad():
        crf.transitions += 1
    with pytest.raises(GateworkError, match="changed before its backward"):
        loss.backward()
    loss = crf(emissions, tags, lengths).sum()
    with torch.no_grad():
        emissions += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_gradients_where_none_are_wanted():
    crf, (emissions, tags, lengths) = layer(), batch()
    with torch.no_grad():
        assert not crf(emissions, tags, lengths).requires_grad
    crf.requires_grad_(False)
    crf(emissions, tags, lengths).sum().backward()
    assert emissions.grad is not None
    assert crf.transitions.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_emissions_are_widened(dtype):
    crf, (emissions, tags, lengths) = layer(), batch()
    narrow = emissions.detach().to(dtype).requires_grad_()
    loss = crf(narrow, tags, lengths, reduction="sum")
    torch.testing.assert_close(loss, crf(narrow.detach().float(), tags, lengths, reduction="sum"))
    loss.backward()
    assert narrow.grad.dtype == dtype
    crf.to(dtype)(narrow, tags, lengths, reduction="sum").backward()
    assert crf.transitions.grad.dtype == dtype


def test_layouts_and_missing_lengths():
    crf, (emissions, tags, _) = layer(), batch(lengths=(6, 6, 6, 6))
    want = crf(emissions, tags, torch.full((4,), 6))
    torch.testing.assert_close(crf(emissions, tags), want, rtol=0, atol=0)
    time_first = emissions.detach().transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(crf(time_first, tags.T.contiguous().T), want, rtol=0, atol=0)
    tags_last = emissions.detach().transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(crf(tags_last, tags), want, rtol=0, atol=0)
    expanded = emissions.detach()[:1].expand(4, -1, -1)
    torch.testing.assert_close(crf(expanded, tags[:1].expand(4, -1)), want[:1].expand(4), rtol=0, atol=0)


@pytest.mark.parametrize("constrained", [False, True])
def test_decode_marginals_and_n_best(constrained):
    crf, (emissions, _, lengths) = layer(constrained=constrained), batch()
    tags_BT, scores_B = crf.decode(emissions, lengths)
    p_BTK = crf.marginals(emissions, lengths)
    tags_BNT, scores_BN = crf.n_best(emissions, 3, lengths)
    scores = [part.detach().double().numpy() for part in crf._scores()]
    for b, length in enumerate(lengths.tolist()):
        e = emissions[b, :length].detach().double().numpy()
        want, score = oracle.best_path(e, *scores)
        assert tags_BT[b, :length].tolist() == want
        assert not tags_BT[b, length:].any()
        np.testing.assert_allclose(scores_B[b], score, rtol=1e-6)
        np.testing.assert_allclose(p_BTK[b, :length], oracle.expectations(e, *scores).tags_LK, atol=1e-5)
        assert not p_BTK[b, length:].any()
        paths = oracle.enumerate_paths(e, *scores)
        count = min(3, int(np.isfinite(paths.scores).sum()))
        assert [tuple(path) for path in tags_BNT[b, :count, :length].tolist()] == paths.tags[:count]
        np.testing.assert_allclose(scores_BN[b, :count], paths.scores[:count], rtol=1e-5)
    assert not p_BTK.requires_grad


def test_the_operators_pass_torchs_own_checks():
    crf, (emissions, tags, lengths) = layer(), batch()
    clean = emissions.detach().nan_to_num(0.1).requires_grad_()
    parts = [part.detach().requires_grad_() for part in crf.parameters()]
    torch.library.opcheck(operator.crf_loss, (clean, *parts, tags, lengths, True))
    plain = [part.detach() for part in (clean, *parts)]
    torch.library.opcheck(operator.crf_loss, (*plain, tags, lengths, False))
    ready = [part.clone() for part in operator.crf_loss(*plain, tags, lengths, True)[1:]]
    torch.library.opcheck(operator.crf_loss_backward, (torch.ones(4), *plain, tags, lengths, ready))
    torch.library.opcheck(operator.crf_viterbi, (*plain, lengths))
    torch.library.opcheck(operator.crf_marginals, (*plain, lengths))
    torch.library.opcheck(operator.crf_n_best, (*plain, lengths, 2))


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_compiled_training_equals_eager(constrained, reduction):
    torch._dynamo.reset()
    crf = layer(constrained=constrained)
    linear = nn.Linear(7, 5)

    def loss(x, tags, lengths):
        return crf(linear(x), tags, lengths, reduction=reduction).sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    _, tags, lengths = batch()
    tags = outside(tags) if constrained else tags
    x = torch.randn(4, 6, 7)
    answers = []
    for function in (loss, compiled):
        for part in (*crf.parameters(), *linear.parameters()):
            part.grad = None
        value = function(x, tags, lengths)
        value.backward()
        answers.append([value, *(part.grad for part in (*crf.parameters(), *linear.parameters()))])
    for got, want in zip(*answers, strict=True):
        torch.testing.assert_close(got, want)


def test_decoding_exports():
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(7, 5)
            self.crf = layer(constrained=True)

        def forward(self, x_BTI: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            emissions = self.linear(x_BTI)
            return *self.crf.decode(emissions, lengths_B), self.crf.marginals(emissions, lengths_B)

    tagger, x, lengths = Tagger().eval(), torch.randn(4, 6, 7), torch.tensor([6, 3, 0, 1])
    exported = torch.export.export(tagger, (x, lengths), strict=False)
    for got, want in zip(exported.module()(x, lengths), tagger(x, lengths), strict=True):
        torch.testing.assert_close(got, want)


def test_fake_tensors_have_the_shapes():
    crf = layer()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        emissions, tags = torch.empty(4, 6, 5), torch.zeros(4, 6, dtype=torch.int64)
        assert crf(emissions, tags, torch.zeros(4, dtype=torch.int64)).shape == (4,)
        assert crf.decode(emissions)[0].shape == (4, 6)
        assert crf.marginals(emissions).shape == (4, 6, 5)
        assert crf.n_best(emissions, 3)[0].shape == (4, 3, 6)
    meta = torch.empty(4, 6, 5, device="meta")
    assert crf.to("meta")(meta, torch.empty(4, 6, dtype=torch.int64, device="meta")).shape == (4,)


def test_training_learns_a_pattern():
    """Tags alternate, whatever the emissions: only transitions can say so."""
    torch.manual_seed(3)
    crf = CRF(2)
    tags = (torch.arange(9) + torch.randint(2, (16, 1))) % 2
    emissions = torch.zeros(16, 9, 2)
    emissions[:, 0] = nn.functional.one_hot(tags[:, 0], 2) * 4.0
    optimiser = torch.optim.Adam(crf.parameters(), lr=0.3)
    for _ in range(40):
        optimiser.zero_grad()
        crf(emissions, tags, reduction="mean").backward()
        optimiser.step()
    assert torch.equal(crf.decode(emissions)[0], tags)


def test_mistakes_are_errors():
    crf, (emissions, tags, lengths) = layer(), batch()
    with pytest.raises(ConfigError, match="at least 1 tag"):
        CRF(0)
    with pytest.raises(ConfigError, match=r"constraints of transitions have shape \(5, 5\), expected \(4, 4\)"):
        CRF(4, constraints=constraints(LABELS, "bio"))
    with pytest.raises(ConfigError, match="reduction must be none, sum or mean, got 'avg'"):
        crf(emissions, tags, lengths, reduction="avg")
    with pytest.raises(DataError, match=r"tags_BT must be int64 \(4, 6\)"):
        crf(emissions, tags[:, :2], lengths)
    with pytest.raises(DataError, match="tags_BT must be int64"):
        crf(emissions, tags.int(), lengths)
    with pytest.raises(DataError, match=r"expected \(B, T, 5\)"):
        crf(emissions[:, :, :4], tags, lengths)
    with pytest.raises(DataError, match="the batch has 4 sequences"):
        crf.decode(emissions, lengths[:2])
    with pytest.raises(DataError, match="lengths_B"):
        crf(emissions, tags, lengths + 1)
    for wide in (crf, copy.deepcopy(crf).double()):
        with pytest.raises(DataError, match="a tag is below"):
            wide(emissions.to(wide.transitions), tags + 5, lengths)
