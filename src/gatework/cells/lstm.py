"""Long short-term memory cell.

    z = W x + R h + b,  packed i f g o
    c' = sigmoid(f) c + sigmoid(i) tanh(g);   h' = sigmoid(o) tanh(c')

B batch, I inputs, H units, G = 4H.  Source: Gers, Schmidhuber and Cummins, "Learning to Forget", Neural
Computation 12(10), 2000.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.core.gates import LSTM_GATES


class LSTMState(NamedTuple):
    """What is carried from step to step."""

    h_BH: Array
    c_BH: Array


class LSTMParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GH: Array
    b_G: Array


def look(xp: Module, x_BI: Array, state: LSTMState, p: LSTMParams) -> tuple[LSTMState, Gates]:
    """See `Cell.look`."""
    z_BG = x_BI @ p.w_GI.T + state.h_BH @ p.r_GH.T + p.b_G
    zi_BH, zf_BH, zg_BH, zo_BH = split_gates(z_BG, 4)
    i_BH, f_BH, o_BH = (sigmoid(xp, z_BH) for z_BH in (zi_BH, zf_BH, zo_BH))
    g_BH = xp.tanh(zg_BH)
    c_BH = f_BH * state.c_BH + i_BH * g_BH
    return LSTMState(h_BH=o_BH * xp.tanh(c_BH), c_BH=c_BH), (i_BH, f_BH, g_BH, o_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {"w_GI": (4 * units, inputs), "r_GH": (4 * units, units), "b_G": (4 * units,)}


LSTM = Cell(name="lstm", look=look, State=LSTMState, Params=LSTMParams, gates=LSTM_GATES, shapes=shapes)
