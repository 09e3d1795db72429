"""Recurrent regularisers that change a layer's steps: what is drawn for a call, the same for every engine.

    variational dropout   the step sees m * h in place of h wherever h is multiplied by a matrix; one m a sequence
    zoneout               a unit of the new state keeps its old value with the given chance, drawn anew each step

Both act in training alone: an answer runs the plain cell. (Krueger et al. answer with the expected state, a mixture of
old and new; the runtime's kernels do not, and the forget gate learns what is missing.)

D directions, T time, B sequences, N rows of packed sequences, H units.
Sources: Gal and Ghahramani, arXiv:1512.05287; Krueger et al., arXiv:1606.01305; weight drop: Merity, Keskar and Socher,
arXiv:1708.02182, section 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatework.cells import Cell
from gatework.nn.dropout import chosen, keep_mask


class Masks(NamedTuple):
    """What a call's regularisers drew for one layer. None: not in use."""

    recurrent_DBH: Tensor | None = None
    """Factors of h where it meets the recurrent matrix."""
    keep_h: Tensor | None = None
    """(D, T, B, H) or (D, N, H), uint8: 1 where a unit of h keeps its old value."""
    keep_c: Tensor | None = None
    """The same of the memory cell, where there is one."""

    @property
    def any(self) -> bool:
        """Whether a step differs from the cell's own."""
        return self.recurrent_DBH is not None or self.keep_h is not None


PLAIN = Masks()
"""Nothing drawn: the cell as it is."""


def draw(
    cell: Cell, x: Tensor, batch: int, directions: int, outputs: int, units: int, *, variational: float, zoneout: float
) -> Masks:
    """Masks of one layer for one call. `x` is (T, B, I), or (N, I) of packed sequences; `outputs` the width of h."""
    recurrent_DBH = keep_mask((directions, batch, outputs), variational, x) if variational else None
    if not zoneout:
        return Masks(recurrent_DBH)
    rows = (directions, *x.shape[:-1])
    has_memory = len(cell.State._fields) > 1
    return Masks(
        recurrent_DBH,
        chosen((*rows, outputs), zoneout, x.device),
        chosen((*rows, units), zoneout, x.device) if has_memory else None,
    )


def drop_weights(params: Any, chance: float) -> Any:
    """A cell's parameters with entries of the recurrent matrix dropped for the whole batch."""
    name = params._fields[1]  # r_GH or r_GP
    weight = params[1]
    return params._replace(**{name: weight * keep_mask(weight.shape, chance, weight)})


def masked_step(cell: Cell, x_BI: Tensor, state: Any, params: Any, masks: Masks) -> Any:
    """One step of `cell` under masks whose rows are those of the step: factors (B, H), keeps (B, H)."""
    if masks.recurrent_DBH is None:
        new = cell.step(torch, x_BI, state, params)
    else:
        new = _with_dropped_h(cell, x_BI, state, params, masks.recurrent_DBH)
    kept = [
        part if keep is None else torch.where(keep > 0, old, part)
        for part, old, keep in zip(new, state, masks[1:], strict=False)
    ]
    return type(state)(*kept)


def _with_dropped_h(cell: Cell, x_BI: Tensor, state: Any, params: Any, mask_BH: Tensor) -> Any:
    h_BH = state[0]
    masked_BH = h_BH * mask_BH
    new = cell.step(torch, x_BI, type(state)(masked_BH, *state[1:]), params)
    if "z" not in cell.gates:
        return new
    # A GRU also carries h past the matrices, as z * h; that path keeps the whole h.
    z_BH = _update_gate(cell, x_BI, masked_BH, params)
    return type(state)(new[0] + z_BH * (h_BH - masked_BH), *new[1:])


def _update_gate(cell: Cell, x_BI: Tensor, h_BH: Tensor, params: Any) -> Tensor:
    units, place = h_BH.shape[1], cell.gates.index("z")
    rows = slice(place * units, (place + 1) * units)
    z_BH = x_BI @ params.w_GI[rows].T + h_BH @ params.r_GH[rows].T + params.b_G[rows]
    if hasattr(params, "rb_G"):
        z_BH = z_BH + params.rb_G[rows]
    return torch.sigmoid(z_BH)
