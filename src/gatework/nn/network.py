"""The network that gives each sequence one answer: windows of token ids to one row of logits a sequence.

    inputs -> recurrent stack -> pooling over windows -> head    deep logits
    n-grams -> table of logit rows, summed                       wide logits

The two are trained each on its own loss and answer with their sum.

W windows, B sequences, T time, P outputs of the encoder, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.nn.dropout import dropout
from gatework.nn.ngrams import NgramBag
from gatework.nn.pooling import Pooling
from gatework.nn.tensors import TensorBatch
from gatework.nn.trunk import Trunk


class Logits(NamedTuple):
    """What a network answers."""

    deep_BC: Tensor
    wide_BC: Tensor | None
    """Of the n-grams; None without side features."""

    @property
    def total(self) -> Tensor:
        """What a prediction is made of, (B, C)."""
        return self.deep_BC if self.wide_BC is None else self.deep_BC + self.wide_BC


class Network(Trunk):
    """An architecture with the head per_sequence, with weights. Options as in `Trunk`."""

    def __init__(self, architecture: Architecture, **options: Any) -> None:
        super().__init__(architecture, **options)
        a = architecture
        self.pooling = Pooling(
            a.pooling, self.encoder.outputs, bidirectional=a.encoder.bidirectional, attention=a.attention
        )
        self.head = nn.Linear(a.head_inputs, a.outputs)
        self.ngrams = NgramBag(a.ngram_rows, a.outputs) if a.wide_outputs else None

    def forward(self, batch: TensorBatch) -> Logits:
        """Logits of each sequence."""
        pooled_BP = self.pooling(
            self.encode(batch), lengths_W=batch.lengths_W, sequence_W=batch.sequence_W, sequences=batch.sequences
        )
        deep_BC = self.head(dropout(pooled_BP, self.dropout, self.training))
        wide_BC = None if self.ngrams is None else self.ngrams(batch.ngram_rows_N, batch.ngram_starts_B)
        return Logits(deep_BC, wide_BC)

    def head_tables(self) -> list[nn.Parameter]:
        return [] if self.ngrams is None else [self.ngrams.weight]

    def head_weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in self.pooling.named_parameters():
            yield f"attention.{name}", weight
        if self.ngrams is not None:
            yield "ngrams.weight", self.ngrams.weight
        yield "head.weight", self.head.weight
        yield "head.bias", self.head.bias
