"""n-gram keys, counting in bounded memory, and looking rows up."""

from __future__ import annotations

import zlib
from collections import Counter

import numpy as np
import pytest

from gatework.text.ngrams import NgramCounter, NgramTable, all_keys, ngram_keys

MASK = (1 << 64) - 1


def plain_keys(keys, n):
    """The definition, in Python integers."""
    found = []
    for length in range(1, n + 1):
        for start in range(len(keys) - length + 1):
            total = keys[start]
            for key in keys[start + 1 : start + length]:
                total = (total * 0x9E3779B97F4A7C15 + key) & MASK
            mixed = ((total ^ (total >> 29)) * 0xD6E8FEB86659FD93 & MASK) >> 32
            found.append(total if length == 1 else mixed)
    return found


def keys_of(text):
    return np.array([zlib.crc32(word.encode()) for word in text.split()], dtype=np.uint64)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("text", ["", "one", "one two", "a b c a b c d", "x x x x x x"])
def test_keys_are_as_defined(text, n):
    keys_T = keys_of(text)
    want = plain_keys(keys_T.tolist(), n)
    assert all_keys(keys_T, n).tolist() == want
    assert ngram_keys(keys_T, n).tolist() == sorted(set(want))


def test_order_and_length_tell_ngrams_apart():
    keys = {
        tuple(all_keys(keys_of(text), 3)[-1:].tolist()) for text in ("a b c", "c b a", "b a c", "a c b", "a b", "b c")
    }
    assert len(keys) == 6


def test_counting_in_small_buffers_is_counting():
    rng = np.random.default_rng(3)
    texts = [rng.integers(0, 40, size=rng.integers(0, 12)).astype(np.uint64) for _ in range(300)]
    counter = NgramCounter(2, buffer=50)
    for keys_T in texts:
        counter.add(keys_T)
    table = counter.table(min_count=3, rows=10_000)
    want = Counter(key for keys_T in texts for key in set(plain_keys(keys_T.tolist(), 2)))
    assert table.keys_R.tolist() == sorted(key for key, count in want.items() if count >= 3)
    few = counter.table(min_count=3, rows=25)
    best = sorted((-count, key) for key, count in want.items())[:25]
    assert few.keys_R.tolist() == sorted(key for _, key in best)
    rare = counter.table(min_count=3, rows=25, score=lambda keys, counts: -counts)
    assert not set(rare.keys_R.tolist()) & set(few.keys_R[:5].tolist()) or rare.keys_R.tolist() != few.keys_R.tolist()
    assert len(rare) == 25


def test_memory_is_bounded_and_the_frequent_survive():
    rng = np.random.default_rng(4)
    counter = NgramCounter(1, buffer=1000, most=2000)
    for _ in range(300):
        noise = rng.integers(1 << 20, 1 << 31, size=50)
        counter.add(np.r_[np.arange(10), noise].astype(np.uint64))
        assert len(counter._keys) <= 2000
    table = counter.table(min_count=100, rows=100)
    assert table.keys_R.tolist() == list(range(10))


def test_no_text_no_rows():
    counter = NgramCounter(3)
    counter.add(np.empty(0, dtype=np.uint64))
    table = counter.table(min_count=1, rows=10)
    rows_N, local_TM = table.find(keys_of("a b"))
    assert len(table) == len(rows_N) == 0
    assert local_TM.shape == (2, 2)


@pytest.mark.parametrize("length", [1, 2, 3, 30, 400])
@pytest.mark.parametrize("spread", ["even", "crowded"])
def test_rows_are_places_of_the_keys(length, spread):
    """Short texts bisect, long ones go through buckets, tables made by hand bisect again."""
    rng = np.random.default_rng(5)
    keys_T = rng.integers(0, 1 << 32, size=length, dtype=np.uint64)
    own = ngram_keys(keys_T, 3)
    others = rng.integers(0, 1 << (32 if spread == "even" else 12), size=3000, dtype=np.uint64)
    edges = np.array([0, 2**32 - 1], dtype=np.uint64)
    table = NgramTable(np.unique(np.r_[own[::2], others, edges].astype(np.uint32)), 3)
    assert spread == "even" or length < 400 or (table.find(keys_T) and not table._even)
    rows_N, local_TM = table.find(keys_T)
    place = {key: row for row, key in enumerate(table.keys_R.tolist())}
    every = plain_keys(keys_T.tolist(), 3)
    assert rows_N.tolist() == sorted({place[key] for key in every if key in place})
    for token in range(length):
        for extra in (1, 2):
            gram = keys_T[token - extra : token + 1].tolist() if token >= extra else []
            key = plain_keys(gram, extra + 1)[-1] if gram else None
            assert local_TM[token, extra - 1] == (place[key] + 1 if key in place else 0)
