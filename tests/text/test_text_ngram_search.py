"""The compiled search for n-grams finds what the NumPy one finds."""

import numpy as np
import pytest

from gatework import kernels
from gatework.text.ngrams import NgramTable, all_keys

pytestmark = pytest.mark.skipif(kernels.ngram_search() is None, reason="built without the extension")


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("tokens", [0, 1, 2, 7, 60, 400])
@pytest.mark.parametrize("kept", [0, 1, 3, 50, 5000])
def test_same_as_numpy(n, tokens, kept):
    rng = np.random.default_rng(n * 1000 + tokens)
    words = rng.integers(1 << 32, size=30, dtype=np.uint64)
    words[:2] = 0, (1 << 32) - 1
    keys_T = words[rng.integers(30, size=tokens)]
    own = all_keys(keys_T, n) if tokens else np.empty(0, np.uint32)
    mixed = np.concatenate([rng.permutation(own)[: kept // 2], rng.integers(1 << 32, size=kept, dtype=np.uint32)])
    table = NgramTable(np.unique(mixed)[:kept], n)
    rows, local = table.find(keys_T)
    table.search = kernels.ngram_search()
    found, places = table.find(keys_T)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(places, local)
    assert found.dtype == rows.dtype
    assert places.dtype == local.dtype


def test_crowded_keys():
    """Keys that only a table made by hand has: all in one place."""
    kept = np.arange(70_000, dtype=np.uint32) * 2 + 5
    table = NgramTable(kept, 2)
    keys_T = np.array([5, 6, 7, 140_003, 140_005, 0, 69_999], dtype=np.uint64)
    rows, local = table.find(keys_T)
    table.search = kernels.ngram_search()
    np.testing.assert_array_equal(table.find(keys_T)[0], rows)
    np.testing.assert_array_equal(table.find(keys_T)[1], local)
