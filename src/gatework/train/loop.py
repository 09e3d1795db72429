"""The training loop: one for every stage, explicit from the batch to the step.

    for each epoch
        for each group of batches
            learning rate  <- schedule(progress)
            gradient       <- mean over the group's examples, summed over processes, clipped
            weights        <- optimiser
            average        <- weights
        dev metrics of the (averaged) weights; keep the best; stop when patience is over
        checkpoint

The course is a function of recipe, data, seed, threads and number of processes; with a time budget, of the clock too.
Checkpoints, progress and logging read it and never change it. Whatever a later step depends on is in `Course`, in the
weights, in the optimisers, in the average, in the stage's state or in torch's generator, and all six are in every
checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatework.core.batch import IntArray
from gatework.core.errors import ConfigError, Interrupted
from gatework.core.recipe import TrainSection
from gatework.train.averaging import Average
from gatework.train.checkpoint import Arrays, Checkpoint, Keeper
from gatework.train.clock import Clock
from gatework.train.interrupt import InterruptFlag
from gatework.train.optimisers import Optimisers
from gatework.train.parallel import Group
from gatework.train.progress import Progress, Reporter
from gatework.train.schedule import PLATEAU_FACTOR, factor
from gatework.train.stage import Loss, Stage, Weights, stage_seed

PRETRAIN_SHARE = 0.5
"""Part of the time left that a stage before the last may use."""


@dataclass(kw_only=True)
class Course:
    """Where a stage is. Plain numbers, so that JSON keeps it without loss."""

    stage: str
    epoch: int = 0
    """Epochs finished."""
    position: int = 0
    """Batches of the epoch under way that are done."""
    step: int = 0
    progress: float = 0.0
    """Part of the stage that is done; never falls."""
    loss_sum: float = 0.0
    """Of the epoch under way, over its steps."""
    loss_steps: int = 0
    plateau: float = 1.0
    best_score: float | None = None
    best_epoch: int = 0
    stale: int = 0
    """Epochs since the best."""
    finished: str = ""
    """Why the stage ended; empty while it has not."""
    began: float = 0.0
    """Seconds of the run before this stage."""
    seconds: float = 0.0
    """Seconds of the run at the last checkpoint."""
    stage_seconds: float = 0.0
    """Seconds spent in stages: steps and evaluations, this stage's and those before it."""
    train_seconds: float = 0.0
    """Seconds spent on steps."""
    tokens: int = 0
    """Tokens those steps read."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry an epoch: loss and dev metrics."""

    @property
    def loss(self) -> float:
        """Mean loss of the epoch so far."""
        return self.loss_sum / max(1, self.loss_steps)

    @property
    def rate(self) -> float:
        """Seconds a token takes to train on."""
        return self.train_seconds / max(1, self.tokens)


@dataclass(kw_only=True)
class Surroundings:
    """What every stage of a run shares."""

    settings: TrainSection
    group: Group
    clock: Clock
    keeper: Keeper
    reporter: Reporter
    interrupt: InterruptFlag
    identity: dict[str, Any]
    """What a checkpoint must agree with to be resumed."""
    higher_is_better: bool
    how_to_go_on: str
    """A command, for the message when interrupted."""


