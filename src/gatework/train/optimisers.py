"""The optimisers of one network: a dense one, and a lazy one for tables whose gradients are sparse.

A large table of n-gram rows or token vectors sees a few thousand of its rows in a step. Updating all of it costs more
than the rest of the step together, so its gradient is sparse and its optimiser touches only the rows that were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatework.core.recipe import TrainSection
from gatework.train.checkpoint import Numbers

NGRAMS = "ngrams."
"""Parameters whose name begins so take `train.sparse_learning_rate`."""
BERT = "inputs.bert.encoder."
"""Parameters whose name begins so take `train.bert_learning_rate`."""


class Optimisers:
    """Dense and lazy optimiser of the parameters `trained` of `module`, stepped as one.

    `dense` and `sparse` map the names of parameters to them.
    """

    def __init__(self, module: nn.Module, trained: Mapping[str, nn.Parameter], settings: TrainSection) -> None:
        lazy = _sparse_names(module)
        self.dense: dict[str, nn.Parameter] = {name: p for name, p in trained.items() if name not in lazy}
        self.sparse: dict[str, nn.Parameter] = {name: p for name, p in trained.items() if name in lazy}
        self._rates: list[tuple[dict[str, Any], float]] = []
        self._optimisers: list[torch.optim.Optimizer] = []
        if self.dense:
            self._add(_dense(_rate_groups(self.dense, settings), settings))
        if self.sparse:
            groups = [
                {"params": [p], "lr": settings.sparse_learning_rate if NGRAMS in name else settings.learning_rate}
                for name, p in self.sparse.items()
            ]
            self._add(_lazy(groups, settings))

    def _add(self, optimiser: torch.optim.Optimizer) -> None:
        self._optimisers.append(optimiser)
        self._rates += [(group, float(group["lr"])) for group in optimiser.param_groups]

    def set_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` of its highest value."""
        for group, highest in self._rates:
            group["lr"] = highest * factor

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)

    def clip(self, norm: float) -> float:
        """Scale the dense gradient down to the length `norm` where it is longer. Returns the length it had.

        Lazy rows are left alone: their optimiser is indifferent to the scale of a gradient, and the length of a
        sparse gradient says how many rows a batch read, not how steep the loss is.
        """
        return float(nn.utils.clip_grad_norm_(self.dense.values(), norm, foreach=False)) if self.dense else 0.0

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for optimiser in self._optimisers:
            optimiser.step()

    def state(self) -> tuple[dict[str, Tensor], Numbers]:
        """Moments by `parameter/key`, and the step counts that are plain numbers."""
        tensors: dict[str, Tensor] = {}
        numbers: Numbers = {}
        for name, key, value in self._entries():
            if isinstance(value, Tensor):
                tensors[f"{name}/{key}"] = value
            elif value is not None:
                numbers[f"{name}/{key}"] = value
        return tensors, numbers

    def _entries(self) -> list[tuple[str, str, Any]]:
        named = {**self.dense, **self.sparse}
        held: dict[Tensor, dict[str, Any]] = {}
        for optimiser in self._optimisers:
            held.update(optimiser.state)
        return [(name, key, value) for name, p in named.items() for key, value in held.get(p, {}).items()]

    def load(self, tensors: Mapping[str, Tensor], numbers: Numbers) -> None:
        """Take over what `state` gave, bit for bit."""
        named = {**self.dense, **self.sparse}
        for optimiser in self._optimisers:
            own = {id(p) for group in optimiser.param_groups for p in group["params"]}
            for entry, value in [*tensors.items(), *numbers.items()]:
                name, key = entry.rsplit("/", 1)
                if name in named and id(named[name]) in own:
                    optimiser.state[named[name]][key] = value.clone() if isinstance(value, Tensor) else value


def _sparse_names(module: nn.Module) -> set[str]:
    """Names of the parameters whose layers give sparse gradients."""
    return {
        f"{prefix}.weight" if prefix else "weight"
        for prefix, part in module.named_modules()
        if getattr(part, "sparse", False) is True and isinstance(getattr(part, "weight", None), nn.Parameter)
    }


def _rate_groups(dense: Mapping[str, nn.Parameter], settings: TrainSection) -> list[dict[str, Any]]:
    """The dense parameters by their highest learning rate: those of a BERT have one of their own."""
    fine = [p for name, p in dense.items() if name.startswith(BERT)]
    rest = [p for name, p in dense.items() if not name.startswith(BERT)]
    groups = [(rest, settings.learning_rate), (fine, settings.bert_learning_rate)]
    return [{"params": parameters, "lr": rate} for parameters, rate in groups if parameters]


def _dense(parameters: list[dict[str, Any]], settings: TrainSection) -> torch.optim.Optimizer:
    """The dense optimiser. The fused kernels do one pass over each parameter; unfused ones do about ten."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=settings.momentum, fused=True)


def _lazy(groups: list[dict[str, Any]], settings: TrainSection) -> torch.optim.Optimizer:
    """The lazy optimiser; momentum and decay have no lazy form, for they would move rows that were not read."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, foreach=False)
    return torch.optim.SparseAdam(groups)
