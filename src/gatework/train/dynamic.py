"""Dynamic evaluation: a language model learns on from the text it is measured on, each token after it was predicted.

    for each span of the text: count its nats, then
        w <- w - rate * gradient of their mean;    w <- w + decay * (w0 - w)

w0 are the weights as trained. Documents that are read alone each begin with w0.

Source: Krause, Kahembwe, Murray and Renals, arXiv:1709.07432, with plain gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gatework.core.errors import ConfigError, DataError
from gatework.core.quantize import SCALE
from gatework.nn import NextToken, StackState, detach_state
from gatework.runtime.tables import dense
from gatework.tasks.lm.evaluate import Document, encoded
from gatework.tasks.lm.metrics import Totals

if TYPE_CHECKING:
    from gatework.text.documents import Piece

END = 2
CLIP = 10.0
"""Largest norm of a gradient."""


def evaluate_dynamic(
    model: Any,
    examples: Iterable[Piece],
    *,
    rate: float,
    decay: float = 0.001,
    span: int = 20,
    source: str = "data",
) -> dict[str, Any]:
    """The metrics of `tasks.lm.metrics.Totals` while learning on.

    Args:
        model: a loaded language model that reads forward.
        examples: pieces of documents; read once.
        rate: of learning; 0 gives the model's own metrics.
        decay: how fast the weights go back, a step.
        span: tokens predicted with the same weights.
        source: name of the data for errors.
    Raises: ConfigError: an option is out of range, or the model reads backward alone. DataError: no text.
    """
    if not 0.0 <= rate < float("inf") or not 0.0 <= decay <= 1.0 or span < 1:
        raise ConfigError(f"dynamic evaluation: rate {rate}, decay {decay} and span {span} must be 0 or more.")
    architecture = model.bundle.architecture
    if "forward" not in architecture.language.directions:
        raise ConfigError("dynamic evaluation reads forward, but the model backward alone.")
    weights = model.bundle.weights
    arrays = {name: dense(weights, name) for name in weights.slots if not name.endswith(SCALE)}
    learner = _Learner(architecture, arrays, rate=rate, decay=decay, span=span)
    totals, carry = Totals(), model.codec.settings.carry
    for document in encoded(model.codec, examples, totals):
        if not carry:
            learner.begin()
        totals.nats += learner.read(document)
    if not totals.tokens:
        raise DataError(f"{source}: no text. Give a file with some.")
    return totals.metrics()


class _Learner:
    """A network on its way through a text."""

    def __init__(self, architecture: Any, arrays: dict[str, Any], *, rate: float, decay: float, span: int) -> None:
        self._network = NextToken(architecture)
        self._network.load_weights(arrays)
        self._network.eval()
        self._parameters = list(self._network.parameters())
        self._start = [p.detach().clone() for p in self._parameters]
        self._rate, self._decay, self._span = rate, decay, span
        self.begin()

    def begin(self) -> None:
        """Forget what was read."""
        self._state: StackState | None = None
        self._last = END
        with torch.no_grad():
            for parameter, start in zip(self._parameters, self._start, strict=True):
                parameter.copy_(start)

    def read(self, document: Document) -> float:
        """Nats of a document; the weights have learnt from it then."""
        return sum(self._step(ids) for ids in self._spans(document.ids.astype(np.int64)))

    def _spans(self, ids_T: Any) -> Iterator[Any]:
        for first in range(0, len(ids_T), self._span):
            yield ids_T[first : first + self._span]

    def _step(self, ids_T: Any) -> float:
        wanted = torch.from_numpy(ids_T)[None]
        read = torch.from_numpy(np.append(self._last, ids_T[:-1]))[None]
        self._last = int(ids_T[-1])
        cost = self._network.loss(read, wanted, "forward", state=self._state)
        self._state = detach_state(cost.state)
        if self._rate:
            for parameter in self._parameters:
                parameter.grad = None
            (cost.nats / len(ids_T)).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._parameters, CLIP)
            self._learn()
        return float(cost.nats.detach())

    @torch.no_grad()
    def _learn(self) -> None:
        for parameter, start in zip(self._parameters, self._start, strict=True):
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-self._rate).lerp_(start, self._decay)
