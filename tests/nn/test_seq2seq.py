"""Sequence to sequence in training: the same numbers as the runtime, all at once or step by step, and gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gatework.core.errors import ConfigError  # noqa: E402
from gatework.nn import Pairs, Seq2Seq  # noqa: E402
from gatework.runtime import seq2seq  # noqa: E402
from language_models import tensor_file  # noqa: E402
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights  # noqa: E402

END = 2
LENGTHS = ((3, 5), (7, 1), (1, 4), (4, 2))
"""Tokens of sources and of targets, ends counted, in no order."""


def some(architecture, seed=1):
    """Sources, targets without their ends, and both as a batch."""
    rng = np.random.default_rng(seed)
    sources = [np.append(rng.integers(1, architecture.vocabulary, s - 1), END) for s, _ in LENGTHS]
    targets = [rng.integers(1, architecture.outputs, t - 1) for _, t in LENGTHS]
    return sources, targets, batch(sources, targets)


def batch(sources, targets):
    def padded(rows, fill):
        whole = np.full((len(rows), max(map(len, rows))), fill)
        for row, values in zip(whole, rows, strict=True):
            row[: len(values)] = values
        return torch.from_numpy(whole)

    ends = [np.append(one, END) for one in targets]
    read = [np.append(END, one) for one in targets]
    lengths = [torch.tensor([len(one) for one in rows]) for rows in (sources, ends)]
    return Pairs(padded(sources, 0), lengths[0], padded(read, 0), padded(ends, 0), lengths[1])


def network(architecture, seed=0, scale=0.7, **options):
    made = Seq2Seq(architecture, **options)
    made.load_weights(seq2seq_weights(architecture, seed, scale))
    return made.eval()


@pytest.mark.parametrize("case", CASES)
def test_as_likely_as_in_the_runtime(case):
    """Ragged pairs, padded in training, one after the other without padding in the runtime."""
    architecture = seq2seq_architecture(**CASES[case])
    sources, targets, pairs = some(architecture)
    got = network(architecture).nats(pairs).numpy()
    runtime = seq2seq.Seq2Seq(architecture, tensor_file(seq2seq_weights(architecture)), source="small.gw")
    want = runtime.nll(sources, targets)
    for own_T, wanted_T in zip(got, want, strict=True):
        np.testing.assert_allclose(own_T[: len(wanted_T)], wanted_T, rtol=0, atol=2e-4)
        assert not own_T[len(wanted_T) :].any()
    assert np.ptp(np.concatenate(want)) > 0.5, "the cases say something"


@pytest.mark.parametrize("case", CASES)
def test_loss_is_the_sum_of_nats(case):
    architecture = seq2seq_architecture(**CASES[case])
    _, _, pairs = some(architecture)
    made = network(architecture)
    assert float(made.loss(pairs).detach()) == pytest.approx(float(made.nats(pairs).sum()), rel=1e-5)


@pytest.mark.parametrize("case", ["general", "additive", "two layers", "no attention", "copy"])
def test_at_once_and_by_steps_agree(case):
    """Without input feeding and coverage a step does not wait for the one before; made to, it gives the same."""
    architecture = seq2seq_architecture(**CASES[case])
    _, _, pairs = some(architecture)
    made = network(architecture)
    want = made.nats(pairs)

    def by_steps(x_BTE, e_BP, memory, starts, lengths_B):
        return made.writing._by_steps(x_BTE, e_BP, memory, starts)

    made.writing._at_once = by_steps
    torch.testing.assert_close(made.nats(pairs), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_every_weight_has_its_gradient(case):
    """In float32 against differences of the loss, along the gradient itself; a transformer's is bent more."""
    architecture = seq2seq_architecture(**CASES[case])
    _, _, pairs = some(architecture)
    scale, step = (0.3, 1e-3) if "transformer" in case else (0.7, 1e-2)
    made = network(architecture, scale=scale).train()
    for name, weight in made.named_weights():
        made.zero_grad()
        made.loss(pairs).backward()
        assert weight.grad is not None, name
        slope = weight.grad / (weight.grad.norm() + 1e-12)
        kept, found = weight.detach().clone(), []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                weight.copy_(kept + sign * step * slope)
                found.append(float(made.loss(pairs)))
                weight.copy_(kept)
        wanted = float((weight.grad * slope).sum())
        assert (found[0] - found[1]) / (2 * step) == pytest.approx(wanted, rel=0.03, abs=2e-2), name


def test_smoothing_pulls_towards_all_tokens():
    """(1 - e) of the loss and e of the mean over tokens of -log p, padding left out; with copying of the table."""
    for case in ("general", "copy"):
        architecture = seq2seq_architecture(**CASES[case])
        _, _, pairs = some(architecture)
        made, plain = (network(architecture, label_smoothing=e).train() for e in (0.25, 0.0))
        with torch.no_grad():
            seen = plain(pairs)
            live_BT = torch.arange(seen.o_BTE.shape[1]) < pairs.lengths_B[:, None]
            spread = -plain._log_p(seen.o_BTE[live_BT])[:, 1:].mean(1).sum()
            want = 0.75 * plain.loss(pairs) + 0.25 * spread
            torch.testing.assert_close(made.loss(pairs), want, rtol=1e-5, atol=1e-4)


