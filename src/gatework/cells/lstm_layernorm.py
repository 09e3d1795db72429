"""LSTM with layer normalisation of both products and of the memory cell.

    LN(a) = (a - mean(a)) / sqrt(variance(a) + epsilon) over a whole row, epsilon = 1e-5
    z = gx * LN(W x) + gr * LN(R h) + b,  packed i f g o
    c' = sigmoid(f) c + sigmoid(i) tanh(g);   h' = sigmoid(o) tanh(gc * LN(c') + bc)

The paper's two biases inside the normalised products and its b add up to one; it is kept as b. The mean runs over all
G entries, as in the paper, not gate by gate. Gains start at 1, bc at 0.

B batch, I inputs, H units, G = 4H.  Source: Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450,
equations 20 to 22.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes, sigmoid, split_gates
from gatework.cells.lstm import LSTMState
from gatework.cells.lstm import shapes as plain_shapes
from gatework.core.gates import LSTM_GATES

EPSILON = 1e-5


class LSTMLayerNormParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GH: Array
    b_G: Array
    gx_G: Array
    gr_G: Array
    gc_H: Array
    bc_H: Array


def look(xp: Module, x_BI: Array, state: LSTMState, p: LSTMLayerNormParams) -> tuple[LSTMState, Gates]:
    """See `Cell.look`."""
    wx_BG, rh_BG = x_BI @ p.w_GI.T, state.h_BH @ p.r_GH.T
    z_BG = p.gx_G * normalise(xp, wx_BG) + p.gr_G * normalise(xp, rh_BG) + p.b_G
    zi_BH, zf_BH, zg_BH, zo_BH = split_gates(z_BG, 4)
    i_BH, f_BH, o_BH = (sigmoid(xp, z_BH) for z_BH in (zi_BH, zf_BH, zo_BH))
    g_BH = xp.tanh(zg_BH)
    c_BH = f_BH * state.c_BH + i_BH * g_BH
    h_BH = o_BH * xp.tanh(p.gc_H * normalise(xp, c_BH) + p.bc_H)
    return LSTMState(h_BH=h_BH, c_BH=c_BH), (i_BH, f_BH, g_BH, o_BH)


def normalise(xp: Module, a_BN: Array) -> Array:
    """Each row with mean 0 and variance 1, without gain or bias."""
    centred_BN = a_BN - a_BN.mean(1)[:, None]
    variance_B = (centred_BN * centred_BN).mean(1)
    return centred_BN / xp.sqrt(variance_B + EPSILON)[:, None]


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    gains: Shapes = {"gx_G": (4 * units,), "gr_G": (4 * units,), "gc_H": (units,), "bc_H": (units,)}
    return {**plain_shapes(inputs, units, 0), **gains}


LSTM_LAYERNORM = Cell(
    name="lstm-layernorm", look=look, State=LSTMState, Params=LSTMLayerNormParams, gates=LSTM_GATES, shapes=shapes
)
