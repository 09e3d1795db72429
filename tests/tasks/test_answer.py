"""Logits to answers."""

import numpy as np
import pytest

from gatework.core.errors import BundleError, ConfigError
from gatework.tasks.classify import Settings, decode, probabilities

LABELS = ("ham", "spam", "other")


def test_single_label_best_first():
    [got] = decode(np.log([[0.2, 0.5, 0.3]]), [False], Settings(), LABELS)
    assert (got.label, got.labels, got.empty, got.uncertain) == ("spam", None, False, None)
    assert list(got.scores) == ["spam", "other", "ham"]
    assert got.score == got.scores["spam"] == pytest.approx(0.5)
    assert sum(got.scores.values()) == pytest.approx(1.0)


def test_temperature_softens():
    logits = np.array([[0.0, 2.0, 4.0]])
    [got] = decode(logits, [False], Settings(temperature=2.0), LABELS)
    assert got.score == pytest.approx(np.exp(2) / np.exp([0, 1, 2]).sum())


def test_top_k():
    [got] = decode(np.log([[0.2, 0.5, 0.3]]), [False], Settings(), LABELS, top_k=2)
    assert list(got.scores) == ["spam", "other"]


def test_threshold_of_the_caller_marks():
    answers = decode(np.log([[0.2, 0.5, 0.3], [0.05, 0.9, 0.05]]), [False] * 2, Settings(), LABELS, threshold=0.6)
    assert [(one.label, one.uncertain) for one in answers] == [("spam", True), ("spam", False)]


def test_tuned_threshold_of_two_labels_moves_the_decision():
    settings = Settings(thresholds=(0.7, 0.3), positive=1)
    answers = decode(np.log([[0.65, 0.35], [0.75, 0.25]]), [False] * 2, settings, ("ham", "spam"), top_k=1)
    assert [one.label for one in answers] == ["spam", "ham"]
    assert answers[0].score == pytest.approx(0.35)
    assert answers[0].scores["spam"] == pytest.approx(0.35), "the label given is never left out of the scores"


def test_empty_text_gets_the_prior_whatever_the_network_says():
    settings = Settings(prior=(0.6, 0.4), thresholds=(0.7, 0.3), positive=1, temperature=3.0)
    answers = decode(np.array([[-9.0, 9.0], [-9.0, 9.0]]), [True, False], settings, ("ham", "spam"))
    assert answers[0].to_dict() == {"label": "ham", "score": 0.6, "scores": {"ham": 0.6, "spam": 0.4}, "empty": True}
    assert answers[1].label == "spam"


def test_multi_label():
    settings = Settings(multi_label=True, thresholds=(0.5, 0.9, 0.1), prior=(0.1, 0.2, 0.3))
    logits = np.log([[0.4 / 0.6, 0.8 / 0.2, 0.2 / 0.8]])
    [got] = decode(logits, [False], settings, LABELS)
    assert (got.label, got.labels) == ("spam", ("other",))
    assert got.score == pytest.approx(0.8)
    [lower] = decode(logits, [False], settings, LABELS, threshold=0.3)
    assert lower.labels == ("spam", "ham")
    [none] = decode(logits, [False], settings, LABELS, threshold=0.95)
    assert none.labels == ()
    assert none.to_dict()["labels"] == []


def test_multi_label_top_k_keeps_every_label_given():
    settings = Settings(multi_label=True, thresholds=(0.5, 0.5, 0.5))
    [got] = decode(np.array([[3.0, 2.0, 1.0]]), [False], settings, LABELS, top_k=1)
    assert list(got.scores) == ["ham", "spam", "other"]


def test_huge_logits_stay_finite():
    logits = np.array([[1e4, -1e4, 0.0]], dtype=np.float32)
    for multi_label in (False, True):
        p = probabilities(logits, Settings(multi_label=multi_label))
        assert np.isfinite(p).all()
        assert p[0, 0] == 1.0
        assert p[0, 1] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        decode(np.zeros((1, 3)), [False], Settings(), LABELS, **options)


def test_settings_there_and_back():
    settings = Settings(temperature=1.25, thresholds=(0.1, 0.2, 0.3), prior=(0.5, 0.3, 0.2), positive=2)
    assert Settings.from_dict(settings.to_dict(LABELS), LABELS, source="m.gw") == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"prior": [0.5]}, "prior must be a list of 3"),
        ({"prior": [0.5, 0.5, -0.1]}, "prior has -0.1"),
        ({"thresholds": {"a": 1}}, "thresholds must be a list of 3"),
        ({"thresholds": [True, 0.5, 0.5]}, "thresholds has True"),
        ({"positive": "spamm"}, "'spamm' is not one of the labels"),
        ({"positive": ["spam"]}, "is not one of the labels"),
        ({"multi_label": 1}, "multi_label must be true or false"),
    ],
)
def test_hostile_settings(change, message):
    values = Settings(thresholds=(0.1, 0.2, 0.3), prior=(0.5, 0.3, 0.2)).to_dict(LABELS) | change
    with pytest.raises(BundleError, match=rf"^m\.gw: .*{message}"):
        Settings.from_dict(values, LABELS, source="m.gw")


def test_settings_that_are_no_object():
    with pytest.raises(BundleError, match="must be an object, got list"):
        Settings.from_dict([], LABELS, source="m.gw")
