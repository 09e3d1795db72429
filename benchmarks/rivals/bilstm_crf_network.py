"""The network of a tagging recipe in plain PyTorch: `nn.LSTM` on packed sequences, and the CRF of pytorch-crf.

It has the inputs, sizes and dropouts of a `gatework.nn.Tagger`, and begins with its weights. pytorch-crf knows no
legality mask: illegal transitions are learnt, not ruled out.

W windows (here sentences), T tokens of the longest, E inputs of the LSTM, P its outputs, C tags, N words, K characters
of the longest, e width of a character's vector, F width of a composed word.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatework.nn import Tagger


class Rival(nn.Module):
    """The tagger. Its loss and answers are read by the stage that trains ours."""

    def __init__(self, ours: Tagger) -> None:
        """Take over architecture, chances of dropout and weights of a fresh network of ours."""
        super().__init__()
        from torchcrf import CRF

        a = ours.architecture
        self.architecture, inputs = a, ours.inputs
        self.dropout, self.between = ours.dropout, nn.Dropout(ours.dropout)
        self.embedding_dropout, self.word_dropout = inputs.embedding_dropout, inputs.word_dropout
        self.embedding = nn.Embedding(a.vocabulary, a.embedding, padding_idx=0, sparse=inputs.embedding.sparse)
        self.local = _table(a.ngram_rows, a.ngram_embedding)
        self.lexicon = _table(a.lexicon_rows, a.lexicon_embedding)
        self.characters = Characters(a.characters) if a.characters is not None else None
        encoder = a.encoder
        self.lstm = nn.LSTM(
            a.encoder_inputs, encoder.units, encoder.layers, batch_first=True, bidirectional=encoder.bidirectional,
            dropout=ours.dropout if encoder.layers > 1 else 0.0,
        )  # fmt: skip
        self.linear = nn.Linear(a.head_inputs, a.outputs)
        self.crf = CRF(a.outputs, batch_first=True)
        self.load(ours.to_weights())

    def forward(self, batch: Any, rows_BL: Tensor | None = None) -> list[Tensor]:
        """Emissions (W, T, C)."""
        assert rows_BL is None, "a sentence is longer than the window"
        tokens_WT = batch.tokens_WT
        if self.training and self.word_dropout:
            dropped = (torch.rand(tokens_WT.shape) < self.word_dropout) & (tokens_WT > 0)
            tokens_WT = tokens_WT.masked_fill(dropped, 1)
        parts = [self.embedding(tokens_WT)]
        if self.local is not None:
            parts.append(self.local(batch.local_WTM).sum(2))
        if self.characters is not None:
            parts.append(self.characters(batch.characters_WTK))
        if self.lexicon is not None:
            hits = batch.lexicon
            weighted = self.lexicon(hits.rows_L) * hits.weights_L[:, None]
            sums = weighted.new_zeros(4 * tokens_WT.numel(), weighted.shape[1]).index_add(0, hits.slots_L, weighted)
            parts.append(sums.view(*tokens_WT.shape, -1))
        x_WTE = torch.cat(parts, 2)
        kept_W1E = nn.functional.dropout(
            x_WTE.new_ones(len(x_WTE), 1, x_WTE.shape[2]), self.embedding_dropout, self.training
        )
        packed = pack_padded_sequence(x_WTE * kept_W1E, batch.lengths_W, batch_first=True, enforce_sorted=False)
        y_WTP, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return [self.linear(self.between(y_WTP))]

    def loss(self, emissions: list[Tensor], tags: list[Tensor], lengths_B: Tensor) -> Tensor:
        """Mean over sentences of -log p(tags)."""
        return -self.crf(emissions[0], tags[0], mask=_mask(emissions[0], lengths_B), reduction="mean")

    def decode(self, emissions: list[Tensor], lengths_B: Tensor) -> list[Tensor]:
        """The best tags, (B, T), 0 past each length."""
        paths = self.crf.decode(emissions[0], mask=_mask(emissions[0], lengths_B))
        return [nn.utils.rnn.pad_sequence([torch.tensor(path) for path in paths], batch_first=True)]

    def named(self) -> dict[str, Tensor]:
        """Parameters that have one of ours, under its name in a bundle; `load` adds the biases."""
        found = {"embedding.weight": self.embedding.weight, "head.weight": self.linear.weight}
        found |= {"head.bias": self.linear.bias, "crf.transitions": self.crf.transitions}
        found |= {"crf.start": self.crf.start_transitions, "crf.end": self.crf.end_transitions}
        found |= {"local.weight": self.local.weight} if self.local is not None else {}
        found |= {"lexicon.weight": self.lexicon.weight} if self.lexicon is not None else {}
        if self.characters is not None:
            found |= {f"characters.{name}": weight for name, weight in self.characters.named()}
        return found | dict(_lstm_weights("encoder.", self.lstm))

    @torch.no_grad()
    def load(self, weights: dict[str, Any]) -> None:
        """Take over our weights; ours has one bias where `nn.LSTM` has two, the second starts at zero."""
        own = self.named()
        if set(own) != set(weights):
            raise ValueError(f"weights without a counterpart: {sorted(set(own) ^ set(weights))}")
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(weights[name]))
        for lstm in (part for part in self.modules() if isinstance(part, nn.LSTM)):
            for name, parameter in lstm.named_parameters():
                if name.startswith("bias_hh"):
                    parameter.zero_()

    def to_weights(self) -> dict[str, Any]:
        """Every parameter, for the best epoch."""
        return {name: weight.detach().numpy().copy() for name, weight in self.state_dict().items()}


class Characters(nn.Module):
    """Character ids of each word to a vector: a CNN with the largest response, or the ends of a BiLSTM."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings
        self.embedding = nn.Embedding(settings.vocabulary, settings.embedding, padding_idx=0)
        if settings.kind == "cnn":
            self.convolution = nn.Conv1d(settings.embedding, settings.units, settings.width)
        else:
            self.lstm = nn.LSTM(settings.embedding, settings.units, batch_first=True, bidirectional=True)

    def forward(self, characters_WTK: Tensor) -> Tensor:
        """x_WTF; padding is zero."""
        flat_NK = characters_WTK.flatten(0, 1)
        lengths = (flat_NK > 0).sum(1)
        words = lengths.nonzero().squeeze(1)
        x_NKe, lengths_N = self.embedding(flat_NK[words]), lengths[words]
        x_NF = self._cnn(x_NKe, lengths_N) if self.settings.kind == "cnn" else self._lstm(x_NKe, lengths_N)
        return (
            x_NF.new_zeros(len(flat_NK), x_NF.shape[1]).index_copy(0, words, x_NF).view(*characters_WTK.shape[:2], -1)
        )

    def _cnn(self, x_NKe: Tensor, lengths_N: Tensor) -> Tensor:
        width = self.settings.width
        y_NFK = self.convolution(nn.functional.pad(x_NKe.transpose(1, 2), ((width - 1) // 2, width // 2)))
        outside_NK = torch.arange(y_NFK.shape[2]) >= lengths_N[:, None]
        return y_NFK.masked_fill(outside_NK[:, None], -torch.inf).amax(2).tanh()

    def _lstm(self, x_NKe: Tensor, lengths_N: Tensor) -> Tensor:
        packed = pack_padded_sequence(x_NKe, lengths_N, batch_first=True, enforce_sorted=False)
        _, (h_2NF, _) = self.lstm(packed)
        return h_2NF.transpose(0, 1).flatten(1)

    def named(self) -> list[tuple[str, Tensor]]:
        found = [("embedding.weight", self.embedding.weight)]
        if self.settings.kind == "cnn":
            return [*found, *((f"convolution.{name}", p) for name, p in self.convolution.named_parameters())]
        return [*found, *((name.removeprefix("0."), weight) for name, weight in _lstm_weights("", self.lstm))]


def _table(rows: int, width: int) -> nn.Embedding | None:
    """A large table, whose gradients are sparse; row 0 is zero."""
    return nn.Embedding(rows + 1, width, padding_idx=0, sparse=True) if rows and width else None


def _mask(emissions_BTC: Tensor, lengths_B: Tensor) -> Tensor:
    return torch.arange(emissions_BTC.shape[1]) < lengths_B[:, None]


def _lstm_weights(prefix: str, lstm: nn.LSTM) -> list[tuple[str, Tensor]]:
    """Weights under our names; both order the gates i, f, g, o."""
    found = []
    for layer, (direction, ending) in itertools.product(
        range(lstm.num_layers), [("forward", ""), ("backward", "_reverse")][: 1 + lstm.bidirectional]
    ):
        for ours, theirs in (("w_GI", "weight_ih"), ("r_GH", "weight_hh"), ("b_G", "bias_ih")):
            found.append((f"{prefix}{layer}.{direction}.{ours}", getattr(lstm, f"{theirs}_l{layer}{ending}")))
    return found
