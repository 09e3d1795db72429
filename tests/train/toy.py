"""A stage with everything the loop must keep: a dense part, a sparse table, dropout and a dev score."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gatework.core.batch import token_budget_batches
from gatework.core.recipe import Recipe, TrainSection
from gatework.train.checkpoint import Keeper, latest
from gatework.train.clock import Clock
from gatework.train.fitting import own_world, run_stages, silent
from gatework.train.interrupt import InterruptFlag
from gatework.train.loop import Loop, Surroundings
from gatework.train.parallel import Group
from gatework.train.progress import Reporter
from gatework.train.run_folder import RunFolder
from gatework.train.stage import Loss, Stage, epoch_generator

EXAMPLES, DEV, WIDTH, ROWS = 96, 48, 6, 300


class ToyNetwork(nn.Module):
    """A linear map of dropped-out features plus a bag of rows."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(WIDTH, 16)
        self.out = nn.Linear(16, 2)
        self.ngrams = nn.EmbeddingBag(ROWS, 2, mode="sum", sparse=True)
        self.dropout = dropout

    def forward(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        h = nn.functional.dropout(torch.tanh(self.hidden(x)), self.dropout, self.training)
        return self.out(h) + self.ngrams(rows)


class ToyStage(Stage):
    """Learn a noisy rule. `order` 0 and the name `pretrain` make it a stage without an evaluation."""

    def __init__(self, settings: TrainSection, network: ToyNetwork, *, name: str = "train", slow: float = 0.0) -> None:
        self.name, self.order = name, int(name == "train")
        self.settings, self.epochs, self.slow = settings, settings.epochs, slow
        self.averaged = name == "train"
        self.network = self.module = network
        rng = np.random.default_rng(7)
        total = EXAMPLES + DEV
        self.lengths = rng.integers(3, 20, EXAMPLES)
        self.tokens, self.dev_tokens = int(self.lengths.sum()), DEV * 10
        self.x = torch.tensor(rng.normal(size=(total, WIDTH)), dtype=torch.float32)
        self.rows = torch.tensor(rng.integers(0, ROWS, (total, 5)))
        noise = torch.tensor(rng.normal(size=total) * 0.7, dtype=torch.float32)
        self.y = ((self.x[:, 0] * self.x[:, 1] + self.x[:, 2] + noise) > 0).long()
        self.evaluations = 0

    def batches(self, epoch: int) -> list[Any]:
        rng = epoch_generator(self.settings.seed, self.order, epoch)
        return list(token_budget_batches(self.lengths, budget=100, max_batch=12, rng=rng))

    def loss(self, indices: Any) -> Loss:
        if self.slow:
            time.sleep(self.slow)
        value = nn.functional.cross_entropy(self.network(self.x[indices], self.rows[indices]), self.y[indices])
        return Loss(value, int(self.lengths[indices].sum()))

    def evaluate(self, group: Group) -> dict[str, Any] | None:
        if self.name != "train":
            return None
        self.evaluations += 1
        logits = self.network(self.x[EXAMPLES:], self.rows[EXAMPLES:])
        nll = float(nn.functional.cross_entropy(logits, self.y[EXAMPLES:]))
        return {"accuracy": float((logits.argmax(1) == self.y[EXAMPLES:]).float().mean()), "nll": nll}

    def keep(self) -> dict[str, Any]:
        return {name: p.detach().numpy().copy() for name, p in self.network.named_parameters()}


def recipe(**train: Any) -> Recipe:
    """Two-threaded runs would only make the tests slower."""
    values = {"epochs": 4, "threads": 1, "checkpoint_seconds": 1e-6, "learning_rate": 0.02, "metric": "nll"}
    return Recipe.model_validate({"train": {**values, **train}})


def surroundings(wanted: Recipe, folder: RunFolder, **changes: Any) -> Surroundings:
    values: dict[str, Any] = {
        "settings": wanted.train,
        "group": Group(),
        "clock": Clock(budget=wanted.train.time_budget),
        "keeper": Keeper(folder.checkpoints, every_seconds=wanted.train.checkpoint_seconds),
        "reporter": Reporter(folder, progress=None),
        "interrupt": InterruptFlag(),
        "identity": {},
        "higher_is_better": wanted.train.metric != "nll",
        "how_to_go_on": "gatework train --resume RUN",
    }
    return Surroundings(**(values | changes))


def train(
    path: Path,
    wanted: Recipe,
    *,
    resume: bool = False,
    dropout: float = 0.3,
    pretrain: bool = False,
    slow: float = 0.0,
    **changes: Any,
) -> Loop:
    """Run the toy stages in a run folder."""
    folder = RunFolder(path)
    group = changes.get("group", Group())
    if group.first:
        folder.begin(wanted, resume=resume)
    group.wait()
    with own_world(wanted.train.seed):
        torch.set_num_threads(1)
        network = ToyNetwork(dropout)
        stages: list[Stage] = [ToyStage(wanted.train, network, slow=slow)]
        if pretrain:
            stages.insert(0, ToyStage(wanted.train, network, name="pretrain", slow=slow))
        around = surroundings(wanted, folder, **changes)
        # Overhead limits of real runs would leave out most checkpoints of one this short.
        around.keeper.due = lambda: True  # type: ignore[method-assign]
        return run_stages(stages, around, latest(folder.checkpoints, say=silent) if resume else None)


def digest(loop: Loop) -> str:
    """All that a run ends with, as one hash."""
    found = hashlib.sha256()
    arrays = [
        *sorted(loop.best.items()),
        *((name, p.numpy()) for name, p in sorted(loop.stage.module.state_dict().items())),
    ]
    for name, array in arrays:
        found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    found.update(repr([(entry["stage"], entry["loss"], entry["dev"]) for entry in loop.course.history]).encode())
    return found.hexdigest()