def test_the_table_says_in_training_what_could_be_copied():
    """Of the loss of copying the part w is -log of what the table alone gives each token; of what is measured none."""
    architecture = seq2seq_architecture(**CASES["copy"])
    _, _, pairs = some(architecture)
    made, plain = (network(architecture, uncopied_weight=w).train() for w in (0.25, 0.0))
    with torch.no_grad():
        seen = plain(pairs)
        live_BT = torch.arange(seen.o_BTE.shape[1]) < pairs.lengths_B[:, None]
        logits_NV = plain._log_p(seen.o_BTE[live_BT])
        alone = -logits_NV[torch.arange(len(logits_NV)), pairs.wanted_BT[live_BT]].sum()
        torch.testing.assert_close(made.loss(pairs), 0.75 * plain.loss(pairs) + 0.25 * alone, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(made.eval().loss(pairs), plain.eval().loss(pairs))
        torch.testing.assert_close(made.nats(pairs), plain.nats(pairs))


OPTIONS = {
    "dropout": 0.5,
    "output_dropout": 0.5,
    "embedding_dropout": 0.5,
    "word_dropout": 0.5,
    "variational_dropout": 0.5,
    "weight_drop": 0.5,
    "zoneout": 0.5,
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_regulariser_acts_in_training_alone(option):
    architecture = seq2seq_architecture(writer={"layers": 2})
    _, _, pairs = some(architecture)
    chances = {"dropout": 0.0, "output_dropout": 0.0, option: OPTIONS[option]}
    made, plain = network(architecture, **chances), network(architecture)
    torch.testing.assert_close(made.nats(pairs), plain.nats(pairs))
    made.train()
    torch.manual_seed(3)
    assert abs(float(made.loss(pairs).detach()) - float(plain.loss(pairs).detach())) > 1e-3


@pytest.mark.parametrize("option", ["dropout", "output_dropout", "embedding_dropout", "word_dropout"])
def test_a_transformer_has_regularisers_too(option):
    architecture = seq2seq_architecture(**CASES["transformer"])
    _, _, pairs = some(architecture)
    made, plain = network(architecture, **{option: 0.5}), network(architecture)
    torch.testing.assert_close(made.nats(pairs), plain.nats(pairs))
    torch.manual_seed(3)
    assert abs(float(made.train().loss(pairs).detach()) - float(plain.loss(pairs).detach())) > 1e-3


def test_what_is_not_asked_for_does_not_act_on_a_transformers_output():
    architecture = seq2seq_architecture(**CASES["transformer"])
    assert network(architecture, dropout=0.5).writing.output_dropout == 0.0
    assert network(seq2seq_architecture(), dropout=0.5).writing.output_dropout == 0.5


@pytest.mark.parametrize(
    ("case", "length"), [("transformer", 1.0), ("lstm under a transformer", 1.0), ("general", 0.28)]
)
def test_vectors_of_a_transformer_start_about_one_long(case, length):
    torch.manual_seed(0)
    vectors_VE = Seq2Seq(seq2seq_architecture(**CASES[case])).embedding.weight.detach()[1:]
    assert float(vectors_VE.norm(dim=1).mean()) == pytest.approx(length, rel=0.2)


@pytest.mark.parametrize("option", ["variational_dropout", "weight_drop", "zoneout"])
def test_options_of_recurrence_need_a_recurrent_layer(option):
    with pytest.raises(ConfigError, match="of recurrent layers"):
        Seq2Seq(seq2seq_architecture(**CASES["transformer"]), **{option: 0.1})
    Seq2Seq(seq2seq_architecture(**CASES["lstm under a transformer"]), **{option: 0.1})


def test_what_cannot_go_step_by_step_is_an_error():
    architecture = seq2seq_architecture(**CASES["input feeding"])
    with pytest.raises(ConfigError, match="zoneout do not go with input_feeding"):
        Seq2Seq(architecture, zoneout=0.1)


def test_the_bias_begins_at_the_shares_of_the_tokens():
    architecture = seq2seq_architecture()
    counts = 1000 * np.arange(17)
    bias = Seq2Seq(architecture, counts_V=counts).bias.detach().numpy()
    assert bias[16] - bias[8] == pytest.approx(np.log(2.0), abs=0.05)


def likeliest(architecture, source, target):
    """The runtime's likeliest token after each beginning of a target, the end among them."""
    runtime = seq2seq.Seq2Seq(architecture, tensor_file(seq2seq_weights(architecture)), source="small.gw")
    found = []
    for length in range(len(target) + 1):
        begun = list(target[:length])
        tokens = [token for token in range(1, architecture.outputs) if token != END]
        nats = {token: runtime.nll([source], [[*begun, token]])[0][length] for token in tokens}
        nats[END] = runtime.nll([source], [begun])[0][length]
        found.append(min(nats, key=nats.get))
    return found


@pytest.mark.parametrize("case", ["general", "copy", "coverage", "own vocabularies"])
def test_scheduled_sampling_reads_what_the_network_would_write(case):
    architecture = seq2seq_architecture(**CASES[case])
    sources, targets, pairs = some(architecture)
    own = network(architecture)
    mixed = own.with_own(pairs, 1.0)
    assert (mixed.read_BT[:, 0] == END).all()
    for source, target, read in zip(sources, targets, mixed.read_BT.tolist(), strict=True):
        assert read[1 : len(target) + 1] == likeliest(architecture, source, target)[: len(target)]
    assert own.with_own(pairs, 0.0) is pairs
    torch.manual_seed(0)
    half = own.with_own(pairs, 0.5).read_BT[:, 1:]
    live = torch.arange(1, half.shape[1] + 1) < pairs.lengths_B[:, None]
    gold, likely = (half == one.read_BT[:, 1:] for one in (pairs, mixed))
    assert (gold | likely)[live].all()
    assert not gold[live].all()
    assert not likely[live].all()


@pytest.mark.parametrize("case", ["general", "copy"])
def test_every_token_at_each_step(case):
    """The probabilities of all tokens: they sum to one, and those of the targets are those of the loss."""
    architecture = seq2seq_architecture(**CASES[case])
    _, _, pairs = some(architecture)
    own = network(architecture)
    log_p_NV = own.log_p_each(pairs)
    live = torch.arange(pairs.wanted_BT.shape[1]) < pairs.lengths_B[:, None]
    np.testing.assert_allclose(log_p_NV.exp().sum(1).detach(), 1.0, rtol=1e-5)
    wanted = log_p_NV.gather(1, pairs.wanted_BT[live][:, None])[:, 0]
    np.testing.assert_allclose(-wanted.detach(), own.nats(pairs)[live], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(own.log_p(pairs).detach(), -own.nats(pairs).sum(1), rtol=1e-5)


@pytest.mark.parametrize("case", ["general", "copy"])
def test_a_teacher_is_followed(case):
    """The gradient by the logits' bias is that of p - q by hand; nothing is left to learn where both agree."""
    architecture = seq2seq_architecture(**CASES[case])
    _, _, pairs = some(architecture)
    own, teacher = network(architecture), network(architecture, seed=5)
    p_NV = teacher.log_p_each(pairs).exp().detach()
    plain, whole = own.taught_loss(pairs, p_NV, weight=0.0), own.taught_loss(pairs, p_NV, weight=1.0)
    assert plain.item() == pytest.approx(own.loss(pairs).item(), rel=1e-5)
    mixed = own.taught_loss(pairs, p_NV, weight=0.25)
    assert mixed.item() == pytest.approx(0.75 * plain.item() + 0.25 * whole.item(), rel=1e-5)
    if case == "general":
        whole.backward()
        want = (own.log_p_each(pairs).exp() - p_NV).sum(0)
        np.testing.assert_allclose(own.bias.grad[1:], want.detach()[1:], atol=1e-4)
    own.zero_grad()
    same = own.log_p_each(pairs).exp().detach()
    own.taught_loss(pairs, same, weight=1.0).backward()
    assert max(float(p.grad.abs().max()) for p in own.parameters() if p.grad is not None) < 1e-4


def test_a_teacher_stands_beside_the_loss_as_it_is_without_one():
    """With copying, smoothing and the table alone in it."""
    architecture = seq2seq_architecture(**CASES["copy"])
    _, _, pairs = some(architecture)
    own = network(architecture, label_smoothing=0.2, uncopied_weight=0.3).train()
    with torch.no_grad():
        p_NV = network(architecture, seed=5).log_p_each(pairs).exp()
        torch.testing.assert_close(own.taught_loss(pairs, p_NV, weight=0.0), own.loss(pairs), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_targets_of_one_source(case):
    """Encoded once, they are as likely as with a source each, and so are the gradients."""
    architecture = seq2seq_architecture(**CASES[case])
    sources, targets, _ = some(architecture)
    counts = torch.tensor([2, 1, 3, 1])
    same = torch.repeat_interleave(counts)
    rng = np.random.default_rng(4)
    more = [rng.integers(3, architecture.outputs, 1 + place % 4) for place in range(len(same) - len(targets))]
    pairs = batch([sources[place] for place in same.tolist()], [*targets, *more])
    own = network(architecture)
    found = []
    for one in (pairs, pairs._replace(same_B=same)):
        own.zero_grad()
        log_p = own.log_p(one)
        (log_p * torch.arange(1, len(same) + 1)).sum().backward()
        found.append([log_p.detach(), *(p.grad.clone() for p in own.parameters() if p.grad is not None)])
    for apart, together in zip(*found, strict=True):
        np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-3 * float(apart.abs().max()))
