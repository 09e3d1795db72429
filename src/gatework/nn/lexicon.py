"""Lexicon features: the words of a lexicon over each token, in four sets, each the weighted sum of its words' vectors.

    x[t] = [B(t); M(t); E(t); S(t)],   S(t) = sum over words w in the set of weight(w) v(w)

B the words that begin at the token, M those it lies within, E those that end with it, S the word it is. The weights
come with the batch: a word's count in training text over those of all words of the token, times 4.

W windows, T time, L words over all tokens, w width of a vector.
Source: Ma et al., "Simplify the Usage of Lexicon in Chinese NER", ACL 2020, arXiv:1908.05969.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.architecture import LEXICON_SETS
from gatework.core.errors import DataError
from gatework.nn.tensors import TensorLexicon


class SoftLexicon(nn.Module):
    """Words over tokens to a vector of each token. Row 0 stays zero: no word."""

    sparse = True

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows + 1, width))
        with torch.no_grad():
            nn.init.normal_(self.weight, 0.0, 0.1)
            self.weight[0] = 0.0

    @torch.no_grad()
    def start_from(self, vectors_RV: npt.NDArray[np.floating]) -> None:
        """Take over the rows that are not zero; the others keep their random start. Raises DataError: another shape."""
        if vectors_RV.shape != tuple(self.weight.shape):
            raise DataError(
                f"vectors of a lexicon have shape {vectors_RV.shape}, its table {tuple(self.weight.shape)}. "
                "Set model.lexicon_embedding to the width of the vectors."
            )
        found_R = torch.from_numpy(vectors_RV.any(1))
        self.weight[found_R] = torch.from_numpy(np.asarray(vectors_RV, dtype=np.float32))[found_R]

    def forward(self, lexicon: TensorLexicon, shape: Sequence[int]) -> Tensor:
        """x_WT(4w). `shape` is (W, T)."""
        windows, time = shape
        v_Lw = nn.functional.embedding(lexicon.rows_L, self.weight, padding_idx=0, sparse=True)
        sums_Sw = v_Lw.new_zeros(windows * time * LEXICON_SETS, v_Lw.shape[1])
        sums_Sw = sums_Sw.index_add(0, lexicon.slots_L, v_Lw * lexicon.weights_L[:, None])
        return sums_Sw.view(windows, time, -1)
