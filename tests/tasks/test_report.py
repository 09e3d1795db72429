"""The text a person reads."""

import numpy as np
import pytest

from gatework.core.plain import display_width
from gatework.tasks.classify import metrics, report


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_rows_figures_and_matrix(rng):
    targets = np.array([0, 0, 0, 1, 1])
    logits = np.eye(2)[[0, 0, 1, 1, 1]]
    text = report(metrics(logits, targets, ["ham", "spam"], resamples=200))
    lines = text.splitlines()
    assert lines[0].split() == ["precision", "recall", "f1", "support"]
    assert lines[1].split() == ["ham", "1.0000", "0.6667", "0.8000", "3"]
    assert lines[2].split() == ["spam", "*", "0.6667", "1.0000", "0.8000", "2"]
    assert "0.8000  accuracy, 95 % interval" in text
    assert "0.8000  F1 of spam (* the positive class), 95 % interval" in text
    assert lines[-2].split() == ["ham", "2", "1"]
    assert lines[-1].split() == ["spam", "0", "2"]


def test_columns_line_up_with_chinese_labels(rng):
    names = ["体育", "财经新闻", "a", "房产"]
    text = report(metrics(rng.normal(size=(40, 4)), rng.integers(4, size=40), names))
    assert len({display_width(line) for line in text.splitlines()[:5]}) == 1
    matrix = text.splitlines()[-5:]
    assert len({display_width(line) for line in matrix}) == 1


def test_long_and_odd_labels_stay_on_their_line(rng):
    names = ["x" * 100, "two\nlines", ""]
    text = report(metrics(rng.normal(size=(9, 3)), np.arange(9) % 3, names))
    assert "x" * 23 + "…" in text
    assert "two lines" in text
    assert all(len(line) < 120 for line in text.splitlines())


def test_many_labels_show_the_worst(rng):
    names = [f"label {index:02}" for index in range(60)]
    targets = np.arange(600) % 60
    logits = np.eye(60)[targets] * np.where(targets < 50, 5, -5)[:, None]
    text = report(metrics(logits, targets, names))
    assert "40 of 60 labels" in text
    assert "label 55" in text
    assert "confusion" not in text


def test_multi_label_names_its_figures(rng):
    truth = rng.random((30, 3)) < 0.4
    text = report(metrics(rng.normal(size=(30, 3)) + truth, truth.astype(float), list("abc")))
    assert "accuracy (all labels of a text right)" in text
    assert "F1, over all decisions" in text
