"""Holding back dev examples."""

import numpy as np
import pytest

from gatework.tasks.classify.split import hold_back


def _draw(rows, texts, labels, fraction=0.2, seed=1):
    return hold_back(rows, np.array(texts), labels=labels, fraction=fraction, rng=np.random.default_rng(seed))


def test_every_label_keeps_its_share():
    rng = np.random.default_rng(2)
    targets = rng.choice(4, 2000, p=[0.7, 0.2, 0.09, 0.01])
    held = _draw([(label,) for label in targets.tolist()], np.arange(2000), 4, fraction=0.1)
    for label in range(4):
        count = (targets == label).sum()
        assert (held & (targets == label)).sum() == max(1, round(0.1 * count))


def test_identical_texts_stay_on_one_side():
    rng = np.random.default_rng(3)
    texts = rng.integers(120, size=600)
    held = _draw([(int(text) % 3,) for text in texts], texts, 3, fraction=0.3)
    for text in np.unique(texts):
        assert len(set(held[texts == text].tolist())) == 1
    assert 0.25 < held.mean() < 0.35


def test_the_seed_decides():
    rows = [(index % 2,) for index in range(100)]
    assert (_draw(rows, range(100), 2) == _draw(rows, range(100), 2)).all()
    assert (_draw(rows, range(100), 2) != _draw(rows, range(100), 2, seed=2)).any()


def test_two_texts_of_a_label_give_one_to_each_side():
    rows = [(0,)] * 50 + [(1,)] * 2
    held = _draw(rows, range(52), 2, fraction=0.1)
    assert held[50:].sum() == 1
    assert held[:50].sum() == 5


def test_a_single_text_stays_in_training():
    held = _draw([(0,)] * 20 + [(1,)] * 5, [*range(20), *[99] * 5], 2, fraction=0.5)
    assert not held[20:].any()


def test_conflicting_copies_stay_together():
    """The same text under two labels: both labels still have both sides."""
    texts = [0, 0, 1, 2, 3, 4, 5, 6]
    held = _draw([(0,), (1,), (0,), (0,), (0,), (1,), (1,), (1,)], texts, 2, fraction=0.25)
    assert held[0] == held[1]
    for label in ([0, 2, 3, 4], [1, 5, 6, 7]):
        assert 0 < held[label].sum() < 4


@pytest.mark.parametrize("seed", range(5))
def test_several_labels_an_example(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((800, 6)) < [0.5, 0.4, 0.2, 0.1, 0.05, 0.02]
    rows = [tuple(np.flatnonzero(row).tolist()) for row in truth]
    held = _draw(rows, np.arange(800), 6, fraction=0.2, seed=seed)
    shares = truth[held].sum(axis=0) / truth.sum(axis=0)
    assert (np.abs(shares - 0.2) < 0.12).all()
    none = ~truth.any(axis=1)
    assert 0.1 < held[none].mean() < 0.25, "examples without a label are held back too"
