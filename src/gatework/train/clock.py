"""The time a run has used and may still use.

A run with a budget must end inside it with everything done: the last look at the dev data, the export, and the
evaluation of what was exported. None of these is known beforehand, so each is estimated from what was measured, and
training stops as soon as the next step would leave too little.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FORWARD_SHARE = 0.5
"""Time of a forward pass per token over that of a training step; about 0.35 when measured, more to be safe."""
MARGIN = 1.2
"""What estimates are multiplied with."""


class Clock:
    """Seconds since the run began, not counting the time it lay stopped.

    Args:
        budget: seconds the whole run may take; 0 for no limit.
        started: when it began, by `time.monotonic`.
    """

    def __init__(self, *, budget: float = 0.0, started: float | None = None) -> None:
        self.budget = budget
        self.started = time.monotonic() if started is None else started
        self.carried = 0.0
        """Seconds used before a resume."""
        self.finish: Callable[[float], float] | None = None
        """Seconds everything after training will take, from the seconds a token takes to evaluate."""
        self._evaluate_rate = 0.0

    @property
    def limited(self) -> bool:
        return self.budget > 0.0

    def elapsed(self) -> float:
        """Seconds used so far."""
        return self.carried + time.monotonic() - self.started

    def evaluated(self, tokens: int, seconds: float) -> None:
        """Learn from an evaluation of `tokens` tokens what a token takes."""
        self._evaluate_rate = max(self._evaluate_rate, seconds / max(1, tokens))

    def reserve(self, dev_tokens: int, train_rate: float) -> float:
        """Seconds to keep for the last evaluation and the end, when a token takes `train_rate` seconds to train on."""
        rate = self._evaluate_rate or FORWARD_SHARE * train_rate
        finish = self.finish(rate) if self.finish is not None else 0.0
        return MARGIN * (rate * dev_tokens + finish)
