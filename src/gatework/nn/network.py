"""The whole network of an `Architecture`: windows of token ids to one row of logits a sequence.

    tokens -> embedding (+ local n-grams, characters) -> recurrent stack -> pooling over windows -> head   deep logits
    n-grams -> table of logit rows, summed                                                                wide logits

The two are trained each on its own loss and answer with their sum.

W windows, B sequences, T time, E embedding, P outputs of the encoder, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.core.errors import BundleError
from gatework.nn.characters import CharacterComposition
from gatework.nn.dropout import check_chance, dropout, locked_dropout, word_dropout
from gatework.nn.embedding import Embedding
from gatework.nn.ngrams import LocalNgrams, NgramBag
from gatework.nn.pooling import Pooling
from gatework.nn.recurrent import RecurrentStack
from gatework.nn.tensors import TensorBatch


class Logits(NamedTuple):
    """What a network answers."""

    deep_BC: Tensor
    wide_BC: Tensor | None
    """Of the n-grams; None without side features."""

    @property
    def total(self) -> Tensor:
        """What a prediction is made of, (B, C)."""
        return self.deep_BC if self.wide_BC is None else self.deep_BC + self.wide_BC


class Network(nn.Module):
    """An architecture with weights."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        forget_bias: float = 1.0,
        vectors_VE: npt.NDArray[np.floating] | None = None,
        freeze_vectors: bool = False,
        sparse_embedding: bool | None = None,
    ) -> None:
        """
        Args:
            dropout: on each layer's outputs and on the pooled vector.
            embedding_dropout: one mask a window on token vectors.
            word_dropout: chance that a token is read as unknown.
            variational_dropout, weight_drop, zoneout, forget_bias: of the encoder, see `RecurrentStack`.
            vectors_VE, freeze_vectors, sparse_embedding: of the token vectors, see `Embedding`.
        Raises: ConfigError, DataError: as the parts do.
        """
        super().__init__()
        self.architecture = architecture
        self.dropout = check_chance("model.dropout", dropout)
        self.embedding_dropout = check_chance("model.embedding_dropout", embedding_dropout)
        self.word_dropout = check_chance("input.word_dropout", word_dropout)
        a, encoder = architecture, architecture.encoder
        self.embedding = Embedding(
            a.vocabulary, a.embedding, vectors_VE=vectors_VE, freeze=freeze_vectors, sparse=sparse_embedding
        )
        self.local = LocalNgrams(a.ngram_rows, a.ngram_embedding) if a.ngram_embedding else None
        self.characters = None if a.characters is None else CharacterComposition(a.characters)
        self.encoder = RecurrentStack(
            encoder.cell,
            a.encoder_inputs,
            encoder.units,
            layers=encoder.layers,
            bidirectional=encoder.bidirectional,
            residual=encoder.residual,
            projection=encoder.projection,
            dropout=dropout,
            variational_dropout=variational_dropout,
            weight_drop=weight_drop,
            zoneout=zoneout,
            forget_bias=forget_bias,
        )
        self.pooling = Pooling(
            a.pooling, self.encoder.outputs, bidirectional=encoder.bidirectional, attention=a.attention
        )
        self.head = nn.Linear(a.head_inputs, a.outputs)
        self.ngrams = NgramBag(a.ngram_rows, a.outputs) if a.ngram_rows else None

    def forward(self, batch: TensorBatch) -> Logits:
        """Logits of each sequence."""
        x_WTE = self.embed(batch)
        y_WTP, _ = self.encoder(x_WTE, lengths_B=batch.lengths_W)
        y_WTP = dropout(y_WTP, self.dropout, self.training)
        pooled_BP = self.pooling(
            y_WTP, lengths_W=batch.lengths_W, sequence_W=batch.sequence_W, sequences=batch.sequences
        )
        deep_BC = self.head(dropout(pooled_BP, self.dropout, self.training))
        wide_BC = None if self.ngrams is None else self.ngrams(batch.ngram_rows_N, batch.ngram_starts_B)
        return Logits(deep_BC, wide_BC)

    def embed(self, batch: TensorBatch) -> Tensor:
        """What the encoder reads, x_WTE, with the dropouts of words and of vectors in training."""
        tokens_WT = word_dropout(batch.tokens_WT, self.word_dropout, self.training)
        x_WTE: Tensor = self.embedding(tokens_WT)
        if self.local is not None:
            x_WTE = torch.cat([x_WTE, self.local(batch.local_WTM)], 2)
        if self.characters is not None:
            if batch.characters_WTK is None:
                raise BundleError("the model composes characters, but the batch has none. Encode with its own codec.")
            x_WTE = torch.cat([x_WTE, self.characters(batch.characters_WTK)], 2)
        return locked_dropout(x_WTE, self.embedding_dropout, self.training)

    def sparse_parameters(self) -> list[nn.Parameter]:
        """Trained parameters whose gradients are sparse: the n-gram tables, and a large embedding."""
        tables = [self.embedding.weight] if self.embedding.sparse else []
        tables += [] if self.local is None else [self.local.weight]
        tables += [] if self.ngrams is None else [self.ngrams.weight]
        return [table for table in tables if table.requires_grad]

    def dense_parameters(self) -> list[nn.Parameter]:
        """Trained parameters with ordinary gradients."""
        sparse = {id(parameter) for parameter in self.sparse_parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in sparse]

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle (see `core.architecture`)."""
        yield "embedding.weight", self.embedding.weight
        if self.local is not None:
            yield "local.weight", self.local.weight
        if self.characters is not None:
            for name, weight in self.characters.weights():
                yield f"characters.{name}", weight
        for name, weight in self.encoder.weights():
            yield f"encoder.{name}", weight
        for name, weight in self.pooling.named_parameters():
            yield f"attention.{name}", weight
        if self.ngrams is not None:
            yield "ngrams.weight", self.ngrams.weight
        yield "head.weight", self.head.weight
        yield "head.bias", self.head.bias

    def to_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """A float32 copy of every weight, under its name in a bundle."""
        return {name: np.array(w.detach().cpu().float().numpy()) for name, w in self.named_weights()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """Take over what `to_weights` gave. Raises BundleError: a name is missing or unknown, or a shape differs."""
        own = dict(self.named_weights())
        if odd := sorted(set(own) ^ set(weights)):
            raise BundleError(f"weights: {odd[0]!r} is {'missing' if odd[0] in own else 'unknown'}. Export it again.")
        for name, parameter in own.items():
            if weights[name].shape != tuple(parameter.shape):
                raise BundleError(
                    f"weights: {name} has shape {weights[name].shape}, wanted {tuple(parameter.shape)}. "
                    "Export the model again."
                )
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.array(weights[name], dtype=np.float32)))
