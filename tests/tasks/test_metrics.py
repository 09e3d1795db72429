"""Metrics against scikit-learn, intervals against resampling row by row."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from gatework.core.errors import DataError
from gatework.tasks.classify import Settings, metrics
from gatework.tasks.classify.metrics import calibration_bins, expected_calibration_error


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def _case(rng, count, labels, skill=1.5):
    """Logits that lean towards unevenly frequent targets."""
    targets = rng.choice(labels, count, p=np.arange(1, labels + 1) / (labels * (labels + 1) / 2))
    logits = rng.normal(size=(count, labels))
    logits[np.arange(count), targets] += skill
    return logits.astype(np.float32), targets


@pytest.mark.parametrize(("count", "labels"), [(300, 3), (500, 7), (40, 12)])
def test_many_labels_as_scikit_learn(rng, count, labels):
    logits, targets = _case(rng, count, labels)
    names = [f"l{index}" for index in range(labels)]
    got, answers = metrics(logits, targets, names), logits.argmax(axis=1)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(targets, answers))
    for average in ("macro", "weighted", "micro"):
        want = sk.f1_score(targets, answers, average=average, zero_division=0)
        assert got[f"f1_{average}"] == pytest.approx(want)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, answers, labels=range(labels), zero_division=0
    )
    for index, name in enumerate(names):
        one = got["per_class"][name]
        assert [one["precision"], one["recall"], one["f1"]] == pytest.approx(
            [precision[index], recall[index], f1[index]]
        )
        assert one["support"] == support[index]
    assert got["confusion"] == sk.confusion_matrix(targets, answers, labels=range(labels)).tolist()
    exps = np.exp(logits.astype(np.float64))
    want = sk.log_loss(targets, exps / exps.sum(axis=1, keepdims=True), labels=range(labels))
    assert got["nll"] == pytest.approx(want)
    assert got["f1"] == got["f1_macro"]
    assert got["positive"] is None


@pytest.mark.parametrize("positive", [0, 1])
def test_two_labels_report_the_positive(rng, positive):
    logits, targets = _case(rng, 200, 2)
    got = metrics(logits, targets, ["a", "b"], settings=Settings(positive=positive))
    answers = logits.argmax(axis=1)
    want = sk.precision_recall_fscore_support(targets, answers, pos_label=positive, average="binary")[:3]
    assert [got["precision"], got["recall"], got["f1"]] == pytest.approx(want)
    assert got["positive"] == ["a", "b"][positive]


def test_positive_defaults_to_the_rarer(rng):
    logits, targets = _case(rng, 200, 2)
    assert (targets == 0).sum() < (targets == 1).sum()
    assert metrics(logits, targets, ["a", "b"])["positive"] == "a"


def test_multi_label_as_scikit_learn(rng):
    truth = rng.random((150, 5)) < [0.5, 0.3, 0.1, 0.05, 0.0]
    logits = rng.normal(size=truth.shape) + 1.5 * truth
    thresholds = (0.5, 0.4, 0.6, 0.7, 0.9)
    got = metrics(
        logits, truth.astype(np.float32), list("abcde"), settings=Settings(multi_label=True, thresholds=thresholds)
    )
    answers = 1 / (1 + np.exp(-logits)) >= thresholds
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(truth, answers))
    assert got["f1"] == got["f1_micro"] == pytest.approx(sk.f1_score(truth, answers, average="micro"))
    assert got["precision"] == pytest.approx(sk.precision_score(truth, answers, average="micro"))
    assert got["recall"] == pytest.approx(sk.recall_score(truth, answers, average="micro"))
    used = (truth | answers).any(axis=0)
    want = sk.f1_score(truth[:, used], answers[:, used], average="macro", zero_division=0)
    assert got["f1_macro"] == pytest.approx(want)
    assert got["f1_weighted"] == pytest.approx(sk.f1_score(truth, answers, average="weighted", zero_division=0))
    assert got["multi_label"]
    assert got["confusion"] is None


def test_ece_by_hand():
    """Two bins: (0.6, 0.6667] holds three answers at 0.65, one right; (0.9333, 1] one at 1.0, right."""
    got = expected_calibration_error(np.array([0.65, 0.65, 0.65, 1.0]), np.array([True, False, False, True]))
    assert got == pytest.approx(0.75 * abs(1 / 3 - 0.65))


def test_bins_close_on_the_right():
    _, _, count = calibration_bins(np.array([0.0, 0.1, 0.100001, 0.2, 1.0]), np.ones(5, dtype=bool), bins=10)
    assert count.tolist() == [2, 2, 0, 0, 0, 0, 0, 0, 0, 1]


def test_interval_as_drawing_rows_again(rng):
    logits, targets = _case(rng, 120, 3)
    got = metrics(logits, targets, ["a", "b", "c"], resamples=4000)["interval"]
    answers = logits.argmax(axis=1)
    accuracy, f1 = [], []
    for _ in range(1500):
        rows = rng.integers(len(targets), size=len(targets))
        accuracy.append((answers[rows] == targets[rows]).mean())
        f1.append(sk.f1_score(targets[rows], answers[rows], average="macro", zero_division=0))
    # The ends are quantiles of 1500 draws of spread s: about s / 10 of noise. A wrong statistic is s or more away.
    for name, draws in (("accuracy", accuracy), ("f1", f1)):
        spread = np.std(draws)
        assert got[name] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.35 * spread)


def test_interval_of_two_labels_is_of_the_positive(rng):
    logits, targets = _case(rng, 400, 2)
    got = metrics(logits, targets, ["a", "b"], settings=Settings(positive=0), resamples=1000)
    low, high = got["interval"]["f1"]
    assert low < got["f1"] < high < got["per_class"]["b"]["f1"]


def test_interval_multi_label(rng):
    truth = rng.random((200, 4)) < 0.3
    logits = rng.normal(size=truth.shape) + 1.5 * truth
    got = metrics(logits, truth.astype(float), list("abcd"), resamples=2000)
    answers, draws = logits >= 0, []
    for _ in range(1000):
        rows = rng.integers(len(truth), size=len(truth))
        draws.append(sk.f1_score(truth[rows], answers[rows], average="micro"))
    assert got["interval"]["f1"] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.35 * np.std(draws))
    assert got["interval"]["accuracy"][0] < got["accuracy"] < got["interval"]["accuracy"][1]


def test_interval_is_seeded_and_does_not_depend_on_pieces(rng):
    logits, targets = _case(rng, 3000, 60, skill=0.2)
    names = [str(index) for index in range(60)]
    first = metrics(logits, targets, names, resamples=700, seed=3)["interval"]
    assert first == metrics(logits, targets, names, resamples=700, seed=3)["interval"]
    assert first != metrics(logits, targets, names, resamples=700, seed=4)["interval"]


def test_empty_texts_count_with_the_prior():
    settings = Settings(prior=(0.2, 0.8), thresholds=(0.9, 0.1), positive=1)
    logits = np.array([[5.0, -5.0], [5.0, -5.0]])
    got = metrics(logits, np.array([0, 1]), ["a", "b"], settings=settings, empty_N=np.array([False, True]))
    assert got["confusion"] == [[1, 0], [0, 1]]
    assert got["nll"] == pytest.approx((math.log1p(math.exp(-10)) - math.log(0.8)) / 2)


def test_no_examples_is_an_error():
    with pytest.raises(DataError, match="no examples"):
        metrics(np.zeros((0, 2)), np.zeros(0, dtype=int), ["a", "b"])


def test_many_labels_leave_the_matrix_out(rng):
    logits, targets = _case(rng, 300, 101)
    assert metrics(logits, targets, [str(index) for index in range(101)])["confusion"] is None
