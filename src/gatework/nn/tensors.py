"""A batch as tensors: what `core.batch.TextBatch` is in NumPy, for the modules here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatework.core.batch import IntArray, LexiconBatch, PieceBatch, TextBatch


class PieceTensors(NamedTuple):
    """The fields of `PieceBatch`, as int64 tensors. See there for what each holds."""

    ids_RP: Tensor
    lengths_R: Tensor
    row_N: Tensor
    begin_N: Tensor
    end_N: Tensor


class TensorLexicon(NamedTuple):
    """The fields of `LexiconBatch`: int64, and float32 for the weights."""

    slots_L: Tensor
    rows_L: Tensor
    weights_L: Tensor


class TensorBatch(NamedTuple):
    """The fields of `TextBatch`, as int64 tensors where nothing else is said. See there for what each holds."""

    tokens_WT: Tensor
    lengths_W: Tensor
    sequence_W: Tensor
    sequences: int
    ngram_rows_N: Tensor
    ngram_starts_B: Tensor
    local_WTM: Tensor
    characters_WTK: Tensor | None = None
    lexicon: TensorLexicon | None = None
    pieces: PieceTensors | None = None
    hidden_NLH: Tensor | None = None

    def to(self, device: torch.device | str) -> TensorBatch:
        """The batch on a device. Lengths and sequence numbers stay on the CPU, where the shapes are planned."""
        characters = None if self.characters_WTK is None else self.characters_WTK.to(device)
        lexicon = None if self.lexicon is None else TensorLexicon(*(part.to(device) for part in self.lexicon))
        pieces = None if self.pieces is None else PieceTensors(*(part.to(device) for part in self.pieces))
        hidden = None if self.hidden_NLH is None else self.hidden_NLH.to(device)
        return self._replace(
            lexicon=lexicon,
            pieces=pieces,
            hidden_NLH=hidden,
            tokens_WT=self.tokens_WT.to(device),
            ngram_rows_N=self.ngram_rows_N.to(device),
            ngram_starts_B=self.ngram_starts_B.to(device),
            local_WTM=self.local_WTM.to(device),
            characters_WTK=characters,
        )


def to_tensors(batch: TextBatch) -> TensorBatch:
    """The batch as tensors. int64 arrays are shared, not copied."""
    return TensorBatch(
        tokens_WT=_tensor(batch.tokens_WT),
        lengths_W=_tensor(batch.lengths_W),
        sequence_W=_tensor(batch.sequence_W),
        sequences=batch.sequences,
        ngram_rows_N=_tensor(batch.ngram_rows_N),
        ngram_starts_B=_tensor(batch.ngram_starts_B),
        local_WTM=_tensor(batch.local_WTM),
        characters_WTK=None if batch.characters_WTK is None else _tensor(batch.characters_WTK),
        lexicon=None if batch.lexicon is None else _lexicon(batch.lexicon),
        pieces=None if batch.pieces is None else piece_tensors(batch.pieces),
        hidden_NLH=None if batch.hidden_NLH is None else torch.from_numpy(batch.hidden_NLH),
    )


def piece_tensors(batch: PieceBatch) -> PieceTensors:
    """The rows of a BERT as tensors."""
    return PieceTensors(*map(_tensor, batch))


def _lexicon(lexicon: LexiconBatch) -> TensorLexicon:
    weights = np.ascontiguousarray(lexicon.weights_L, dtype=np.float32)
    return TensorLexicon(_tensor(lexicon.slots_L), _tensor(lexicon.rows_L), torch.from_numpy(weights))


def _tensor(values: IntArray) -> Tensor:
    array = np.ascontiguousarray(values, dtype=np.int64)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
