"""The stage that learns tags: labelled sentences through a `nn.Tagger`.

    loss = sum over tag layers of the mean over sentences of -log p(tags), over the mean length of training sentences

so that it is near nats a token, whatever a batch holds. Dev sentences are tagged by the kernels that a bundle answers
with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatework.core.batch import IntArray, token_budget_batches
from gatework.core.errors import ConfigError
from gatework.core.windows import cut_all
from gatework.nn import Tagger, to_tensors
from gatework.tasks import Prepared, Task
from gatework.train.parallel import Group
from gatework.train.stage import Loss, Stage, Weights, epoch_generator

EVALUATE_TOKENS = 4
"""An evaluation batch holds as many times the tokens of a training batch: no gradients are kept."""


class Tagging(Stage):
    """Trains `network` on `prepared.train`, evaluates it on `prepared.dev`."""

    name = "train"
    order = 1

    def __init__(self, task: Task, prepared: Prepared, network: Tagger) -> None:
        self.settings = settings = prepared.recipe.train
        for name, plain in (("class_weights", "none"), ("focal_gamma", 0.0)):
            if getattr(settings, name) != plain:
                raise ConfigError(f"train.{name} is for classification. Leave it at {plain!r} for tagging.")
        self.task, self.prepared = task, prepared
        self.network = self.module = network
        self.epochs = settings.epochs
        self.lengths_N = np.asarray(prepared.train.lengths_N)
        self.tokens = int(self.lengths_N.sum())
        self.dev_tokens = int(np.sum(prepared.dev.lengths_N))
        self.mean_length = self.tokens / max(1, len(self.lengths_N))
        self.window = prepared.architecture.window
        self._tags: Weights = {}

    def batches(self, epoch: int) -> list[IntArray]:
        rng = epoch_generator(self.settings.seed, self.order, epoch)
        budget, most = self.settings.batch_tokens, self.settings.max_batch
        return list(token_budget_batches(self.lengths_N, budget=budget, max_batch=most, rng=rng))

    def loss(self, indices: IntArray) -> Loss:
        store = self.prepared.train
        emissions, lengths_B = self._emissions(store, indices)
        targets = [store.targets_of(int(index)).reshape(-1, self.lengths_N[index]) for index in indices]
        tags = _padded(targets, lengths_B.numpy(), len(emissions))
        value = self.network.loss(emissions, tags, lengths_B) / self.mean_length
        return Loss(value, int(lengths_B.sum()))

    def evaluate(self, group: Group) -> dict[str, Any]:
        """Metrics of the dev sentences; each process works on every so manieth batch."""
        dev = self.prepared.dev
        starts_N = np.concatenate([[0], np.cumsum(dev.lengths_N)])
        budget, most = EVALUATE_TOKENS * self.settings.batch_tokens, EVALUATE_TOKENS * self.settings.max_batch
        batches = list(token_budget_batches(dev.lengths_N, budget=budget, max_batch=most))
        found = [torch.zeros(int(starts_N[-1]), dtype=torch.int32) for _ in self.prepared.architecture.layers]
        for indices in batches[group.rank :: group.size]:
            emissions, lengths_B = self._emissions(dev, indices)
            live_BL = np.arange(emissions[0].shape[1]) < lengths_B.numpy()[:, None]
            places = (starts_N[indices][:, None] + np.arange(live_BL.shape[1]))[live_BL]
            for tags_N, tags_BL in zip(found, self.network.decode(emissions, lengths_B), strict=True):
                tags_N[torch.from_numpy(places)] = tags_BL[torch.from_numpy(live_BL)].int()
        names = ["tags", *(f"tags.{layer}" for layer in range(1, len(found)))]
        outputs = {name: group.sum(tags_N).numpy() for name, tags_N in zip(names, found, strict=True)}
        self._tags = {f"dev/{name}": array for name, array in outputs.items()}
        return self.task.score(self.prepared, outputs)

    def keep(self) -> Weights:
        """The weights, and the dev tags they gave."""
        return {f"weights/{name}": array for name, array in self.network.to_weights().items()} | self._tags

    def _emissions(self, store: Any, indices: IntArray) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Emissions of some sentences of a store, (B, L, C) for each tag layer, and the sentences' lengths."""
        pieces = cut_all([store.encoded(int(index)) for index in indices], self.window)
        rows_BL = None if pieces.rows_BL is None else torch.from_numpy(pieces.rows_BL)
        batch = to_tensors(self.prepared.codec.collate(pieces.encoded))
        return self.network(batch, rows_BL), torch.from_numpy(pieces.lengths_B)


def _padded(targets: list[npt.NDArray[Any]], lengths_B: IntArray, layers: int) -> list[torch.Tensor]:
    """Ragged targets, (layers, T) each, as an int64 (B, L) for each layer, 0 past each length."""
    live_BL = np.arange(int(lengths_B.max())) < lengths_B[:, None]
    joined = np.concatenate(targets, axis=1)
    padded = np.zeros((layers, *live_BL.shape), dtype=np.int64)
    padded[:, live_BL] = joined
    return [torch.from_numpy(one) for one in padded]
