"""LSTM with coupled input and forget gates: what is forgotten is what is written.

    z = W x + R h + b,  packed i g o
    i = sigmoid(z_i);   c' = (1 - i) c + i tanh(z_g);   h' = sigmoid(z_o) tanh(c')

A bias towards remembering is a negative bias of i.

B batch, I inputs, H units, G = 3H.  Source: Greff et al., "LSTM: A Search Space Odyssey", arXiv:1503.04069 (CIFG).
"""

from __future__ import annotations

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.cells.lstm import LSTMParams, LSTMState
from gatework.core.gates import LSTM_GATES

GATES = tuple(gate for gate in LSTM_GATES if gate != "f")


def look(xp: Module, x_BI: Array, state: LSTMState, p: LSTMParams) -> tuple[LSTMState, Gates]:
    """See `Cell.look`."""
    z_BG = x_BI @ p.w_GI.T + state.h_BH @ p.r_GH.T + p.b_G
    zi_BH, zg_BH, zo_BH = split_gates(z_BG, 3)
    i_BH, g_BH, o_BH = sigmoid(xp, zi_BH), xp.tanh(zg_BH), sigmoid(xp, zo_BH)
    c_BH = (1.0 - i_BH) * state.c_BH + i_BH * g_BH
    return LSTMState(h_BH=o_BH * xp.tanh(c_BH), c_BH=c_BH), (i_BH, g_BH, o_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {"w_GI": (3 * units, inputs), "r_GH": (3 * units, units), "b_G": (3 * units,)}


LSTM_COUPLED = Cell(name="lstm-coupled", look=look, State=LSTMState, Params=LSTMParams, gates=GATES, shapes=shapes)
