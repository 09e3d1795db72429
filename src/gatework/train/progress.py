"""What a run tells while it runs: a callback for a progress bar, the log, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gatework.train.run_folder import RunFolder

REFRESH_SECONDS = 0.2
LOG_STEPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a run is. Given to the `progress` callback a few times a second."""

    stage: str
    """`pretrain`, `train` or `evaluate`."""
    epoch: int
    """The epoch under way, counted from 1."""
    epochs: int
    step: int
    """Steps taken in this stage."""
    fraction: float
    """Part of the stage that is done, in [0, 1]."""
    loss: float
    """Mean training loss of the epoch so far."""
    learning_rate: float
    """Factor of the highest learning rate."""
    tokens_per_second: float
    """Training tokens a second, evaluation not counted."""
    seconds_left: float
    """Estimate of the time to the end of the stage."""


ProgressCallback = Callable[[Progress], None]


class Reporter:
    """Passes progress on, at most every `REFRESH_SECONDS`; writes log and TensorBoard. Silent when `quiet`."""

    def __init__(self, folder: RunFolder, *, progress: ProgressCallback | None, quiet: bool = False) -> None:
        self._folder = folder
        self._progress = progress
        self._quiet = quiet
        self._last = 0.0
        self._board = None if quiet else _tensorboard(folder)

    def step(self, now: Progress) -> None:
        """After each step."""
        if self._quiet:
            return
        if self._progress is not None and time.monotonic() - self._last >= REFRESH_SECONDS:
            self._last = time.monotonic()
            self._progress(now)
        if now.step % LOG_STEPS == 0:
            facts = {
                "loss": round(now.loss, 6),
                "learning_rate": round(now.learning_rate, 6),
                "tokens_per_second": round(now.tokens_per_second),
                "seconds_left": round(now.seconds_left, 1),
            }
            self._folder.log("step", stage=now.stage, epoch=now.epoch, step=now.step, **facts)
            self._scalars(now.stage, facts, now.step)

    def epoch(self, facts: Mapping[str, Any], step: int) -> None:
        """After each epoch: stage, number, loss and dev metrics."""
        if not self._quiet:
            self._folder.log("epoch", step=step, **facts)
            self._scalars(f"{facts['stage']}/dev", facts["dev"], step)

    def history(self, history: list[dict[str, Any]]) -> None:
        """All epochs so far, for the metrics file."""
        if not self._quiet:
            self._folder.write_history(history)

    def note(self, event: str, **facts: Any) -> None:
        """Something that happened once."""
        if not self._quiet:
            self._folder.log(event, **facts)

    def _scalars(self, group: str, facts: Mapping[str, Any], step: int) -> None:
        if self._board is not None:
            for name, value in facts.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write out what is held back."""
        if self._board is not None:
            self._board.close()


def _tensorboard(folder: RunFolder) -> Any:
    """A TensorBoard writer, or None where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder.tensorboard))
