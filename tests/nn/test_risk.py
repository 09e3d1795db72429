"""Expected risk: the same as by hand, and its gradient that of enumerating every answer."""

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gatework.nn import Pairs, Seq2Seq  # noqa: E402
from gatework.nn.risk import expected_risk  # noqa: E402
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights  # noqa: E402

END = 2


def test_by_hand():
    log_p = torch.log(torch.tensor([[0.1, 0.3, 0.5], [0.2, 0.9, 0.9]]))
    risk = torch.tensor([[1.0, 0.5, 0.0], [0.25, 9.0, 9.0]])
    real = torch.tensor([[True, True, True], [True, False, False]])
    got = expected_risk(log_p, risk, real, sharpness=1.0)
    np.testing.assert_allclose(got, [(0.1 * 1.0 + 0.3 * 0.5) / 0.9, 0.25], rtol=1e-6)
    squared = expected_risk(log_p, risk, real, sharpness=2.0)
    np.testing.assert_allclose(squared[0], (0.01 * 1.0 + 0.09 * 0.5) / 0.35, rtol=1e-6)


def every_answer(outputs, longest):
    """Every target of at most so many tokens, without their ends."""
    tokens = [token for token in range(1, outputs) if token != END]
    return [ids for length in range(longest + 1) for ids in product(tokens, repeat=length)]


def pairs_with(source, answers):
    rows = len(answers)
    lengths = torch.tensor([len(ids) + 1 for ids in answers])
    wanted = torch.zeros(rows, int(lengths.max()), dtype=torch.int64)
    for row, ids in zip(wanted, answers, strict=True):
        row[: len(ids) + 1] = torch.tensor([*ids, END])
    read = torch.cat([torch.full((rows, 1), END), wanted[:, :-1]], 1)
    sources = torch.tensor(source).expand(rows, -1)
    return Pairs(sources, torch.full((rows,), len(source)), read, wanted, lengths)


@pytest.mark.parametrize("case", ["general", "no attention", "copy", "input feeding", "own vocabularies"])
def test_gradient_is_that_of_the_enumerated_expectation(case):
    """All answers of up to two tokens: risk and finite differences worked out with NumPy in float64."""
    architecture = seq2seq_architecture(**{**CASES[case], **({} if "own" in case else {"vocabulary": 6})})
    architecture_outputs = architecture.outputs
    network = Seq2Seq(architecture)
    network.load_weights(seq2seq_weights(architecture, scale=0.4))
    network.double().eval()
    answers = every_answer(min(architecture_outputs, 6), 2)
    pairs = pairs_with([3, 1, 4, END], answers)
    risks = np.random.default_rng(3).uniform(0, 1, len(answers))
    real = torch.ones(1, len(answers), dtype=torch.bool)

    def enumerated():
        p = np.exp(-0.7 * network.nats(pairs).sum(1).numpy())
        return float((p * risks).sum() / p.sum())

    value = expected_risk(network.log_p(pairs)[None], torch.tensor(risks)[None], real, sharpness=0.7).sum()
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(enumerated(), abs=1e-12)
    value.backward()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        place = int(gradient.abs().argmax())
        flat, wanted = parameter.data.view(-1), gradient.view(-1)[place].item()
        was, step = float(flat[place]), 1e-5
        found = []
        for change in (step, -step):
            flat[place] = was + change
            found.append(enumerated())
        flat[place] = was
        assert wanted == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-5, abs=1e-9), name
