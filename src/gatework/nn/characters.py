"""A word's vector composed of its characters.

    cnn      tanh of the largest response of each filter at any of the word's characters; zeros stand beside the
             word's ends, so that a filter of width w centres on each character (left: (w - 1) // 2 zeros)
    bilstm   the last output of an LSTM read forwards, then of one read backwards

A word without characters (padding) is the zero vector. Each distinct word of a batch is composed once.

W windows, T time, K characters of the longest word, N words, e character width, F outputs.
Sources: Kim et al., arXiv:1508.06615; Ling et al., arXiv:1508.02096.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from gatework.core import architecture
from gatework.nn.embedding import Embedding
from gatework.nn.recurrent import RecurrentStack


class CharacterComposition(nn.Module):
    """Character ids of each word to a vector of each word."""

    def __init__(self, settings: architecture.Characters) -> None:
        super().__init__()
        self.settings = settings
        self.embedding = Embedding(settings.vocabulary, settings.embedding, sparse=False)
        self.convolution: nn.Conv1d | None = None
        self.recurrent: RecurrentStack | None = None
        if settings.kind == "cnn":
            self.convolution = nn.Conv1d(settings.embedding, settings.units, settings.width)
        else:
            self.recurrent = RecurrentStack("lstm", settings.embedding, settings.units, bidirectional=True)

    def forward(self, characters_WTK: Tensor) -> Tensor:
        """x_WTF."""
        windows, time, _ = characters_WTK.shape
        distinct_NK, which = _distinct(characters_WTK.reshape(windows * time, -1))
        lengths_N = (distinct_NK > 0).sum(1)
        real_N = (lengths_N > 0)[:, None]
        # Padding is composed as if it had one character, and then made zero.
        x_NF = self._compose(distinct_NK, lengths_N.clamp(min=1)) * real_N
        # An embedding's gradient adds up over the places of a word faster than that of an index does.
        return nn.functional.embedding(which, x_NF).view(windows, time, -1)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters under the names of a bundle."""
        yield "embedding.weight", self.embedding.weight
        if self.convolution is not None and self.convolution.bias is not None:
            yield "convolution.weight", self.convolution.weight
            yield "convolution.bias", self.convolution.bias
        if self.recurrent is not None:
            for name, weight in self.recurrent.weights():
                yield name.removeprefix("0."), weight

    def _compose(self, characters_NK: Tensor, lengths_N: Tensor) -> Tensor:
        x_NKe = self.embedding(characters_NK)
        if self.convolution is not None:
            width = self.settings.width
            padded = nn.functional.pad(x_NKe, (0, 0, (width - 1) // 2, width // 2))
            # One product for all places: for few characters it takes half the time of a convolution and its gradients.
            seen_NKC = padded.unfold(1, width, 1).flatten(2)
            y_NKF = nn.functional.linear(seen_NKC, self.convolution.weight.flatten(1), self.convolution.bias)
            outside_NK = torch.arange(y_NKF.shape[1], device=y_NKF.device) >= lengths_N[:, None]
            best_NF: Tensor = y_NKF.masked_fill(outside_NK[:, :, None], -torch.inf).amax(1)
            return best_NF.tanh()
        assert self.recurrent is not None  # one of the two is always built
        ahead_NKu, back_NKu = self.recurrent.first_layer(x_NKe, lengths_B=lengths_N)
        rows_N = torch.arange(len(x_NKe), device=x_NKe.device)
        return torch.cat([ahead_NKu[rows_N, lengths_N - 1], back_NKu[:, 0]], 1)


def _distinct(characters_NK: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows, and which of them each row is."""
    if characters_NK.device.type != "cpu" or characters_NK.dtype != torch.int64 or not characters_NK.numel():
        distinct, which = torch.unique(characters_NK, dim=0, return_inverse=True)
        return distinct, which
    # As strings of bytes rows sort a hundred times faster.
    rows = np.ascontiguousarray(characters_NK.numpy(), dtype=np.int32)
    _, first, which_N = np.unique(rows.view(f"S{4 * rows.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    return characters_NK[torch.from_numpy(first)], torch.from_numpy(which_N.reshape(-1))
