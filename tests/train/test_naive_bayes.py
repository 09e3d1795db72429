"""The start of n-gram logits against counts written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gatework.text.encoded import Encoded
from gatework.text.store import ExampleStore
from gatework.train.naive_bayes import ngram_logits

ROWS = [[0, 1], [0, 2], [2], []]


def _store(folder, targets):
    def encoded(rows):
        return Encoded(np.array([3], np.int32), np.array(rows, np.int32), np.zeros((1, 2), np.int32), None, False)

    return ExampleStore.write(
        folder, "train", ((encoded(rows), target) for rows, target in zip(ROWS, targets, strict=True))
    )


def test_single_label_by_hand(tmp_path):
    got = ngram_logits(_store(tmp_path, [0, 0, 1, 1]), rows=3, outputs=2)
    counts = np.array([[3.0, 1.0], [2.0, 1.0], [2.0, 2.0]])  # one more than n[r, c]
    want = np.log(counts / counts.sum(0))
    want -= want.mean(1, keepdims=True)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_several_labels_compare_with_and_without(tmp_path):
    targets = [
        np.array([1, 0], np.float32),
        np.array([1, 1], np.float32),
        np.array([0, 1], np.float32),
        np.zeros(2, np.float32),
    ]
    got = ngram_logits(_store(tmp_path, targets), rows=3, outputs=2)
    with_label = np.array([[3.0, 2.0], [2.0, 1.0], [2.0, 3.0]])
    without = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    want = np.log(with_label / with_label.sum(0)) - np.log(without / without.sum(0))
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("outputs", [2, 5])
def test_a_class_without_examples_is_finite(tmp_path, outputs):
    assert np.isfinite(ngram_logits(_store(tmp_path, [0, 0, 0, 1]), rows=3, outputs=outputs)).all()
