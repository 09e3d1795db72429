"""Averages of the weights along the course, for evaluation and export.

    ema    a' = d a + (1 - d) w,  d = min(decay, (1 + n) / (10 + n)) at the n-th step
    mean   a  = the mean of w over the second half of the course
    triggered  a  = the mean of w from when `begin` is called (NT-ASGD)

Large tables make an average as dear as a dense update, so it is taken every `STRIDE` steps, with d^STRIDE in the place
of d. Sources: Polyak and Juditsky, SIAM J. Control Optim. 30(4), 1992; Tarvainen and Valpola, arXiv:1703.01780;
Merity, Keskar and Socher, arXiv:1708.02182, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

STRIDE = 8
"""Steps between two updates of the average."""


class Average:
    """The running average of some parameters; with kind `none`, or before it has begun, the parameters themselves."""

    def __init__(
        self, kind: Literal["none", "ema", "mean", "triggered"], decay: float, parameters: Mapping[str, nn.Parameter]
    ) -> None:
        self.kind = kind
        self.decay = decay
        self.parameters = dict(parameters)
        self.tensors: dict[str, Tensor] = {}
        self.count = 0
        """Updates so far."""

    @torch.no_grad()
    def update(self, step: int, progress: float) -> None:
        """Take in the weights after step number `step`, when the part `progress` of the course is done."""
        if self.kind == "none" or step % STRIDE or (self.kind == "mean" and progress < 0.5):
            return
        if not self.tensors:
            if self.kind == "triggered":
                return
            self.tensors = self._now()
        self.count += 1
        share = 1.0 - self._decay(step) ** STRIDE if self.kind == "ema" else 1.0 / self.count
        for name, parameter in self.parameters.items():
            self.tensors[name].lerp_(parameter, share)

    def begin(self) -> bool:
        """Begin a `triggered` average with the weights as they are. Returns whether it has not begun before."""
        if self.kind != "triggered" or self.tensors:
            return False
        self.tensors, self.count = self._now(), 1
        return True

    def _now(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.parameters.items()}

    def _decay(self, step: int) -> float:
        """Young averages forget faster, or they would remember the random start."""
        return min(self.decay, (1.0 + step) / (10.0 + step))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the parameters hold the average. Nothing is copied, so they come back bit for bit."""
        own = {name: self.parameters[name].data for name in self.tensors}
        try:
            for name, tensor in self.tensors.items():
                self.parameters[name].data = tensor
            yield
        finally:
            for name, tensor in own.items():
                self.parameters[name].data = tensor

    def load(self, tensors: Mapping[str, Tensor], count: int) -> None:
        """Take over `tensors` and `count` of a checkpoint."""
        self.tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        self.count = count
