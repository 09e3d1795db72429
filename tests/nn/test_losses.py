"""Losses against their equations, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatework.core.errors import ConfigError
from gatework.nn import Logits, Loss, balanced_class_weights

WEIGHTS = [None, torch.tensor([0.5, 2.0, 1.0])]


def softmax_loss(z: np.ndarray, y: np.ndarray, smoothing: float, weights: np.ndarray, gamma: float) -> float:
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    target = np.full(z.shape, smoothing / z.shape[1])
    target[np.arange(len(y)), y] += 1 - smoothing
    focal = (1 - p[np.arange(len(y)), y]) ** gamma
    return (focal * (-target * weights * np.log(p)).sum(1)).sum() / weights[y].sum()


def sigmoid_loss(z: np.ndarray, y: np.ndarray, smoothing: float, weights: np.ndarray, gamma: float) -> float:
    p = 1 / (1 + np.exp(-z))
    target = y * (1 - smoothing) + smoothing / 2
    focal = np.where(y == 1, 1 - p, p) ** gamma
    return (focal * -(weights * target * np.log(p) + (1 - target) * np.log(1 - p))).mean()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("weights", WEIGHTS, ids=["even", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("multi_label", [False, True])
def test_is_its_equation_with_a_gradient(multi_label, smoothing, weights, gamma):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(6, 3)) * 2
    y = rng.integers(0, 2, (6, 3)).astype(float) if multi_label else rng.integers(0, 3, 6)
    loss = Loss(multi_label=multi_label, label_smoothing=smoothing, class_weights_C=weights, focal_gamma=gamma)
    equation = sigmoid_loss if multi_label else softmax_loss
    want = equation(z, y, smoothing, np.ones(3) if weights is None else weights.double().numpy(), gamma)
    logits, targets = torch.tensor(z, requires_grad=True), torch.tensor(y)
    assert loss.of(logits, targets).item() == pytest.approx(want, abs=1e-12)
    assert torch.autograd.gradcheck(lambda t: loss.of(t, targets), (logits,))


def test_parts_add_up():
    torch.manual_seed(1)
    deep, wide, y = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    loss = Loss()
    assert loss(Logits(deep, wide), y) == loss.of(deep, y) + loss.of(wide, y)
    assert loss(Logits(deep, None), y) == loss.of(deep, y)
    torch.testing.assert_close(Logits(deep, wide).total, deep + wide)


@pytest.mark.parametrize("multi_label", [False, True])
def test_certain_answers_stay_finite(multi_label):
    z = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]) if multi_label else torch.tensor([0, 1])
    value = Loss(multi_label=multi_label, focal_gamma=2.0).of(z, y)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_certain_answers_have_finite_gradients(multi_label, gamma):
    z = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0]]) if multi_label else torch.tensor([0])
    Loss(multi_label=multi_label, focal_gamma=gamma).of(z, y).backward()
    assert z.grad.isfinite().all()


def test_half_precision_logits_are_raised():
    z = torch.randn(4, 3).bfloat16()
    assert Loss().of(z, torch.tensor([0, 1, 2, 0])).dtype == torch.float32


def test_balanced_weights():
    torch.testing.assert_close(balanced_class_weights([1, 3]), torch.tensor([2.0, 2 / 3]))
    with pytest.raises(ConfigError, match="at least one training example of every class"):
        balanced_class_weights([3, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"label_smoothing": 1.0}, "label_smoothing must be"), ({"focal_gamma": -1.0}, "focal_gamma must be")],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Loss(**options)
