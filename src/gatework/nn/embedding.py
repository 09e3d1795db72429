"""Token vectors: a table whose row 0, the padding, stays zero.

W windows, T time, V vocabulary, E width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.errors import DataError

SPARSE_FROM = 10_000
"""Rows from which a batch touches so little of the table that sparse gradients are faster than dense ones."""


class Embedding(nn.Module):
    """Rows of a table by token id."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        *,
        vectors_VE: npt.NDArray[np.floating] | None = None,
        freeze: bool = False,
        sparse: bool | None = None,
        deviation: float = 0.1,
    ) -> None:
        """
        Args:
            deviation: of the numbers that tokens start with.
            vectors_VE: imported vectors, a row for each token of the vocabulary; a row of zeros is a token they
                lack, which starts at random like every token does without vectors.
            freeze: keep imported rows, and all others, as they start.
            sparse: give sparse gradients, for an optimiser that takes them; None decides by the vocabulary.
        Raises: DataError: the vectors do not fit, or a row holds NaN or infinity.
        """
        super().__init__()
        self.sparse = vocabulary >= SPARSE_FROM if sparse is None else sparse
        self.weight = nn.Parameter(torch.empty(vocabulary, width), requires_grad=not freeze)
        with torch.no_grad():
            nn.init.normal_(self.weight, 0.0, deviation)
            if vectors_VE is not None:
                self._import(vectors_VE)
            self.weight[0] = 0.0

    def forward(self, tokens_WT: Tensor) -> Tensor:
        """x_WTE; zero where the token is padding."""
        return nn.functional.embedding(tokens_WT, self.weight, padding_idx=0, sparse=self.sparse)

    def _import(self, vectors_VE: npt.NDArray[np.floating]) -> None:
        if vectors_VE.shape != tuple(self.weight.shape):
            raise DataError(
                f"imported vectors have shape {vectors_VE.shape}, the embedding {tuple(self.weight.shape)}. "
                "Set model.embedding to the width of the vectors."
            )
        bad_V = ~np.isfinite(vectors_VE).all(1)
        if bad_V.any():
            raise DataError(
                f"imported vectors hold NaN or infinity in the row of token {int(np.flatnonzero(bad_V)[0])}. "
                "Mend the vectors file."
            )
        found_V = vectors_VE.any(1)
        found = torch.from_numpy(np.ascontiguousarray(vectors_VE[found_V], dtype=np.float32))
        self.weight[torch.from_numpy(found_V)] = found.to(self.weight.dtype)
