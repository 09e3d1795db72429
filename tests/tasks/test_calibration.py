"""Temperature and thresholds."""

import numpy as np
import pytest

from gatework.tasks.classify import Settings, calibrate, metrics, probabilities, tune_thresholds
from gatework.tasks.classify.calibration import tune_threshold
from gatework.tasks.classify.interval import f1_from


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def _sampled(rng, count, labels, temperature):
    """Logits, and targets drawn from softmax(logits / temperature): the temperature is known."""
    logits = rng.normal(scale=3.0, size=(count, labels))
    p = probabilities(logits, Settings(temperature=temperature))
    return logits, (p.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_finds_the_temperature_that_made_the_data(rng, temperature):
    logits, targets = _sampled(rng, 20_000, 4, temperature)
    assert calibrate(logits, targets) == pytest.approx(temperature, rel=0.05)


def test_finds_the_temperature_of_a_multi_label_model(rng):
    logits = rng.normal(scale=3.0, size=(8000, 3))
    targets = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits / 1.8))).astype(np.float32)
    assert calibrate(logits, targets) == pytest.approx(1.8, rel=0.05)


def test_lowers_the_calibration_error(rng):
    logits, targets = _sampled(rng, 4000, 5, 3.0)
    half, names = 2000, list("abcde")
    settings = Settings(temperature=calibrate(logits[:half], targets[:half]))
    before = metrics(logits[half:], targets[half:], names)
    after = metrics(logits[half:], targets[half:], names, settings=settings)
    assert after["ece"] < before["ece"] / 3
    assert after["nll"] < before["nll"]
    assert after["accuracy"] == before["accuracy"]


def test_all_right_is_not_taken_for_certainty():
    logits = np.tile([[4.0, 0.0], [0.0, 4.0]], (10, 1))
    temperature = calibrate(logits, np.tile([0, 1], 10))
    confidence = probabilities(logits, Settings(temperature=temperature)).max()
    assert 0.95 < confidence < 0.99, "20 right answers of 20 speak for about 1 - 1/40"


def test_no_examples_leave_temperature_alone():
    assert calibrate(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0


def test_threshold_reaches_the_best_f1(rng):
    truth = rng.random(5000) < 0.1
    p = 1 / (1 + np.exp(-(rng.normal(size=5000) + 2 * truth - 3)))
    threshold = tune_threshold(p, truth)

    def f1_at(cut):
        given = p >= cut
        return f1_from((given & truth).sum(), (given & ~truth).sum(), (~given & truth).sum())

    best = max(f1_at(cut) for cut in np.linspace(0.01, 0.99, 400))
    standard_error = (best * (1 - best) / truth.sum()) ** 0.5
    assert f1_at(threshold) >= best - standard_error - 1e-9
    assert f1_at(threshold) > f1_at(0.5) + standard_error


def test_threshold_stays_at_the_anchor_where_nothing_is_gained(rng):
    truth = np.arange(40) % 2 == 0
    assert tune_threshold(np.where(truth, 0.9, 0.1), truth, anchor=0.5) == 0.5
    assert tune_threshold(rng.random(40), np.zeros(40, dtype=bool), anchor=0.5) == 0.5
    assert tune_threshold(rng.random(40), np.zeros(40, dtype=bool)) == 0.5


def test_threshold_keeps_equal_probabilities_together():
    p = np.array([0.8, 0.3, 0.3, 0.3, 0.1])
    threshold = tune_threshold(p, np.array([True, True, False, True, False]))
    assert 0.1 < threshold < 0.3


def test_two_labels_share_one_threshold(rng):
    truth = (rng.random(3000) < 0.2).astype(int)
    p = 1 / (1 + np.exp(-(rng.normal(size=3000) + 2 * truth - 2.5)))
    one, other = tune_thresholds(np.stack([1 - p, p], axis=1), truth, positive=1)
    assert one + other == pytest.approx(1.0)
    assert other < 0.45
    mirrored = tune_thresholds(np.stack([p, 1 - p], axis=1), 1 - truth, positive=0)
    assert mirrored == pytest.approx((other, one))


def test_many_exclusive_labels_have_no_thresholds(rng):
    assert tune_thresholds(rng.random((50, 3)), rng.integers(3, size=50), positive=None) == ()


def test_multi_label_thresholds_differ_by_label(rng):
    truth = rng.random((4000, 2)) < [0.5, 0.05]
    logits = rng.normal(size=truth.shape) + 2 * truth - [1.0, 4.0]
    thresholds = tune_thresholds(1 / (1 + np.exp(-logits)), truth.astype(np.float32), positive=None)
    assert thresholds[1] < thresholds[0]
