"""The language model in training: its nats against the definition in float64, its gradients, its regularisers."""

from itertools import pairwise

import numpy as np
import pytest

from language_models import CASES, language_architecture, language_weights, log_p, nats

torch = pytest.importorskip("torch")

from gatework.core.errors import BundleError, ConfigError  # noqa: E402
from gatework.nn import NextToken  # noqa: E402
from gatework.nn import softmax as softmax_module  # noqa: E402
from gatework.nn.softmax import nats_each, softmax_nats  # noqa: E402

END = 2
IDS = np.random.default_rng(3).integers(1, 17, 40)


def built(case="tied", seed=0, **options):
    architecture = language_architecture(**CASES[case])
    weights = language_weights(architecture, seed)
    network = NextToken(architecture, **options)
    network.load_weights(weights)
    return architecture, weights, network


def pairs(*texts):
    """What is read and what is wanted of texts, padded with rubbish, and their lengths."""
    lengths = torch.tensor([len(text) for text in texts])
    wanted = torch.full((len(texts), int(lengths.max())), 1)
    read = torch.full_like(wanted, 1)
    for row, text in enumerate(texts):
        wanted[row, : len(text)] = torch.from_numpy(np.array(text))
        read[row, : len(text)] = torch.from_numpy(np.array([END, *text[:-1]]))
    return read, wanted, lengths


@pytest.mark.parametrize("case", CASES)
def test_nats_are_those_of_the_definition(case):
    architecture, weights, network = built(case)
    ids = IDS % (architecture.vocabulary - 1) + 1
    texts = (ids, ids[7:20], ids[3:4])
    read, wanted, lengths = pairs(*texts)
    for direction in architecture.language.directions:
        found, _ = network.eval().nats(read, wanted, direction, lengths_B=lengths)
        for row, text in enumerate(texts):
            want = nats(architecture, weights, text, direction)
            np.testing.assert_allclose(found[row, : len(text)], want, rtol=0, atol=2e-5)
            assert (found[row, len(text) :] == 0).all()
        cost = network.loss(read, wanted, direction, lengths_B=lengths)
        assert float(cost.nats.detach()) == pytest.approx(float(found.sum()), rel=1e-5)
        assert float(cost.penalty) == 0.0


@pytest.mark.parametrize("case", ["tied", "two layers", "residual", "projection", "gru"])
def test_a_text_in_pieces_has_the_same_nats(case):
    _, _, network = built(case)
    ids = IDS % 16 + 1
    read, wanted, _ = pairs(ids)
    whole, _ = network.eval().nats(read, wanted, "forward")
    state, parts = None, []
    for piece in np.split(np.arange(40), [1, 14, 39]):
        own, state = network.nats(read[:, piece], wanted[:, piece], "forward", state=state)
        parts.append(own)
    np.testing.assert_allclose(torch.cat(parts, 1), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["tied", "tied and projected", "untied", "clusters", "clusters, untied"])
