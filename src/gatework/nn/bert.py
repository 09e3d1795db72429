"""The hidden layers of a BERT as a module, for fine-tuning; `runtime.bert` states the equations.

It holds the same weights under the same names, so that what it learnt goes into a bundle as it is. Rows are padded
here, and padding is kept out of the attention.

R rows, P pieces of the longest, N tokens, L chosen layers, H width, A heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.architecture import Bert
from gatework.core.errors import BundleError
from gatework.nn.dropout import check_chance, dropout
from gatework.nn.tensors import PieceTensors, TensorBatch

DROPOUT = 0.1
"""What BERTs are trained with, on what each half of a layer adds."""


class BertEncoder(nn.Module):
    """A BERT with weights to train."""

    def __init__(self, settings: Bert, *, dropout: float = DROPOUT) -> None:
        """Weights start at random; see `load`."""
        super().__init__()
        self.settings = settings
        self.words = nn.Parameter(torch.randn(settings.vocabulary, settings.embedding) * 0.02)
        self.positions = nn.Parameter(torch.randn(settings.positions, settings.embedding) * 0.02)
        self.norm = nn.LayerNorm(settings.embedding, eps=settings.epsilon)
        narrow = settings.embedding != settings.width
        self.lift: nn.Linear | None = nn.Linear(settings.embedding, settings.width) if narrow else None
        self.layers = nn.ModuleList([_Layer(settings, dropout) for _ in range(settings.layers)])
        self.dropout = check_chance("the dropout of a BERT", dropout)

    def forward(self, batch: PieceTensors) -> Tensor:
        """Vectors of the chosen layers of every token, (N, L, H)."""
        places_P = torch.arange(batch.ids_RP.shape[1], device=batch.ids_RP.device)
        real_R11P = (places_P < batch.lengths_R.to(places_P.device)[:, None])[:, None, None]
        x_RPH = nn.functional.embedding(batch.ids_RP, self.words) + self.positions[places_P]
        x_RPH = dropout(self.norm(x_RPH), self.dropout, self.training)
        if self.lift is not None:
            x_RPH = self.lift(x_RPH)
        found = [x_RPH] if 0 in self.settings.chosen else []
        for depth, layer in enumerate(self.layers, start=1):
            x_RPH = layer(x_RPH, real_R11P)
            if depth in self.settings.chosen:
                found.append(x_RPH)
        return torch.stack([self._pooled(x_RPH, batch) for x_RPH in found], 1)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters under the names of `core.bert_folder`, without the leading `bert.`."""
        yield "words.weight", self.words
        yield "positions.weight", self.positions
        yield from _norm("words", self.norm)
        if self.lift is not None:
            yield from _dense("lift", self.lift)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, _Layer)  # a module list forgets of what
            for name, parameter in layer.weights():
                yield f"{index}.{name}", parameter

    @torch.no_grad()
    def load(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Take over weights by the names of `core.bert_folder`. Raises BundleError: one has another shape."""
        for name, parameter in self.weights():
            array = weights[f"bert.{name}"]
            if array.shape != tuple(parameter.shape):
                raise BundleError(f"bert.{name} has shape {array.shape}, wanted {tuple(parameter.shape)}.")
            parameter.copy_(torch.from_numpy(np.array(array, dtype=np.float32)))

    def _pooled(self, x_RPH: Tensor, batch: PieceTensors) -> Tensor:
        """A vector for each token: of its first piece, or the mean of its pieces, (N, H)."""
        if self.settings.pieces == "first":
            return x_RPH[batch.row_N, batch.begin_N]
        count_N = batch.end_N - batch.begin_N
        token_Q = torch.arange(len(count_N), device=count_N.device).repeat_interleave(count_N)
        first_N = torch.cumsum(count_N, 0) - count_N
        place_Q = torch.arange(len(token_Q), device=count_N.device) - first_N[token_Q] + batch.begin_N[token_Q]
        sums_NH = x_RPH.new_zeros(len(count_N), x_RPH.shape[2])
        sums_NH = sums_NH.index_add(0, token_Q, x_RPH[batch.row_N[token_Q], place_Q])
        return sums_NH / count_N[:, None]


class BertMix(nn.Module):
    """gamma sum_l softmax(mix)_l x_l over the chosen layers (Peters et al., arXiv:1802.05365)."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, hidden_NLH: Tensor) -> Tensor:
        """(N, H)."""
        return torch.einsum("l,nlh->nh", self.gamma * self.mix.softmax(0), hidden_NLH.to(self.mix.dtype))


class BertInput(nn.Module):
    """The vectors of a batch's tokens out of a BERT.

    One that is trained runs here. A frozen one does not: its hidden layers were computed before (`train.hidden_layers`)
    and come with the batch.
    """

    def __init__(self, settings: Bert, *, trained: bool) -> None:
        super().__init__()
        self.encoder = BertEncoder(settings) if trained else None
        self.mix = BertMix(len(settings.chosen)) if settings.mixed else None

    def forward(self, batch: TensorBatch) -> Tensor:
        """x_WTH, zero past each length."""
        if self.encoder is not None and batch.pieces is not None:
            hidden_NLH: Tensor = self.encoder(batch.pieces)
        elif batch.hidden_NLH is not None:
            hidden_NLH = batch.hidden_NLH
        else:
            raise BundleError("the model reads a BERT, but the batch has none. Encode with the model's own codec.")
        x_NH = hidden_NLH[:, 0].float() if self.mix is None else self.mix(hidden_NLH)
        return scatter(x_NH, batch)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters under the names of a bundle, without the leading `bert.`."""
        if self.encoder is not None:
            yield from self.encoder.weights()
        if self.mix is not None:
            yield "mix", self.mix.mix
            yield "gamma", self.mix.gamma


def scatter(x_NH: Tensor, batch: TensorBatch) -> Tensor:
    """Vectors of all tokens to their windows, x_WTH, zero past each length."""
    windows, time = batch.tokens_WT.shape
    real_WT = torch.arange(time) < batch.lengths_W[:, None]
    x_WTH = x_NH.new_zeros(windows, time, x_NH.shape[1])
    return x_WTH.index_put((real_WT.to(x_NH.device),), x_NH)


class _Layer(nn.Module):
    def __init__(self, settings: Bert, dropout: float) -> None:
        super().__init__()
        width, inner, epsilon = settings.width, settings.inner, settings.epsilon
        self.heads = settings.heads
        self.activation = settings.activation
        self.attention = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width, eps=epsilon)
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)
        self.outer_norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = dropout

    def forward(self, x_RPH: Tensor, real_R11P: Tensor) -> Tensor:
        q, k, v = self.attention(x_RPH).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y_RAPd = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=real_R11P)
        a_RPH = self.output(y_RAPd.transpose(1, 2).flatten(2))
        a_RPH = self.output_norm(x_RPH + dropout(a_RPH, self.dropout, self.training))
        y_RPH = self.outer(self._activated(self.inner(a_RPH)))
        normed: Tensor = self.outer_norm(a_RPH + dropout(y_RPH, self.dropout, self.training))
        return normed

    def _activated(self, x: Tensor) -> Tensor:
        if self.activation == "relu":
            return x.relu()
        return nn.functional.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from _dense("attention", self.attention)
        yield from _dense("output", self.output)
        yield from _norm("output", self.output_norm)
        yield from _dense("inner", self.inner)
        yield from _dense("outer", self.outer)
        yield from _norm("outer", self.outer_norm)


def _dense(name: str, part: nn.Linear) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", part.weight
    yield f"{name}.bias", part.bias


def _norm(name: str, part: nn.LayerNorm) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.norm.gain", part.weight
    yield f"{name}.norm.shift", part.bias