class Loop:
    """Runs one stage, from its start or from a checkpoint of it."""

    def __init__(self, stage: Stage, around: Surroundings, *, last: bool = True) -> None:
        self.stage = stage
        self.around = around
        self.settings = stage.settings
        self.group = around.group
        self.last = last
        """Whether this is the last stage, which may use all the time that is left."""
        self.course = Course(stage=stage.name, began=around.clock.elapsed())
        self.optimisers = Optimisers(stage.module, stage.trained(), self.settings)
        kind = self.settings.averaging if stage.averaged else "none"
        named = {**self.optimisers.dense, **self.optimisers.sparse}
        self.average = Average(kind, self.settings.average_decay, named)
        self.best: Weights = {}
        torch.manual_seed(stage_seed(self.settings.seed, stage.order, self.group.rank))

    def run(self) -> None:
        """Train until the epochs, the patience or the time is over."""
        if self.stage.judged_first and not self.course.step and self.course.best_score is None:
            self._look(0)
        while not self.course.finished:
            if self.course.epoch >= self.stage.epochs:
                self._finish("epochs")
            else:
                self._epoch()

    def _finish(self, reason: str) -> None:
        self.course.finished = reason
        self.around.reporter.note("finished", stage=self.stage.name, reason=reason, step=self.course.step)
        self.save()

    def _epoch(self) -> None:
        course = self.course
        batches = self.stage.batches(course.epoch)
        self.stage.module.train()
        out_of_time = False
        while course.position < len(batches) and not out_of_time:
            micro = batches[course.position : course.position + self.settings.accumulate]
            done = (course.epoch + (course.position + len(micro) / 2) / len(batches)) / self.stage.epochs
            course.progress, out_of_time = self._controls(done)
            if not out_of_time:
                self._step(micro)
                course.position += len(micro)
        # Out of time before the first step of an epoch, there is nothing new to evaluate.
        if course.position:
            self._end_epoch()
        if out_of_time:
            self._finish("time")
        elif course.stale >= self.settings.patience:
            self._finish("patience")
        else:
            self.save()

    def _controls(self, done: float = 0.0) -> tuple[float, bool]:
        """Progress and whether time is up, the same in all processes; saves and stops where that is due."""
        time_part, over = self._time()
        due = self.group.first and self.course.step > 0 and self.around.keeper.due()
        asked = [max(self.course.progress, done, time_part), over, due, self.around.interrupt.raised]
        progress, out_of_time, save, stop = self.group.highest([float(value) for value in asked])
        if save or stop:
            self.save()
        if stop:
            where = f"epoch {self.course.epoch + 1}, step {self.course.step}"
            raise Interrupted(f"stopped at {where}; a checkpoint is kept. Go on with: {self.around.how_to_go_on}")
        return min(1.0, progress), bool(out_of_time) and self.course.step > 0

    def _time(self) -> tuple[float, bool]:
        """Part of the stage's time that is used, and whether there is none for another step."""
        clock, course = self.around.clock, self.course
        if not clock.limited:
            return 0.0, False
        end = clock.budget - clock.reserve(self.stage.dev_tokens, course.rate)
        span = end - course.began if self.last else PRETRAIN_SHARE * (end - course.began)
        used = clock.elapsed() - course.began
        step_seconds = course.train_seconds / max(1, course.step)
        return min(1.0, used / span) if span > 0 else 1.0, used + step_seconds >= span

    def _step(self, micro: Sequence[IntArray]) -> None:
        """One update from the mean loss over the batches of `micro`."""
        begun = time.monotonic()
        course, settings = self.course, self.settings
        rate = factor(settings.schedule, course.progress, warmup=settings.warmup) * course.plateau
        self.optimisers.set_rate(rate)
        self.optimisers.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for batch in micro:
            share = self.group.share(batch)
            if len(share):
                loss = self._forward(share)
                weighted = loss.value * (len(share) / (len(batch) * len(micro)))
                weighted.backward()  # type: ignore[no-untyped-call]
                total += weighted.detach()
                course.tokens += loss.tokens * self.group.size
        self.group.sum_gradients(self.optimisers.dense.values(), self.optimisers.sparse.values())
        value = float(self.group.sum(total))
        if not math.isfinite(value):
            raise ConfigError(
                f"train.learning_rate {settings.learning_rate}: the loss became {value} at step {course.step + 1} "
                f"of stage {self.stage.name!r}. Set a lower learning rate, or a smaller train.clip_norm."
            )
        self.optimisers.clip(settings.clip_norm)
        self.optimisers.step()
        course.step += 1
        self.average.update(course.step, course.progress)
        course.loss_sum += value
        course.loss_steps += 1
        course.train_seconds += time.monotonic() - begun
        course.stage_seconds += time.monotonic() - begun
        self._tell(rate)

    def _forward(self, indices: IntArray) -> Loss:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.settings.precision == "bf16"):
            return self.stage.loss(indices)

    def _end_epoch(self) -> None:
        self._look(self.course.epoch + 1)
        course = self.course
        course.epoch += 1
        course.position, course.loss_sum, course.loss_steps = 0, 0.0, 0

    def _look(self, epoch: int) -> None:
        """Evaluate, keep the best, and count the patience. Epoch 0 is before the first."""
        course, begun = self.course, time.monotonic()
        self.stage.module.eval()
        with self.average.applied(), torch.no_grad():
            metrics = self.stage.evaluate(self.group)
            if metrics is not None:
                self.around.clock.evaluated(self.stage.dev_tokens, time.monotonic() - begun)
                self._judge(metrics, epoch)
        course.stage_seconds += time.monotonic() - begun
        scalars = {name: value for name, value in (metrics or {}).items() if isinstance(value, float)}
        facts = {"stage": self.stage.name, "epoch": epoch, "loss": course.loss, "dev": scalars}
        course.history.append({**facts, "best": course.best_epoch == epoch})
        self.around.reporter.epoch(facts, course.step)
        self.around.reporter.history(course.history)

    def _judge(self, metrics: dict[str, Any], epoch: int) -> None:
        course, name = self.course, self.settings.metric
        if name not in metrics or not isinstance(metrics[name], int | float):
            known = ", ".join(sorted(key for key, value in metrics.items() if isinstance(value, int | float)))
            raise ConfigError(f"train.metric {name!r} is no metric of this task. Known: {known}.")
        score = float(metrics[name]) if self.around.higher_is_better else -float(metrics[name])
        # Of equals the later one: on few dev examples a tie says little, and the later weights moved less at last.
        if course.best_score is None or score >= course.best_score:
            course.best_score, course.best_epoch, course.stale = score, epoch, 0
            self.best = self.stage.keep()
        elif course.progress >= self.settings.warmup:  # while rates rise, scores say nothing yet
            course.stale += 1
            if self.settings.schedule == "plateau":
                course.plateau *= PLATEAU_FACTOR
            if course.stale >= self.settings.average_after and self.average.begin():
                course.stale = 0

    def _tell(self, rate: float) -> None:
        course = self.course
        used = self.around.clock.elapsed() - course.began
        left = used * (1.0 - course.progress) / max(1e-9, course.progress)
        self.around.reporter.step(
            Progress(
                stage=self.stage.name,
                epoch=course.epoch + 1,
                epochs=self.stage.epochs,
                step=course.step,
                fraction=course.progress,
                loss=course.loss,
                learning_rate=rate,
                tokens_per_second=course.tokens / max(1e-9, course.train_seconds),
                seconds_left=left,
            )
        )

    def save(self) -> None:
        """Write a checkpoint. Every process takes part; the first writes."""
        self.course.seconds = self.around.clock.elapsed()
        random = self.group.gather(torch.get_rng_state())
        if not self.group.first:
            return
        moments, numbers = self.optimisers.state()
        arrays: Arrays = {f"random/{rank}": state.numpy() for rank, state in enumerate(random)}
        parts: list[tuple[str, dict[str, Tensor]]] = [
            ("model", self.stage.module.state_dict()),
            ("optimizer", moments),
            ("average", self.average.tensors),
        ]
        for prefix, tensors in parts:
            arrays.update({f"{prefix}/{name}": tensor.detach().numpy() for name, tensor in tensors.items()})
        arrays.update({f"best/{name}": array for name, array in self.best.items()})
        arrays.update({f"stage/{name}": array for name, array in self.stage.state().items()})
        state = {
            "course": asdict(self.course),
            "optimizer": numbers,
            "average_count": self.average.count,
            "identity": self.around.identity,
        }
        self.around.keeper.save(state, arrays)

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this stage."""
        self.course = Course(**checkpoint.state["course"])
        self.around.clock.carried = self.course.seconds
        self.stage.module.load_state_dict(checkpoint.tensors("model"))
        self.optimisers.load(checkpoint.tensors("optimizer"), checkpoint.state["optimizer"])
        self.average.load(checkpoint.tensors("average"), checkpoint.state["average_count"])
        self.best = {name: np.array(array) for name, array in checkpoint.under("best").items()}
        self.stage.load_state(checkpoint.under("stage"))
        torch.set_rng_state(checkpoint.tensors("random")[str(self.group.rank)])
