"""The stage before: embedding and encoder learn to predict neighbouring tokens of training and unlabelled texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from gatework.core.batch import IntArray, token_budget_batches
from gatework.nn import PretrainHead, Trunk, to_tensors
from gatework.tasks import Prepared
from gatework.train.parallel import Group
from gatework.train.stage import Loss, Stage, epoch_generator, stage_seed

COUNTED_AT_ONCE = 4096
"""Texts whose tokens are counted at once."""


class Pretrain(Stage):
    """Trains the language-model head of `network`, and through it the network, on texts without their labels."""

    name = "pretrain"
    order = 0
    averaged = False

    def __init__(self, prepared: Prepared, network: Trunk) -> None:
        settings = prepared.recipe.train
        self.settings = settings
        self.epochs = settings.pretrain_epochs
        self.codec = prepared.codec
        self.stores = [store for store in (prepared.train, prepared.unlabelled) if store is not None]
        self.lengths_N = np.concatenate([np.asarray(store.lengths_N) for store in self.stores])
        self.tokens = int(self.lengths_N.sum())
        torch.manual_seed(stage_seed(settings.seed, self.order, Group().rank))
        self.head = PretrainHead(network, self._counts(prepared.architecture.vocabulary))
        self.module = self.head

    def _counts(self, vocabulary: int) -> npt.NDArray[np.int64]:
        """How often each token occurs, (V,), a part of the texts at a time."""
        counts_V = np.zeros(vocabulary, dtype=np.int64)
        for start in range(0, len(self.lengths_N), COUNTED_AT_ONCE):
            part = range(start, min(start + COUNTED_AT_ONCE, len(self.lengths_N)))
            tokens = np.concatenate([self._encoded(index).tokens for index in part])
            counts_V += np.bincount(tokens, minlength=vocabulary)
        return counts_V

    def trained(self) -> dict[str, nn.Parameter]:
        own = {id(p) for p in [*self.head.dense_parameters(), *self.head.sparse_parameters()]}
        return {name: p for name, p in super().trained().items() if id(p) in own}

    def batches(self, epoch: int) -> list[IntArray]:
        rng = epoch_generator(self.settings.seed, self.order, epoch)
        budget, most = self.settings.batch_tokens, self.settings.max_batch
        return list(token_budget_batches(self.lengths_N, budget=budget, max_batch=most, rng=rng))

    def loss(self, indices: IntArray) -> Loss:
        """Mean over tokens, not texts: a long text says more about the language."""
        batch = self.codec.collate([self._encoded(int(index)) for index in indices])
        return Loss(self.head.loss(to_tensors(batch)), int(batch.lengths_W.sum()))

    def _encoded(self, index: int) -> Any:
        labelled = len(self.stores[0])
        one = self.stores[0].encoded(index) if index < labelled else self.stores[1].encoded(index - labelled)
        # An n-gram that ends at a token names the token before it, which the backward direction is to predict.
        return one._replace(ngram_rows=one.ngram_rows[:0], local=np.zeros_like(one.local))
