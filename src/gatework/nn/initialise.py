"""How the weights of a recurrent layer begin.

Input matrices are Xavier uniform, recurrent ones orthogonal (or as the scheme says), biases zero, the forget gate's
bias `forget_bias`, gains one. A coupled cell has no forget gate; it forgets as much as it writes, so its input gate
begins at `-forget_bias`.

Sources: Glorot and Bengio 2010; Saxe et al., arXiv:1312.6120; Jozefowicz et al. 2015 (forget bias 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gatework.cells import Cell
from gatework.core.registry import Registry


def _truncated_normal(weight: Tensor) -> Tensor:
    """Normal with the variance of Glorot's rule, cut at two standard deviations."""
    deviation = (2.0 / sum(weight.shape)) ** 0.5
    return torch.nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


SCHEMES: Registry[Callable[[Tensor], Tensor]] = Registry(
    "initialisation",
    {
        "orthogonal": torch.nn.init.orthogonal_,
        "xavier": torch.nn.init.xavier_uniform_,
        "truncated-normal": _truncated_normal,
    },
)
"""Ways to fill a recurrent matrix. `truncated-normal` fills the input matrix the same way."""


@torch.no_grad()
def initialise(
    cell: Cell, parameters: Mapping[str, Tensor], *, forget_bias: float = 1.0, scheme: str = "orthogonal"
) -> None:
    """Fill a cell's parameters in place. Raises ConfigError for an unknown scheme."""
    fill = SCHEMES[scheme]
    for name, weight in parameters.items():
        if name.startswith("r_"):
            fill(weight)
        elif weight.ndim == 2:
            (_truncated_normal if scheme == "truncated-normal" else torch.nn.init.xavier_uniform_)(weight)
        elif name.startswith("g"):
            weight.fill_(1.0)
        else:
            weight.zero_()
    _remember(cell, parameters["b_G"], forget_bias)


def _remember(cell: Cell, b_G: Tensor, forget_bias: float) -> None:
    gate, sign = ("f", 1.0) if "f" in cell.gates else ("i", -1.0)
    if gate in cell.gates:
        units = len(b_G) // len(cell.gates)
        start = cell.gates.index(gate) * units
        b_G[start : start + units] = sign * forget_bias