def test_gradients_of_the_head_are_those_of_the_definition(case):
    """Against autograd through log-softmaxes written out."""
    architecture, _, network = built(case)
    network = network.double()
    h = torch.randn(12, network.width, dtype=torch.float64, requires_grad=True)
    wanted = torch.randint(1, 17, (12,))
    table = network.table_VW
    parameters = [h, table, network.bias]
    parameters += [] if network.cluster is None else list(network.cluster.parameters())
    found = torch.autograd.grad(network._nats(h, wanted), parameters)
    logits = h @ table.T + network.bias
    logits = torch.cat([torch.full((12, 1), -torch.inf, dtype=torch.float64), logits[:, 1:]], 1)
    cutoffs = architecture.language.cutoffs
    if not cutoffs:
        log_p_NV = logits.log_softmax(1)
    else:
        top = torch.cat([logits[:, : cutoffs[0]], network.cluster(h)], 1).log_softmax(1)
        borders = (*cutoffs, 17)
        tails = [
            top[:, [cutoffs[0] + place]] + logits[:, low:high].log_softmax(1)
            for place, (low, high) in enumerate(pairwise(borders))
        ]
        log_p_NV = torch.cat([top[:, : cutoffs[0]], *tails], 1)
    want = torch.autograd.grad(-log_p_NV[torch.arange(12), wanted].sum(), parameters)
    for have, wanted_gradient in zip(found, want, strict=True):
        torch.testing.assert_close(have, wanted_gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("first", [0, 1])
def test_gradients_of_the_softmax(smoothing, first, monkeypatch):
    monkeypatch.setattr(softmax_module, "_rows", lambda classes, logits=0: 3)
    torch.manual_seed(1)
    shapes = ((7, 4), (6, 4), (6,))
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    wanted = torch.tensor([1, 5, 2, 2, 3, 4, 1])

    def total(*tensors):
        return softmax_nats(*tensors, wanted, smoothing=smoothing, first=first)

    assert torch.autograd.gradcheck(total, parts)
    logits = parts[0] @ parts[1].T + parts[2]
    want = torch.nn.functional.cross_entropy(
        logits[:, first:], wanted - first, label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(total(*parts), want)
    each = nats_each(*parts, wanted, first=first)
    torch.testing.assert_close(
        each, torch.nn.functional.cross_entropy(logits[:, first:], wanted - first, reduction="none").detach()
    )


def test_products_of_bfloat16_numbers_are_near():
    torch.manual_seed(1)
    parts = [torch.randn(shape, requires_grad=True) for shape in ((50, 16), (40, 16), (40,))]
    wanted = torch.randint(1, 40, (50,))
    found = []
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            total = softmax_nats(*parts, wanted, first=1)
        found.append([total.detach(), *torch.autograd.grad(total, parts)])
    for plain, low in zip(*found, strict=True):
        assert plain.dtype == low.dtype == torch.float32
        assert not torch.equal(plain, low)
        assert float((plain - low).norm() / plain.norm()) < 0.01


def test_penalties_by_hand_and_their_gradients():
    architecture, _, network = built(activation_penalty=2.0, temporal_penalty=0.5)
    network = network.double().train()
    read, wanted, lengths = pairs(IDS[:9] % 16 + 1, IDS[:4] % 16 + 1)
    y_TBP, _ = network(read, "forward", lengths_B=lengths)
    live = [y_TBP[: int(length), row] for row, length in enumerate(lengths)]
    want = 2.0 * torch.cat(live).square().mean()
    want = want + 0.5 * torch.cat([own[1:] - own[:-1] for own in live]).square().mean()
    found = network.loss(read, wanted, "forward", lengths_B=lengths).penalty
    torch.testing.assert_close(found, want)
    parameters = list(network.stacks.parameters())
    for have, wanted_gradient in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(want, parameters), strict=True
    ):
        torch.testing.assert_close(have, wanted_gradient)
    assert float(network.eval().loss(read, wanted, "forward", lengths_B=lengths).penalty) == 0.0
    del architecture


def test_vocabulary_dropout_drops_a_token_wherever_it_stands():
    _, _, network = built(vocabulary_dropout=0.5)
    tokens = torch.from_numpy(np.tile(np.arange(1, 17), (3, 2)))
    torch.manual_seed(2)
    x_BTE = network.train()._vectors(tokens)
    plain = network.embedding.weight[tokens]
    share = (x_BTE / plain).detach()
    assert set(share.round(decimals=4).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(share[0], share[2])
    assert torch.equal(share[:, :16], share[:, 16:])
    assert torch.equal(network.eval()._vectors(tokens), plain)


@pytest.mark.parametrize("locked", [False, True])
def test_locked_dropout_has_one_mask_a_sequence(locked):
    architecture = language_architecture(encoder={"units": 64})
    network = NextToken(architecture, dropout=0.5, locked=locked).train()
    kept = []
    original = network._penalty
    network._penalty = lambda y, dropped, live: kept.append(dropped == 0) or original(y, dropped, live)
    read, wanted, _ = pairs(IDS[:9] % 16 + 1, IDS[:9] % 16 + 1)
    network.loss(read, wanted, "forward")
    (dropped_TBP,) = kept
    assert 0.3 < dropped_TBP.float().mean() < 0.7
    assert bool((dropped_TBP == dropped_TBP[:1]).all()) == locked
    assert not torch.equal(dropped_TBP[:, 0], dropped_TBP[:, 1])


@pytest.mark.parametrize(
    "option",
    ["dropout", "output_dropout", "embedding_dropout", "vocabulary_dropout", "word_dropout", "weight_drop", "zoneout",
     "variational_dropout", "label_smoothing"],
)  # fmt: skip
def test_every_regulariser_acts_in_training_alone(option):
    read, wanted, _ = pairs(IDS % 16 + 1)
    costs = []
    for options in ({}, {option: 0.5}):
        _, _, network = built("two layers", **options)
        torch.manual_seed(1)
        costs.append(float(network.train().loss(read, wanted, "forward").nats.detach()))
        costs.append(float(network.eval().loss(read, wanted, "forward").nats.detach()))
    assert costs[0] == costs[1] == costs[3]
    assert costs[2] != costs[0]
    with pytest.raises(ConfigError):
        built(**{option: 1.0})


def test_output_dropout_is_dropout_unless_set():
    architecture = language_architecture()
    assert NextToken(architecture, dropout=0.3).output_dropout == 0.3
    assert NextToken(architecture, dropout=0.3, output_dropout=0.1).output_dropout == 0.1


def test_the_bias_begins_at_the_shares_of_tokens():
    counts = np.arange(17)
    network = NextToken(language_architecture(), counts_V=counts)
    shares = (counts + 1) / (counts[1:] + 1).sum()
    np.testing.assert_allclose(network.bias.detach().exp().numpy()[1:], shares[1:], rtol=1e-6)


@pytest.mark.parametrize("case", ["tied", "untied"])
@pytest.mark.parametrize("sparse", [False, True])
def test_sampled_softmax_by_hand(case, sparse):
    """The loss in training is that of the drawn tokens; what is measured is the whole softmax still."""
    counts = np.arange(17) * 3
    _, _, network = built(case, negatives=6, counts_V=counts, sparse=sparse)
    read, wanted, _ = pairs(IDS[:9] % 16 + 1)
    torch.manual_seed(5)
    found = network.train().loss(read, wanted, "forward").nats
    torch.manual_seed(5)
    drawn = network.negatives.draw()
    assert drawn.shape == (6,)
    assert 0 not in drawn
    h = network(read, "forward")[0][:, 0]
    q = (counts + 1.0) ** 0.75
    q[0] = 0
    log_q = torch.from_numpy(np.log(np.maximum(q / q.sum(), 1e-13))).float()
    scores = h @ network.table_VW.T + network.bias - log_q
    want = sum(
        -scores[t, w] + torch.cat([scores[t, w][None], scores[t, drawn[drawn != w]]]).logsumexp(0)
        for t, w in enumerate(wanted[0].tolist())
    )
    torch.testing.assert_close(found, want)
    gradients = torch.autograd.grad(found, [network.table_VW, network.bias])
    assert gradients[0].is_sparse == sparse
    wanted_gradients = torch.autograd.grad(want, [network.table_VW, network.bias])
    for have, one in zip(gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(have.to_dense(), one.to_dense(), atol=1e-5, rtol=1e-4)
    plain = built(case)[2].eval().loss(read, wanted, "forward").nats
    torch.testing.assert_close(network.eval().loss(read, wanted, "forward").nats, plain)


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_architecture(case):
    _, weights, network = built(case)
    assert set(network.to_weights()) == set(weights)
    with pytest.raises(BundleError, match="missing"):
        network.load_weights({name: weights[name] for name in list(weights)[1:]})


def test_backward_reads_another_stack():
    architecture, weights, _ = built("both directions")
    ids = IDS % 16 + 1
    assert not np.allclose(log_p(architecture, weights, ids), log_p(architecture, weights, ids, "backward"))
