"""n-grams of tokens as side features: which are kept, and which of them a text has.

An n-gram is a 32-bit key. A single token's key is the CRC-32 of its UTF-8 bytes, so tokens outside the vocabulary have
one too; a longer n-gram's key is mixed from those of its tokens, for all positions of a text at once:

    s_1[t] = key[t];   s_n[t] = s_{n-1}[t] * P + key[t+n-1];   key_n[t] = high 32 bits of (s_n ^ s_n >> 29) * Q

in 64-bit integers that wrap. Kept keys are a sorted array and an n-gram's row is its place there, found by bisection:
four bytes an n-gram, mapped straight from the bundle. Two n-grams that share a key share a row; among 200,000 kept
keys an unseen n-gram hits one by chance once in 20,000 times.

T tokens, N distinct n-grams of a text, R kept keys, M lengths from two up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

KeyArray = npt.NDArray[np.uint32]
CountArray = npt.NDArray[np.int64]

_P = np.uint64(0x9E3779B97F4A7C15)
_Q = np.uint64(0xD6E8FEB86659FD93)
_29, _32 = np.uint64(29), np.uint64(32)
_FEW = 128
"""Keys up to which plain bisection is faster than building buckets for them."""
_CROWD = 64
"""Keys in one bucket that only a table made by hand could have; then bisection it is."""


def all_keys(keys_T: npt.NDArray[np.unsignedinteger], n: int) -> KeyArray:
    """Keys of a text's single tokens in order, then of its bigrams, and so on to its n-grams."""
    first_T = keys_T.astype(np.uint64)
    sums = first_T
    parts: list[npt.NDArray[np.uint64]] = [first_T]
    for length in range(2, min(n, len(keys_T)) + 1):
        sums = sums[:-1] * _P + first_T[length - 1 :]
        parts.append(((sums ^ (sums >> _29)) * _Q) >> _32)
    return np.concatenate(parts).astype(np.uint32)


def ngram_keys(keys_T: npt.NDArray[np.unsignedinteger], n: int, *, shortest: Literal[1, 2] = 1) -> KeyArray:
    """Distinct keys of a text's n-grams from `shortest` to n tokens long, sorted, (N,)."""
    if len(keys_T) < shortest:
        return np.empty(0, dtype=np.uint32)
    keys = all_keys(keys_T, n)
    keys = keys[len(keys_T) :] if shortest == 2 else keys
    keys.sort()
    fresh = np.empty(len(keys), dtype=bool)
    fresh[0] = True
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    return keys[fresh]


