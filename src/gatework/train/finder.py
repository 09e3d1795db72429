"""The learning-rate finder: a short run whose rate grows from tiny to too large, and the loss along it.

The rate worth taking is where the loss falls fastest, well below where it begins to rise.
Source: Smith, arXiv:1506.01186.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatework.core.batch import IntArray
from gatework.core.errors import ConfigError
from gatework.core.recipe import Recipe
from gatework.tasks import TASKS
from gatework.train.fitting import build_network, learning_stage, own_world, silent
from gatework.train.optimisers import Optimisers
from gatework.train.stage import Stage

SMOOTHING = 0.9
"""Weight of the past in the smoothed loss."""
SETTLING = 10
"""First steps, whose smoothed loss says more about which batches they had than about the rate."""
DIVERGED = 2.0
"""The sweep ends when the smoothed loss is this many times its lowest."""


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """Loss by learning rate."""

    curve: tuple[tuple[float, float], ...]
    """Learning rates, rising, each with the smoothed training loss."""
    suggestion: float
    """The rate at which the loss falls fastest."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_learning_rate(
    recipe: Recipe,
    *,
    lowest: float = 1e-5,
    highest: float = 1.0,
    steps: int = 100,
    say: Callable[[str], None] = silent,
) -> RateCurve:
    """Sweep the learning rate of a recipe and suggest one for `train.learning_rate`.

    Args:
        recipe: what would be trained. The lazy tables' rate grows in proportion.
        lowest, highest: ends of the sweep, spaced evenly in the logarithm.
        steps: updates from one end to the other.
        say: told what was inferred about the data.
    Raises: ConfigError: the ends or the steps make no sense, or the loss never falls. DataError: see `Task.prepare`.
    """
    if not 0.0 < lowest < highest or steps < 2 * SETTLING:
        raise ConfigError(
            f"a sweep needs 0 < lowest < highest and {2 * SETTLING} steps, got {lowest}, {highest}, {steps}."
        )
    task = TASKS[recipe.task]
    with own_world(recipe.train.seed), tempfile.TemporaryDirectory(prefix="gatework-") as folder:
        if recipe.train.threads:
            torch.set_num_threads(recipe.train.threads)
        prepared = task.prepare(recipe, Path(folder), say)
        stage = learning_stage(task, prepared, build_network(prepared))
        rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
        return _curve(rates, list(_sweep(stage, rates)))


def _sweep(stage: Stage, rates: list[float]) -> Iterator[float]:
    """Losses before the step at each rate, until they diverge."""
    settings = stage.settings
    optimisers = Optimisers(stage.module, stage.trained(), settings)
    stage.module.train()
    batches: Iterator[IntArray] = (batch for epoch in itertools.count() for batch in stage.batches(epoch))
    smooth, best = 0.0, math.inf
    for step, (rate, batch) in enumerate(zip(rates, batches, strict=False), start=1):
        optimisers.set_rate(rate / settings.learning_rate)
        optimisers.zero_grad()
        loss = stage.loss(batch).value
        smooth = SMOOTHING * smooth + (1.0 - SMOOTHING) * float(loss.detach())
        unbiased = smooth / (1.0 - SMOOTHING**step)
        if step > SETTLING:
            best = min(best, unbiased)
        if not math.isfinite(unbiased) or unbiased > DIVERGED * best:
            return
        yield unbiased
        loss.backward()  # type: ignore[no-untyped-call]
        optimisers.clip(settings.clip_norm)
        optimisers.step()


def _curve(rates: list[float], losses: list[float]) -> RateCurve:
    """Settled part of the sweep, and the rate in the middle of its steepest fall."""
    rates, losses = rates[SETTLING : len(losses)], losses[SETTLING:]
    lowest = int(np.argmin(losses)) if losses else 0
    # A slope over a tenth of the sweep or so: neighbouring losses differ by chance.
    span = max(1, min(lowest, len(losses) // 10))
    if lowest < 2:
        raise ConfigError("the loss fell at no learning rate of the sweep. Sweep from a lower rate, or more steps.")
    falls = np.array([losses[start] - losses[start + span] for start in range(lowest - span + 1)])
    steepest = int(np.argmax(falls)) + span // 2
    return RateCurve(curve=tuple(zip(rates, losses, strict=True)), suggestion=rates[steepest])
