"""Side features: what a text's n-grams say, beside its tokens.

Over the whole text, each n-gram adds a row of logits:

    logits = sum of the rows of the text's distinct n-grams / sqrt(max(1, their number))

At each token, the vectors of the bigram, trigram, ... that end with it are summed and join the token's own vector, so
that the encoder knows frequent phrases as it knows words.

The table's gradient is sparse: a step costs what the batch's rows cost, not what the table does.

N n-grams of the batch, B sequences, R rows, C outputs, W windows, T time, M lengths from two up, L width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NgramBag(nn.Module):
    """Rows of a table summed a sequence. Rows begin at zero: an n-gram says nothing until it has been learned."""

    sparse = True

    def __init__(self, rows: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, outputs))

    def forward(self, rows_N: Tensor, starts_B: Tensor) -> Tensor:
        """logits_BC. `starts_B` holds B + 1 entries, the end too; a sequence without n-grams gets zeros."""
        sums_BC = nn.functional.embedding_bag(
            rows_N, self.weight, starts_B, mode="sum", sparse=True, include_last_offset=True
        )
        counts_B = starts_B.diff().clamp(min=1)
        return sums_BC * counts_B.to(sums_BC.dtype).rsqrt()[:, None]


class LocalNgrams(nn.Module):
    """Vectors of the n-grams that end at each token, summed. Row 0 stays zero: no such n-gram."""

    sparse = True

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows + 1, width))
        with torch.no_grad():
            nn.init.normal_(self.weight, 0.0, 0.1)
            self.weight[0] = 0.0

    def forward(self, local_WTM: Tensor) -> Tensor:
        """x_WTL."""
        x_WTML = nn.functional.embedding(local_WTM, self.weight, padding_idx=0, sparse=True)
        return x_WTML.sum(2)
