"""Encoded texts, and several of them as the arrays of a batch.

T tokens, N n-gram rows, M n-gram lengths from two up, K characters of the longest word, W windows, L lexicon hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.batch import LexiconBatch, TextBatch
from gatework.core.errors import DataError
from gatework.text.lexicon import LexiconHits
from gatework.text.pieces import Pieces

IntArray = npt.NDArray[np.int32]


class Token(NamedTuple):
    """A token as the vocabulary sees it, and where it stands in the caller's string."""

    text: str
    start: int
    end: int


class Encoded(NamedTuple):
    """One text, ready for the network."""

    tokens: IntArray
    """Ids, int32, (T,), T at least 1."""
    ngram_rows: IntArray
    """Rows of the n-gram table, int32, (N,), rising; empty when the side features are off."""
    local: IntArray
    """Rows plus one of the longer n-grams that end at each token, int32, (T, M), 0 where not kept; M is 0 without."""
    characters: IntArray | None
    """Character ids, int32, (T, K), 0 past a word's end; None without character composition."""
    empty: bool
    """The text had no token."""
    left_out: int = 0
    """Tokens past the limit."""
    lexicon: LexiconHits | None = None
    """Words of the lexicon over the tokens; None without a lexicon."""
    pieces: Pieces | None = None
    """What a BERT or a language model reads of the tokens; None without one."""
    hidden: npt.NDArray[np.float16] | None = None
    """Hidden layers of a frozen BERT or language model (T, layers, width), where a store keeps them; they take the
    place of `pieces`."""


def checked_ids(ids_T: Any, vocabulary: int) -> IntArray:
    """A row of token ids. Raises DataError: it is none, or one is not below `vocabulary`."""
    row_T = np.asarray(ids_T)
    if row_T.ndim != 1 or (row_T.size and row_T.dtype.kind not in "iu"):
        raise DataError(f"token ids must be a row of whole numbers, got {row_T.dtype} of shape {row_T.shape}.")
    if row_T.size and not 0 <= row_T.min() <= row_T.max() < vocabulary:
        raise DataError(f"token ids span {row_T.min()} to {row_T.max()}, the model knows 0 to {vocabulary - 1}.")
    return row_T.astype(np.int32)


def batch_of_one(one: Encoded) -> TextBatch:
    """A batch of one text of one window, without the general road's cost."""
    tokens_WT = one.tokens.astype(np.int64)[None]
    characters_WTK = one.characters[None].astype(np.int64) if one.characters is not None else None
    rows_N = one.ngram_rows.astype(np.int64)
    lengths_W = np.array([tokens_WT.shape[1]], dtype=np.int64)
    starts_B = np.array([0, len(rows_N)], dtype=np.int64)
    local_WTM = one.local.astype(np.int64)[None]
    return TextBatch(tokens_WT, lengths_W, np.zeros(1, dtype=np.int64), 1, rows_N, starts_B, local_WTM, characters_WTK)


def batch_characters(encoded: Sequence[Encoded], real_WT: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
    """Character ids of all windows, (W, T, K); None where the texts have none."""
    parts = [one.characters for one in encoded if one.characters is not None]
    if not parts:
        return None
    longest = max(part.shape[1] for part in parts)
    ids_NK = np.zeros((sum(map(len, parts)), longest), dtype=np.int64)
    at = 0
    for part in parts:
        ids_NK[at : at + len(part), : part.shape[1]] = part
        at += len(part)
    ids_WTK = np.zeros((*real_WT.shape, longest), dtype=np.int64)
    ids_WTK[real_WT] = ids_NK
    return ids_WTK


def batch_lexicon(encoded: Sequence[Encoded], real_WT: npt.NDArray[np.bool_]) -> LexiconBatch | None:
    """Lexicon words of all windows; None where the texts have none."""
    if not encoded or encoded[0].lexicon is None:
        return None
    hits = [one.lexicon for one in encoded if one.lexicon is not None]
    starts_B = np.cumsum([0, *(len(one.tokens) for one in encoded[:-1])])
    token_L = np.concatenate([hit.slots // 4 + start for hit, start in zip(hits, starts_B, strict=True)])
    set_L = np.concatenate([hit.slots % 4 for hit in hits])
    places_N = np.flatnonzero(real_WT)
    return LexiconBatch(
        places_N[token_L] * 4 + set_L,
        np.concatenate([hit.rows for hit in hits]).astype(np.int64),
        np.concatenate([hit.weights for hit in hits]),
    )
