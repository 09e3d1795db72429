"""What goes through a network at once, and how examples are grouped for it.

B sequences, T tokens of the longest (padding is id 0), W windows, K characters of the longest word, N n-grams in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]


class LexiconBatch(NamedTuple):
    """Words of a lexicon over the tokens of a batch, L of them in all. A token's vector of each set is the weighted
    sum of its words' vectors."""

    slots_L: IntArray
    """(w * T + t) * 4 + set, int64, rising: window, token, and 0 begins it, 1 in its middle, 2 ends it, 3 is it."""
    rows_L: IntArray
    """Rows of the lexicon table, int64, from 1."""
    weights_L: npt.NDArray[np.float32]


class PieceBatch(NamedTuple):
    """What a BERT, or a language model of characters, reads of a batch: rows of pieces, and where each of the batch's N
    tokens stands in them.

    The tokens are those of the sequences, one sequence after the other. A sequence too long for the model's positions
    takes several rows, which overlap.
    """

    ids_RP: IntArray
    """Piece ids of R rows, int64; past each length they mean nothing."""
    lengths_R: IntArray
    """Pieces of each row, first and last special piece counted, int64."""
    row_N: IntArray
    """The row of each token, int64, rising."""
    begin_N: IntArray
    """Where the token's pieces begin in its row, int64."""
    end_N: IntArray
    """Where they end, int64; at least one after `begin_N`."""

    def part(self, start: int, stop: int) -> PieceBatch:
        """Tokens `start` to `stop`, at least one, with the rows they stand in."""
        if start == 0 and stop == len(self.row_N):
            return self
        first, last = int(self.row_N[start]), int(self.row_N[stop - 1]) + 1
        rows, own = slice(first, last), slice(start, stop)
        return PieceBatch(
            self.ids_RP[rows], self.lengths_R[rows], self.row_N[own] - first, self.begin_N[own], self.end_N[own]
        )


class TextBatch(NamedTuple):
    """Token sequences of unequal length, as NumPy arrays; `nn` turns them into tensors, `runtime` uses them as is.

    A sequence longer than the architecture's window is cut into windows by the collator, so each row here is one
    window, and `sequence_W` says whose. The encoder runs over windows, pooling gathers a sequence's windows again.
    """

    tokens_WT: IntArray
    """Token ids, int64, 0 past each length."""
    lengths_W: IntArray
    """Tokens of each window, int64, at least 1."""
    sequence_W: IntArray
    """Which of the B sequences a window belongs to, int64, rising; windows of a sequence follow one another."""
    sequences: int
    """B."""
    ngram_rows_N: IntArray
    """Rows of the n-gram table of all sequences, one after the other, int64; empty when the side features are off."""
    ngram_starts_B: IntArray
    """Where each sequence's rows begin in `ngram_rows_N`, int64, B + 1 entries with the end."""
    local_WTM: IntArray
    """Rows plus one of the bigram, trigram, ... ending at each token, int64, 0 where it is not kept or padding; M is 0
    when the side features are off. A window's first tokens see the n-grams that reach back over its edge."""
    characters_WTK: IntArray | None = None
    """Character ids of each word, int64, 0 past its end; None without character composition."""
    lexicon: LexiconBatch | None = None
    """None without a lexicon."""
    pieces: PieceBatch | None = None
    """None without a BERT or a language model, and where its hidden layers are known already."""
    hidden_NLH: npt.NDArray[np.float16] | None = None
    """Chosen hidden layers of a frozen BERT or language model for the N tokens of all windows, one after the other; in
    training alone."""


def token_budget_batches(
    lengths_N: IntArray, *, budget: int, max_batch: int, rng: np.random.Generator | None = None
) -> Iterator[IntArray]:
    """Group examples of similar length so that padded batches hold at most `budget` tokens.

    Args:
        lengths_N: tokens of each example, (N,).
        budget: most tokens in a batch, padding counted; an example longer than this is a batch of its own.
        max_batch: most examples in a batch.
        rng: shuffles examples of near length and the order of the batches; None keeps ascending length.
    Yields: arrays of example indices; every example exactly once.
    """
    lengths = np.asarray(lengths_N, dtype=np.int64)
    # A length jittered by a fifth keeps padding low while an epoch's batches differ from the last one's.
    keys = lengths + (rng.uniform(0.0, 1.0, len(lengths)) * np.maximum(2, 0.2 * lengths) if rng is not None else 0)
    order = np.argsort(keys, kind="stable")
    batches: list[IntArray] = []
    start, longest = 0, 0
    for position, index in enumerate(order):
        grown = max(longest, int(lengths[index]))
        size = position - start
        if size and (grown * (size + 1) > budget or size >= max_batch):
            batches.append(order[start:position])
            start, grown = position, int(lengths[index])
        longest = grown
    if start < len(order):
        batches.append(order[start:])
    turns = rng.permutation(len(batches)) if rng is not None else range(len(batches))
    for turn in turns:
        yield batches[int(turn)]
