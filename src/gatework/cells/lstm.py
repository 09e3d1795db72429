"""Long short-term memory cell.

    z = W x + R h + b,  packed i f g o
    c' = sigmoid(f) c + sigmoid(i) tanh(g);   h' = sigmoid(o) tanh(c')

B batch, I inputs, H units, G = 4H.  Source: Gers, Schmidhuber and Cummins, "Learning to Forget", Neural
Computation 12(10), 2000.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Module, Shapes, sigmoid, split_gates
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


def step(xp: Module, x_BI: Array, state: LSTMState, p: LSTMParams) -> LSTMState:
    """Advance every sequence one time step; `state` is left as it was."""
    z_BG = x_BI @ p.w_GI.T + state.h_BH @ p.r_GH.T + p.b_G
    i_BH, f_BH, g_BH, o_BH = split_gates(z_BG, 4)
    c_BH = sigmoid(xp, f_BH) * state.c_BH + sigmoid(xp, i_BH) * xp.tanh(g_BH)
    return LSTMState(h_BH=sigmoid(xp, o_BH) * xp.tanh(c_BH), c_BH=c_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {"w_GI": (4 * units, inputs), "r_GH": (4 * units, units), "b_G": (4 * units,)}


LSTM = Cell(name="lstm", step=step, State=LSTMState, Params=LSTMParams, gates=LSTM_GATES, shapes=shapes)
