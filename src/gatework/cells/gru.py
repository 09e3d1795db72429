"""Gated recurrent unit, reset gate applied after the recurrent product: the convention of cuDNN and `torch.nn.GRU`.

    r = sigmoid(W_r x + b_r + R_r h + d_r);   z = sigmoid(W_z x + b_z + R_z h + d_z)
    n = tanh(W_n x + b_n + r * (R_n h + d_n));   h' = (1 - z) n + z h

W x + b and R h + d are packed r z n. d_r and d_z could be merged into b; d_n could not, so d is kept whole.

B batch, I inputs, H units, G = 3H.  Source: Cho et al., arXiv:1406.1078, with the reset of Appleyard, Kocisky and
Blunsom, arXiv:1604.01946.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.core.gates import GRU_GATES


class GRUState(NamedTuple):
    """What is carried from step to step."""

    h_BH: Array


class GRUParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GH: Array
    b_G: Array
    rb_G: Array
    """d above: the bias beside the recurrent product."""


def look(xp: Module, x_BI: Array, state: GRUState, p: GRUParams) -> tuple[GRUState, Gates]:
    """See `Cell.look`."""
    xr_BH, xz_BH, xn_BH = split_gates(x_BI @ p.w_GI.T + p.b_G, 3)
    hr_BH, hz_BH, hn_BH = split_gates(state.h_BH @ p.r_GH.T + p.rb_G, 3)
    r_BH, z_BH = sigmoid(xp, xr_BH + hr_BH), sigmoid(xp, xz_BH + hz_BH)
    n_BH = xp.tanh(xn_BH + r_BH * hn_BH)
    return GRUState(h_BH=(1.0 - z_BH) * n_BH + z_BH * state.h_BH), (r_BH, z_BH, n_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    packed = 3 * units
    return {"w_GI": (packed, inputs), "r_GH": (packed, units), "b_G": (packed,), "rb_G": (packed,)}


GRU = Cell(name="gru", look=look, State=GRUState, Params=GRUParams, gates=GRU_GATES, shapes=shapes)
