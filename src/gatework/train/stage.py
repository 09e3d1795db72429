"""A stage of training: what the loop needs to know of what it trains. Pre-training is one, fine-tuning another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from gatework.core.batch import IntArray
from gatework.core.recipe import TrainSection
from gatework.train.parallel import Group

Weights = dict[str, npt.NDArray[Any]]


class Loss(NamedTuple):
    """The loss of some examples."""

    value: Tensor
    """Mean over the examples, a scalar with a gradient."""
    tokens: int
    """Tokens read for it, for the speed."""


class Stage(ABC):
    """One pass over the epochs of something. What training changes is the weights of `module`, and `state`."""

    name: str
    order: int
    """Place of the stage among all; decides its seed."""
    module: nn.Module
    settings: TrainSection
    epochs: int
    tokens: int
    """Tokens of an epoch, for estimates."""
    dev_tokens: int = 0
    """Tokens of an evaluation; 0 for a stage without one."""
    averaged: bool = True
    """Whether the weights are averaged as the recipe says."""
    judged_first: bool = False
    """Whether the weights that the stage begins with are evaluated too, and may be the best."""

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters this stage changes, by their names in `module`."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def begin(self, before: Weights) -> None:  # noqa: B027 - most stages go on with the weights as they are
        """Take over what the stage before kept as its best, before the first step; not called on resuming."""

    @abstractmethod
    def batches(self, epoch: int) -> list[IntArray]:
        """The batches of an epoch, as indices of examples. A function of seed and epoch alone."""

    def state(self) -> Weights:
        """What beside the weights a later step depends on, such as recurrent states, for a checkpoint."""
        return {}

    def load_state(self, arrays: Weights) -> None:  # noqa: B027 - most stages have none
        """Take over what `state` gave."""

    @abstractmethod
    def loss(self, indices: IntArray) -> Loss:
        """Loss of some examples; `module` is in training mode."""

    def evaluate(self, group: Group) -> dict[str, Any] | None:
        """Dev metrics, each process working out its share; None for a stage that is not evaluated."""
        return None

    def keep(self) -> Weights:
        """What to keep when an epoch is the best so far, just after `evaluate`."""
        return {}


def epoch_generator(seed: int, order: int, epoch: int) -> np.random.Generator:
    """Decides the order of the examples of one epoch. No state to keep: a resumed epoch draws the same again."""
    return np.random.default_rng([seed, order, epoch])


def stage_seed(seed: int, order: int, rank: int) -> int:
    """Seed of torch's generator (dropout masks) at the start of a stage, another one in each process."""
    return int(np.random.SeedSequence([seed, order, rank, 0x6A7E]).generate_state(1, np.uint64)[0] >> np.uint64(1))