class NgramTable:
    """The kept n-grams."""

    def __init__(self, keys_R: KeyArray, n: int) -> None:
        self.keys_R = keys_R
        """Sorted, distinct."""
        self.n = n
        self.search: Callable[..., int] | None = None
        """A faster search with the same result, which whoever answers may put here; see `find`."""
        self._buckets: tuple[KeyArray, npt.NDArray[np.int32], np.uint32] | None = None
        self._even = True

    def __len__(self) -> int:
        return len(self.keys_R)

    def find(self, keys_T: npt.NDArray[np.unsignedinteger]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The kept n-grams of a text, from the keys of its tokens (T,).

        Returns: rows_N: each row once, rising, int32.
            local_TM: for every token, the rows plus one of the bigram, trigram, ... that end with it, 0 where that
            n-gram is not kept; int32, M = n - 1.
        """
        count = len(keys_T)
        if self.search is not None:
            rows_N, local_TM = np.empty(count * self.n, dtype=np.int32), np.empty((count, self.n - 1), dtype=np.int32)
            return rows_N[: self.search(keys_T, self.keys_R, self.n, rows_N, local_TM)], local_TM
        local_TM = np.zeros((count, self.n - 1), dtype=np.int32)
        if not len(self.keys_R) or not count:
            return np.empty(0, dtype=np.int32), local_TM
        keys = all_keys(keys_T, self.n)
        rows = self.keys_R.searchsorted(keys) if len(keys) < _FEW else self._bucket_rows(keys)
        rows[rows == len(self.keys_R)] = 0
        known = self.keys_R[rows] == keys
        places = np.where(known, rows + 1, 0)
        start = count
        for length in range(2, min(self.n, count) + 1):
            stop = start + count - length + 1
            local_TM[length - 1 :, length - 2] = places[start:stop]
            start = stop
        found = rows[known]
        found.sort()
        fresh = np.empty(len(found), dtype=bool)
        fresh[:1] = True
        np.not_equal(found[1:], found[:-1], out=fresh[1:])
        return found[fresh].astype(np.int32), local_TM

    def _bucket_rows(self, keys: KeyArray) -> npt.NDArray[np.int32]:
        """`keys_R.searchsorted(keys)`, several times as fast for many keys in no order.

        Keys are spread evenly, so the high bits of a key lead to a place a step or two before its own.
        """
        if self._buckets is None:
            bits = min(22, max(8, len(self.keys_R).bit_length() + 2))
            shift = np.uint32(32 - bits)
            starts = np.zeros((1 << bits) + 1, dtype=np.int32)
            np.cumsum(np.bincount(self.keys_R >> shift, minlength=1 << bits), out=starts[1:])
            # One key beyond all others, so that a step may look past the end.
            self._even = int(np.diff(starts).max()) <= _CROWD
            self._buckets = np.append(self.keys_R, np.uint32(0xFFFFFFFF)), starts, shift
        fenced, starts, shift = self._buckets
        if not self._even:
            return self.keys_R.searchsorted(keys).astype(np.int32)
        rows: npt.NDArray[np.int32] = starts.take(keys >> shift)
        short = np.flatnonzero(fenced.take(rows) < keys)
        while len(short):
            rows[short] += 1
            short = short[fenced[rows[short]] < keys[short]]
        return rows


class NgramCounter:
    """Counts the texts each n-gram occurs in, in bounded memory.

    Keys gather in a buffer that is merged into a sorted table when full. Should the table outgrow `most`, the n-grams
    seen least are forgotten (those seen once, then twice, ...), as lossy counting does (Manku and Motwani, VLDB 2002).
    """

    def __init__(self, n: int, *, shortest: Literal[1, 2] = 1, buffer: int = 4_000_000, most: int = 30_000_000) -> None:
        self.n = n
        self._shortest = shortest
        self._buffer, self._most = buffer, most
        self._waiting: list[KeyArray] = []
        self._size = 0
        self._keys: KeyArray = np.empty(0, dtype=np.uint32)
        self._counts: CountArray = np.empty(0, dtype=np.int64)

    def add(self, keys_T: npt.NDArray[np.unsignedinteger]) -> None:
        """Count one text, given the keys of its tokens."""
        keys_N = ngram_keys(keys_T, self.n, shortest=self._shortest)
        self._waiting.append(keys_N)
        self._size += len(keys_N)
        if self._size >= self._buffer:
            self._merge()

    def table(
        self,
        *,
        min_count: int,
        rows: int,
        score: Callable[[KeyArray, CountArray], npt.NDArray[np.floating]] | None = None,
    ) -> NgramTable:
        """The `rows` best of the n-grams in at least `min_count` texts.

        Args:
            min_count: texts.
            rows: most n-grams kept.
            score: of keys and counts, more is better; None is the count. Ties go by the key.
        """
        self._merge()
        kept = self._counts >= min_count
        keys, counts = self._keys[kept], self._counts[kept]
        if len(keys) > rows:
            worth = counts if score is None else score(keys, counts)
            best = np.lexsort((keys, -worth))[:rows]
            keys = np.sort(keys[best])
        return NgramTable(keys, self.n)

    def _merge(self) -> None:
        if not self._size:
            return
        fresh, times = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._size = [], 0
        keys = np.concatenate([self._keys, fresh])
        counts = np.concatenate([self._counts, times.astype(np.int64)])
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        self._keys, self._counts = keys[starts], np.add.reduceat(counts, starts)
        floor = 1
        while len(self._keys) > self._most:
            kept = self._counts > floor
            self._keys, self._counts = self._keys[kept], self._counts[kept]
            floor += 1
