"""LSTM whose gates also see the memory cell, each unit its own.

    z = W x + R h + b,  packed i f g o
    i = sigmoid(z_i + p_i * c);   f = sigmoid(z_f + p_f * c)
    c' = f c + i tanh(z_g)
    o = sigmoid(z_o + p_o * c');   h' = o tanh(c')

B batch, I inputs, H units, G = 4H.  Source: Gers, Schraudolph and Schmidhuber, "Learning Precise Timing with LSTM
Recurrent Networks", JMLR 3, 2002.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.cells.lstm import LSTMState
from gatework.cells.lstm import shapes as plain_shapes
from gatework.core.gates import LSTM_GATES


class LSTMPeepholeParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GH: Array
    b_G: Array
    pi_H: Array
    pf_H: Array
    po_H: Array


def look(xp: Module, x_BI: Array, state: LSTMState, p: LSTMPeepholeParams) -> tuple[LSTMState, Gates]:
    """See `Cell.look`."""
    z_BG = x_BI @ p.w_GI.T + state.h_BH @ p.r_GH.T + p.b_G
    zi_BH, zf_BH, zg_BH, zo_BH = split_gates(z_BG, 4)
    i_BH = sigmoid(xp, zi_BH + p.pi_H * state.c_BH)
    f_BH = sigmoid(xp, zf_BH + p.pf_H * state.c_BH)
    g_BH = xp.tanh(zg_BH)
    c_BH = f_BH * state.c_BH + i_BH * g_BH
    o_BH = sigmoid(xp, zo_BH + p.po_H * c_BH)
    return LSTMState(h_BH=o_BH * xp.tanh(c_BH), c_BH=c_BH), (i_BH, f_BH, g_BH, o_BH)


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {**plain_shapes(inputs, units, 0), "pi_H": (units,), "pf_H": (units,), "po_H": (units,)}


LSTM_PEEPHOLE = Cell(
    name="lstm-peephole", look=look, State=LSTMState, Params=LSTMPeepholeParams, gates=LSTM_GATES, shapes=shapes
)
