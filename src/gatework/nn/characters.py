"""A word's vector composed of its characters.

    cnn      tanh of the largest response of each filter at any of the word's characters; zeros stand beside the
             word's ends, so that a filter of width w centres on each character (left: (w - 1) // 2 zeros)
    bilstm   the last output of an LSTM read forwards, then of one read backwards

A word without characters (padding) is the zero vector.

W windows, T time, K characters of the longest word, N words, e character width, F outputs.
Sources: Kim et al., arXiv:1508.06615; Ling et al., arXiv:1508.02096.
"""

from __future__ import annotations

from collections.abc import Iterator

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
        lengths = (characters_WTK > 0).sum(2).view(-1)
        words = lengths.nonzero().squeeze(1)
        characters_NK = characters_WTK.view(windows * time, -1)[words]
        x_NF = self._compose(characters_NK, lengths[words])
        return x_NF.new_zeros(windows * time, x_NF.shape[1]).index_copy(0, words, x_NF).view(windows, time, -1)

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
            padded = nn.functional.pad(x_NKe.transpose(1, 2), ((width - 1) // 2, width // 2))
            y_NFK = self.convolution(padded)
            outside_NK = torch.arange(y_NFK.shape[2], device=y_NFK.device) >= lengths_N[:, None]
            best_NF: Tensor = y_NFK.masked_fill(outside_NK[:, None, :], -torch.inf).amax(2)
            return best_NF.tanh()
        assert self.recurrent is not None  # one of the two is always built
        ahead_NKu, back_NKu = self.recurrent.first_layer(x_NKe, lengths_B=lengths_N)
        rows_N = torch.arange(len(x_NKe), device=x_NKe.device)
        return torch.cat([ahead_NKu[rows_N, lengths_N - 1], back_NKu[:, 0]], 1)
