"""Gated recurrent unit as first published: the reset gate is applied before the recurrent product.

    r = sigmoid(W_r x + R_r h + b_r);   z = sigmoid(W_z x + R_z h + b_z)
    n = tanh(W_n x + R_n (r * h) + b_n);   h' = (1 - z) n + z h

Packed r z n. Weights are not interchangeable with the cell `gru`, though the shapes of W, R and b agree.

B batch, I inputs, H units, G = 3H.  Source: Cho et al., arXiv:1406.1078, equations 5 to 8.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.cells.gru import GRUState
from gatework.core.gates import GRU_GATES


class GRUResetBeforeParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GH: Array
    b_G: Array


def look(xp: Module, x_BI: Array, state: GRUState, p: GRUResetBeforeParams) -> tuple[GRUState, Gates]:
    """See `Cell.look`."""
    gates = 2 * state.h_BH.shape[1]
    xr_BH, xz_BH, xn_BH = split_gates(x_BI @ p.w_GI.T + p.b_G, 3)
    hr_BH, hz_BH = split_gates(state.h_BH @ p.r_GH[:gates].T, 2)
    r_BH, z_BH = sigmoid(xp, xr_BH + hr_BH), sigmoid(xp, xz_BH + hz_BH)
    n_BH = xp.tanh(xn_BH + (r_BH * state.h_BH) @ p.r_GH[gates:].T)
    return GRUState(h_BH=(1.0 - z_BH) * n_BH + z_BH * state.h_BH), (r_BH, z_BH, n_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {"w_GI": (3 * units, inputs), "r_GH": (3 * units, units), "b_G": (3 * units,)}


GRU_RESET_BEFORE = Cell(
    name="gru-reset-before", look=look, State=GRUState, Params=GRUResetBeforeParams, gates=GRU_GATES, shapes=shapes
)
