"""Recurrent regularisers that change a cell's step, as a cell around the cell.

    variational dropout   the step sees m * h in place of h wherever h is multiplied by a matrix; one m a sequence
    zoneout               a unit of the new state keeps its old value with the given chance, drawn anew each step

Both act in training alone: an answer runs the plain cell. (Krueger et al. answer with the expected state, a mixture of
old and new; the runtime's kernels do not, and the forget gate learns what is missing.)

B sequences, H units.  Sources: Gal and Ghahramani, arXiv:1512.05287; Krueger et al., arXiv:1606.01305.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gatework.cells import Cell
from gatework.nn.dropout import keep_mask


def regularised(cell: Cell, *, batch: int, width: int, like: Tensor, variational: float, zoneout: float) -> Cell:
    """`cell` with the two regularisers in its step; masks of the sequences are drawn here.

    The sequences of a scan run in an order of their own, but each keeps its row: which sequence gets which mask does
    not matter, so the mask's rows follow the scan's.
    """
    mask_BH = keep_mask((batch, width), variational, like) if variational else None

    def step(xp: Any, x_BI: Tensor, state: Any, params: Any) -> Any:
        new = _masked_step(cell, xp, x_BI, state, params, mask_BH)
        return _zone_out(state, new, zoneout) if zoneout else new

    return dataclasses.replace(cell, step=step)


def _masked_step(cell: Cell, xp: Any, x_BI: Tensor, state: Any, params: Any, mask_BH: Tensor | None) -> Any:
    if mask_BH is None:
        return cell.step(xp, x_BI, state, params)
    h_BH = state[0]
    masked_BH = h_BH * mask_BH[: len(h_BH)]
    new = cell.step(xp, x_BI, type(state)(masked_BH, *state[1:]), params)
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


def _zone_out(old: Any, new: Any, chance: float) -> Any:
    kept = (torch.where(torch.rand_like(b) < chance, a, b) for a, b in zip(old, new, strict=True))
    return type(new)(*kept)
