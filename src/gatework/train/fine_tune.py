"""The stage that learns the task: labelled examples through the whole network.

    loss = objective(deep) + objective(wide)

The deep and the wide part are each asked for the answer alone, so that both learn; answers come from their sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatework.core.batch import IntArray, token_budget_batches
from gatework.nn import Loss as Objective
from gatework.nn import Network, balanced_class_weights, to_tensors
from gatework.tasks import Prepared, Task
from gatework.train.parallel import Group
from gatework.train.stage import Loss, Stage, Weights, epoch_generator

EVALUATE_TOKENS = 4
"""An evaluation batch holds as many times the tokens of a training batch: no gradients are kept."""


class FineTune(Stage):
    """Trains `network` on `prepared.train`, evaluates it on `prepared.dev`."""

    name = "train"
    order = 1

    def __init__(self, task: Task, prepared: Prepared, network: Network) -> None:
        settings = prepared.recipe.train
        self.task = task
        self.prepared = prepared
        self.network = network
        self.module = network
        self.epochs = settings.epochs
        self.settings = settings
        self.lengths_N = np.asarray(prepared.train.lengths_N)
        self.tokens = int(self.lengths_N.sum())
        self.dev_tokens = int(np.sum(prepared.dev.lengths_N))
        self.targets = prepared.train.targets
        self.objective = Objective(
            multi_label=prepared.loss == "sigmoid",
            label_smoothing=settings.label_smoothing,
            class_weights_C=self._class_weights(),
            focal_gamma=settings.focal_gamma,
        )
        self._answers: Weights = {}

    def _class_weights(self) -> Tensor | None:
        if self.settings.class_weights == "none":
            return None
        targets, outputs = np.asarray(self.targets), self.prepared.architecture.outputs
        counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=outputs)
        return balanced_class_weights([int(count) for count in counts])

    def batches(self, epoch: int) -> list[IntArray]:
        rng = epoch_generator(self.settings.seed, self.order, epoch)
        budget, most = self.settings.batch_tokens, self.settings.max_batch
        return list(token_budget_batches(self.lengths_N, budget=budget, max_batch=most, rng=rng))

    def loss(self, indices: IntArray) -> Loss:
        batch = self.prepared.codec.collate([self.prepared.train.encoded(int(i)) for i in indices])
        targets = torch.from_numpy(np.array(self.targets[indices]))
        return Loss(self.objective(self.network(to_tensors(batch)), targets), int(batch.lengths_W.sum()))

    def evaluate(self, group: Group) -> dict[str, Any]:
        """Metrics of the dev examples; each process works on every so manieth batch."""
        dev = self.prepared.dev
        budget, most = EVALUATE_TOKENS * self.settings.batch_tokens, EVALUATE_TOKENS * self.settings.max_batch
        batches = list(token_budget_batches(dev.lengths_N, budget=budget, max_batch=most))
        logits_NC = torch.zeros(len(dev), self.prepared.architecture.outputs)
        empty_N = torch.zeros(len(dev), dtype=torch.uint8)
        for indices in batches[group.rank :: group.size]:
            encoded = [dev.encoded(int(i)) for i in indices]
            logits_NC[indices] = self.network(to_tensors(self.prepared.codec.collate(encoded))).total
            empty_N[indices] = torch.tensor([one.empty for one in encoded], dtype=torch.uint8)
        outputs = {"logits": group.sum(logits_NC).numpy(), "empty": group.sum(empty_N).numpy()}
        self._answers = {f"dev/{name}": array for name, array in outputs.items()}
        return self.task.score(self.prepared, outputs)

    def keep(self) -> Weights:
        """The weights, and the dev logits they gave: temperature and thresholds are chosen on those."""
        return {f"weights/{name}": array for name, array in self.network.to_weights().items()} | self._answers
