"""Language models: each direction a stack of recurrent layers of its own, on one embedding and one output table.

    token vectors -> recurrent stack -> (projection) -> softmax over the tokens, or over clusters of them;
                                                        in training, where asked, over the wanted and drawn tokens

`core.architecture` has the equations. Regularisers, all of them in training alone:

    vocabulary_dropout    a token has a zero vector wherever it stands in a batch
    embedding_dropout     locked dropout on the token vectors
    dropout               between layers; output_dropout: on what the head reads; locked, where asked
    weight_drop and so on on the recurrence, see `variants`
    activation_penalty    times the mean square of what the head reads, after dropout
    temporal_penalty      times the mean square of its change from step to step, before dropout

B sequences, T time, N = B T tokens, V vocabulary, E embedding, P outputs of a stack, W width of the output table.
Sources: Merity, Keskar and Socher, arXiv:1708.02182; Press and Wolf, arXiv:1608.05859; Gal and Ghahramani,
arXiv:1512.05287.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.core.errors import ConfigError
from gatework.nn.dropout import check_chance, dropout_TBF, keep_mask, locked_dropout, word_dropout
from gatework.nn.embedding import Embedding
from gatework.nn.recurrent import RecurrentStack, StackState
from gatework.nn.sampled import Negatives, shares
from gatework.nn.softmax import nats_each, softmax_nats
from gatework.nn.weights import load_arrays, to_arrays


class StepLoss(NamedTuple):
    """What some tokens cost."""

    nats: Tensor
    """Sum over the tokens of -log p, smoothed, with gradients."""
    penalty: Tensor
    """Of activations and their changes, a mean; zero without any."""
    state: StackState
    """After the last token of each sequence; its graph is not cut."""


class NextToken(nn.Module):
    """An architecture with the head next_token, with weights."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        dropout: float = 0.0,
        output_dropout: float | None = None,
        locked: bool = False,
        embedding_dropout: float = 0.0,
        vocabulary_dropout: float = 0.0,
        word_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        forget_bias: float = 1.0,
        label_smoothing: float = 0.0,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
        counts_V: npt.NDArray[np.integer] | None = None,
        negatives: int = 0,
        sparse: bool = False,
    ) -> None:
        """
        Args:
            dropout, output_dropout, embedding_dropout, vocabulary_dropout: see the module; `output_dropout` is
                `dropout` where None.
            locked: `dropout` and `output_dropout` keep one mask a sequence.
            word_dropout: chance that a token is read as unknown.
            variational_dropout, weight_drop, zoneout, forget_bias: of each stack, see `RecurrentStack`.
            label_smoothing: see `softmax`.
            counts_V: how often each token occurs; the head's bias begins at their logarithms.
            negatives: where above 0, training is on a sampled softmax of so many, see `sampled`; needs `counts_V`.
            sparse: give sparse gradients of the tables, for an optimiser that takes them; with negatives.
        Raises: ConfigError: a chance outside [0, 1), or as `RecurrentStack`.
        """
        super().__init__()
        if architecture.language is None:
            raise ConfigError("the architecture has no head next_token.")
        self.architecture, self.language = architecture, architecture.language
        self.output_dropout = check_chance(
            "model.output_dropout", dropout if output_dropout is None else output_dropout
        )
        self.locked = locked
        self.embedding_dropout = check_chance("model.embedding_dropout", embedding_dropout)
        self.vocabulary_dropout = check_chance("model.vocabulary_dropout", vocabulary_dropout)
        self.word_dropout = check_chance("input.word_dropout", word_dropout)
        self.label_smoothing = check_chance("train.label_smoothing", label_smoothing)
        self.activation_penalty, self.temporal_penalty = activation_penalty, temporal_penalty
        a, encoder = architecture, architecture.encoder
        self.embedding = Embedding(a.vocabulary, a.embedding, sparse=sparse)
        self.stacks = nn.ModuleList(
            RecurrentStack(
                encoder.cell,
                a.embedding,
                encoder.units,
                layers=encoder.layers,
                residual=encoder.residual,
                projection=encoder.projection,
                dropout=dropout,
                locked_dropout=locked,
                variational_dropout=variational_dropout,
                weight_drop=weight_drop,
                zoneout=zoneout,
                forget_bias=forget_bias,
            )
            for _ in self.language.directions
        )
        """One for each direction."""
        self.width = a.embedding if self.language.tied else encoder.outputs
        self.output = None if self.language.tied else Embedding(a.vocabulary, self.width, sparse=sparse)
        narrow = self.width != encoder.outputs
        self.projections = nn.ModuleList(
            nn.Linear(encoder.outputs, self.width, bias=False) for _ in (self.language.directions if narrow else ())
        )
        self.bias = nn.Parameter(log_shares(a.vocabulary, counts_V))
        self.negatives = Negatives(counts_V, count=negatives) if negatives and counts_V is not None else None
        cutoffs = self.language.cutoffs
        self.cluster = nn.Linear(self.width, len(cutoffs)) if cutoffs else None

    @property
    def table_VW(self) -> nn.Parameter:
        """The output table."""
        return self.embedding.weight if self.output is None else self.output.weight

    def forward(
        self, tokens_BT: Tensor, direction: str, *, lengths_B: Tensor | None = None, state: StackState | None = None
    ) -> tuple[Tensor, StackState]:
        """Outputs of a stack, time first, y_TBP, and its state after each sequence's last token.

        Args:
            tokens_BT: what is read, in the order the direction reads it.
            lengths_B: tokens of each sequence; None when all are T.
            state: to go on from; None begins anew.
        """
        x_BTE = self._vectors(tokens_BT)
        stack = self.stacks[self.language.directions.index(direction)]
        y_BTP, last = stack(x_BTE, lengths_B=lengths_B, state=state)
        return y_BTP.transpose(0, 1), last

    def loss(
        self,
        tokens_BT: Tensor,
        wanted_BT: Tensor,
        direction: str,
        *,
        lengths_B: Tensor | None = None,
        state: StackState | None = None,
    ) -> StepLoss:
        """What the tokens `wanted_BT` cost after `tokens_BT`. Arguments as in `forward`."""
        y_TBP, last = self(tokens_BT, direction, lengths_B=lengths_B, state=state)
        kept_TBP = dropout_TBF(y_TBP, self.output_dropout, self.training, self.locked)
        live_TB = _live(y_TBP, lengths_B)
        penalty = self._penalty(y_TBP, kept_TBP, live_TB) if self.training else y_TBP.new_zeros(())
        h_NW, wanted_N = self._flat(kept_TBP, direction, live_TB), _chosen(wanted_BT.T, live_TB)
        return StepLoss(self._nats(h_NW, wanted_N), penalty, last)

    @torch.no_grad()
    def nats(
        self,
        tokens_BT: Tensor,
        wanted_BT: Tensor,
        direction: str,
        *,
        lengths_B: Tensor | None = None,
        state: StackState | None = None,
    ) -> tuple[Tensor, StackState]:
        """-log p of each token wanted, (B, T), 0 past each length, over all tokens; and the state after the last."""
        y_TBP, last = self(tokens_BT, direction, lengths_B=lengths_B, state=state)
        live_TB = _live(y_TBP, lengths_B)
        nats_N = self._nats_each(self._flat(y_TBP, direction, live_TB), _chosen(wanted_BT.T, live_TB))
        if live_TB is None:
            return nats_N.view(y_TBP.shape[:2]).T, last
        nats_TB = nats_N.new_zeros(live_TB.shape)
        nats_TB[live_TB] = nats_N
        return nats_TB.T, last

    def _vectors(self, tokens_BT: Tensor) -> Tensor:
        tokens_BT = word_dropout(tokens_BT, self.word_dropout, self.training)
        x_BTE: Tensor = self.embedding(tokens_BT)
        if self.training and self.vocabulary_dropout:
            keep_V = keep_mask((self.architecture.vocabulary,), self.vocabulary_dropout, x_BTE)
            x_BTE = x_BTE * keep_V[tokens_BT][:, :, None]
        return locked_dropout(x_BTE, self.embedding_dropout, self.training)

    def _penalty(self, y_TBP: Tensor, kept_TBP: Tensor, live_TB: Tensor | None) -> Tensor:
        """See the module; the mean is over values of live tokens, or of pairs of them."""
        total = y_TBP.new_zeros(())
        if self.activation_penalty:
            total = total + self.activation_penalty * _chosen(kept_TBP, live_TB).square().mean()
        if self.temporal_penalty and len(y_TBP) > 1:
            pairs = None if live_TB is None else live_TB[1:]
            change = _chosen(y_TBP[1:] - y_TBP[:-1], pairs)
            if len(change):
                total = total + self.temporal_penalty * change.square().mean()
        return total

    def _flat(self, y_TBP: Tensor, direction: str, live_TB: Tensor | None) -> Tensor:
        """Vectors of the live tokens as the output table takes them, (N, W), time by time."""
        y_NP = _chosen(y_TBP, live_TB)
        if not len(self.projections):
            return y_NP
        h_NW: Tensor = self.projections[self.language.directions.index(direction)](y_NP)
        return h_NW

    def _nats(self, h_NW: Tensor, wanted_N: Tensor) -> Tensor:
        """Sum of -log p, smoothed, with gradients."""
        if self.negatives is not None and self.training:
            vectors = self.embedding if self.output is None else self.output
            return self.negatives.nats(h_NW, wanted_N, self.negatives.draw(), vectors, self.bias).sum()
        smoothing = self.label_smoothing if self.training else 0.0
        if self.cluster is None:
            return softmax_nats(h_NW, self.table_VW, self.bias, wanted_N, smoothing=smoothing, first=1)
        total, (table, bias, place_N) = h_NW.new_zeros(()), self._shortlist(wanted_N)
        total = total + softmax_nats(h_NW, table, bias, place_N, smoothing=smoothing, first=1)
        for low, high in self._tails():
            inside = torch.nonzero((wanted_N >= low) & (wanted_N < high))[:, 0]
            if len(inside):
                total = total + softmax_nats(
                    h_NW[inside],
                    self.table_VW[low:high],
                    self.bias[low:high],
                    wanted_N[inside] - low,
                    smoothing=smoothing,
                )
        return total

    def _nats_each(self, h_NW: Tensor, wanted_N: Tensor) -> Tensor:
        """-log p of each token over all tokens."""
        if self.cluster is None:
            return nats_each(h_NW, self.table_VW, self.bias, wanted_N, first=1)
        table, bias, place_N = self._shortlist(wanted_N)
        nats_N = nats_each(h_NW, table, bias, place_N, first=1)
        for low, high in self._tails():
            inside = torch.nonzero((wanted_N >= low) & (wanted_N < high))[:, 0]
            nats_N[inside] += nats_each(
                h_NW[inside], self.table_VW[low:high], self.bias[low:high], wanted_N[inside] - low
            )
        return nats_N

    def _shortlist(self, wanted_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Table and bias of the frequent tokens and the clusters, and which of them each wanted token is in."""
        assert self.cluster is not None  # the caller has looked
        first, *_ = cutoffs = self.language.cutoffs
        table = torch.cat([self.table_VW[:first], self.cluster.weight])
        bias = torch.cat([self.bias[:first], self.cluster.bias])
        borders = torch.tensor(cutoffs)
        cluster_N = torch.bucketize(wanted_N, borders, right=True) - 1
        return table, bias, torch.where(wanted_N < first, wanted_N, first + cluster_N)

    def _tails(self) -> Iterator[tuple[int, int]]:
        yield from pairwise((*self.language.cutoffs, self.architecture.vocabulary))

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle (see `core.architecture`)."""
        yield "embedding.weight", self.embedding.weight
        stack: Any
        for direction, stack in zip(self.language.directions, self.stacks, strict=True):
            for name, weight in stack.weights():
                yield f"encoder.{name.replace('.forward.', f'.{direction}.')}", weight
        if self.output is not None:
            yield "head.weight", self.output.weight
        projection: Any
        for direction, projection in zip(self.language.directions, self.projections, strict=False):
            yield f"head.{direction}.projection", projection.weight
        if self.cluster is not None:
            yield "head.cluster.weight", self.cluster.weight
            yield "head.cluster.bias", self.cluster.bias
        yield "head.bias", self.bias

    def to_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """See `weights.to_arrays`."""
        return to_arrays(self.named_weights())

    def load_weights(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """See `weights.load_arrays`."""
        load_arrays(self.named_weights(), weights)


def log_shares(vocabulary: int, counts_V: npt.NDArray[np.integer] | None) -> Tensor:
    """Where the bias of a head begins: logarithms of the tokens' shares, zeros where they are not known."""
    if counts_V is None:
        return torch.zeros(vocabulary)
    return torch.log(shares(counts_V)).clamp(min=-30.0).float()


def _live(y_TBP: Tensor, lengths_B: Tensor | None) -> Tensor | None:
    """Which tokens there are, (T, B); None for all."""
    return None if lengths_B is None else torch.arange(len(y_TBP))[:, None] < lengths_B


def _chosen(values_TB: Tensor, live_TB: Tensor | None) -> Tensor:
    """The rows of live tokens, time by time."""
    return values_TB.flatten(0, 1) if live_TB is None else values_TB[live_TB]
