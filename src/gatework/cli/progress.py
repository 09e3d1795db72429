"""Training progress on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from gatework.cli.output import say

LINE_SECONDS = 10.0
"""Time between two lines where there is no terminal."""


class TrainingProgress:
    """A `progress` callback and a `say` that keep out of each other's way. A context manager."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._row: Any = None
        self._next_line = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> TrainingProgress:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, sentence: str) -> None:
        """A sentence above the bar."""
        if self._bar is None:
            say(sentence)
        else:
            self._bar.console.print(sentence, markup=False, highlight=False)

    def __call__(self, now: Any) -> None:
        """Where training is: a `gatework.train.Progress`."""
        text = (
            f"{now.stage}, epoch {now.epoch}/{now.epochs}, loss {now.loss:.4f}, {now.tokens_per_second:,.0f} tokens/s"
        )
        if self._bar is not None:
            if self._row is None:
                self._row = self._bar.add_task(text, total=1.0, left="?")
            self._bar.update(self._row, description=text, completed=now.fraction, left=_clock(now.seconds_left))
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            say(f"{text}, {100 * now.fraction:.0f} %, {_clock(now.seconds_left)} left")


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]} left", markup=False),
    ]
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _clock(seconds: float) -> str:
    """Seconds as 4:05 or 1:02:03."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
