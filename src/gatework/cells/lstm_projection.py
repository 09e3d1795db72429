"""LSTM whose output is a narrower projection of its units.

    z = W x + R h + b,  packed i f g o
    c' = sigmoid(f) c + sigmoid(i) tanh(g);   h' = V (sigmoid(o) tanh(c'))

As `torch.nn.LSTM(proj_size=P)`.

B batch, I inputs, H units, P width of h, G = 4H.  Source: Sak, Senior and Beaufays, arXiv:1402.1128, section 2.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.core.gates import LSTM_GATES


class LSTMProjectionState(NamedTuple):
    """What is carried from step to step."""

    h_BP: Array
    c_BH: Array


class LSTMProjectionParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GP: Array
    b_G: Array
    v_PH: Array


def look(
    xp: Module, x_BI: Array, state: LSTMProjectionState, p: LSTMProjectionParams
) -> tuple[LSTMProjectionState, Gates]:
    """See `Cell.look`."""
    z_BG = x_BI @ p.w_GI.T + state.h_BP @ p.r_GP.T + p.b_G
    zi_BH, zf_BH, zg_BH, zo_BH = split_gates(z_BG, 4)
    i_BH, f_BH, o_BH = (sigmoid(xp, z_BH) for z_BH in (zi_BH, zf_BH, zo_BH))
    g_BH = xp.tanh(zg_BH)
    c_BH = f_BH * state.c_BH + i_BH * g_BH
    return LSTMProjectionState(h_BP=(o_BH * xp.tanh(c_BH)) @ p.v_PH.T, c_BH=c_BH), (i_BH, f_BH, g_BH, o_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {
        "w_GI": (4 * units, inputs),
        "r_GP": (4 * units, projection),
        "b_G": (4 * units,),
        "v_PH": (projection, units),
    }


LSTM_PROJECTION = Cell(
    name="lstm-projection",
    look=look,
    State=LSTMProjectionState,
    Params=LSTMProjectionParams,
    gates=LSTM_GATES,
    shapes=shapes,
    projects=True,
)
