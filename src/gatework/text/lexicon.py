"""Words of a lexicon over a sentence (soft-lexicon): which words cover each token, and where in the word it stands.

Every word of the lexicon that stands anywhere in a sentence enters at all of its tokens: at its first into set 0 (B),
its last into set 2 (E), between into set 1 (M), and a word of one token into set 3 (S). Its weight at token t is

    4 z(w) / Z_t,   Z_t = sum of z over the words of all four sets of t

with z how often training holds the word, plus one. Words need not be segments: they overlap freely.

A word is known by a 64-bit key, mixed from the 32-bit keys of its tokens as in `ngrams`; the words themselves are not
kept. Rows are numbered from 1 in the order of keys. All places and lengths of a sentence are looked up together: the
sum of n tokens from t on is a difference of running sums, in 64-bit integers that wrap, where P has an inverse:

    s_n[t] = sum_j key[t+j] P^(n-1-j) = P^(t+n-1) (C[t+n] - C[t]),   C[i] = sum_{k<i} key[k] P^-k

Bundle entries: `tokenizer/lexicon.u64`, the keys, rising, little-endian; `tokenizer/lexicon.f32`, z of each; the
lengths there are stand in `tokenizer/codec.json`.

Source: Ma, Peng, Zhang, Wei and Huang, "Simplify the usage of lexicon in Chinese NER", ACL 2020, arXiv:1908.05969.

T tokens, R words of the lexicon, L words over a sentence, counted at each of their tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
LONGEST = 16
"""Tokens of a word; longer ones are left out."""

_P = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_Q = np.uint64(0xD6E8FEB86659FD93)
_29 = np.uint64(29)


class LexiconHits(NamedTuple):
    """The words of a lexicon that cover tokens of one text, L of them in all."""

    slots: npt.NDArray[np.int32]
    """4 * token + set, rising; set 0: the word begins here, 1: it lies across, 2: it ends here, 3: the token is it."""
    rows: npt.NDArray[np.int32]
    """Rows of the lexicon's table, from 1."""
    weights: npt.NDArray[np.float32]
    """4 z(w) / Z of the token."""


class Found(NamedTuple):
    """Words of a lexicon in a sentence."""

    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    """Place among the keys, from 0."""


class Lexicon:
    """The words of a model's lexicon."""

    def __init__(self, keys_R: Keys, z_R: npt.NDArray[np.float32], lengths: Sequence[int]) -> None:
        self.keys_R = keys_R
        """Sorted, distinct."""
        self.z_R = z_R
        self.lengths = tuple(sorted(lengths))
        """Lengths that words have, in tokens."""

    def __len__(self) -> int:
        return len(self.keys_R)

    def words(self, keys_T: npt.NDArray[np.unsignedinteger]) -> Found:
        """The words in a sentence, from the keys of its tokens (T,); shorter ones first."""
        length_L1 = np.array([one for one in self.lengths if one <= len(keys_T)], dtype=np.int64)[:, None]
        if not len(length_L1) or not len(self.keys_R):
            nothing = np.empty(0, dtype=np.int64)
            return Found(nothing, nothing, nothing)
        keys_LT = _mixed(_sums(keys_T, length_L1))
        rows_LT = np.minimum(self.keys_R.searchsorted(keys_LT), len(self.keys_R) - 1)
        known_LT = (self.keys_R[rows_LT] == keys_LT) & (np.arange(len(keys_T)) + length_L1 <= len(keys_T))
        place_W, start_W = known_LT.nonzero()
        return Found(start_W, length_L1[place_W, 0], rows_LT[known_LT])

    def find(self, keys_T: npt.NDArray[np.unsignedinteger]) -> LexiconHits:
        """The words over each token of a sentence, from the keys of its tokens (T,)."""
        start, length, row = self.words(keys_T)
        total = int(length.sum())
        within_L = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
        length_L = np.repeat(length, length)
        token_L = np.repeat(start, length) + within_L
        set_L = np.where(within_L == 0, 0, np.where(within_L == length_L - 1, 2, 1))
        set_L[length_L == 1] = 3
        slot_L = 4 * token_L + set_L
        order = np.argsort(slot_L, kind="stable")
        row_L = np.repeat(row, length)[order]
        z_L = self.z_R[row_L].astype(np.float64)
        token_L = token_L[order]
        Z_T = np.bincount(token_L, weights=z_L, minlength=len(keys_T))
        return LexiconHits(
            slot_L[order].astype(np.int32),
            (row_L + 1).astype(np.int32),
            (4 * z_L / Z_T[token_L]).astype(np.float32),
        )


def word_key(keys_T: npt.NDArray[np.unsignedinteger]) -> int:
    """The key of a word, from the keys of its tokens (T,), at most LONGEST of them."""
    return int(_mixed(_sums(keys_T, np.array([[len(keys_T)]])))[0, 0])


def _sums(keys_T: npt.NDArray[np.unsignedinteger], length_L1: npt.NDArray[np.int64]) -> Keys:
    """For each length a number of the tokens from every place on, (L, T); past the sentence's end it means nothing."""
    time = len(keys_T)
    first_T = keys_T.astype(np.uint64) + np.uint64(1)  # so that a token of key 0 counts
    powers_T, inverses_T = (np.cumprod(np.full(time, base, dtype=np.uint64)) for base in (_P, _INVERSE))
    running = np.zeros(time + 1, dtype=np.uint64)
    np.cumsum(first_T * inverses_T, out=running[1:])  # of P^-(k+1), and so the powers begin with P^1
    end_LT = np.minimum(np.arange(time) + length_L1, time)
    sums: Keys = (running[end_LT] - running[:-1]) * powers_T[end_LT - 1]
    return sums


def _mixed(sums: Keys) -> Keys:
    return (sums ^ (sums >> _29)) * _Q
