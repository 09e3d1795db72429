"""Elman's simple recurrent network.

    h' = f(W x + R h + b),   f = tanh or relu

B batch, I inputs, H units, G = H.  Source: Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990; with
relu: Le, Jaitly and Hinton, arXiv:1504.00941.
"""

from __future__ import annotations

from typing import NamedTuple

from gatework.cells.cell import Array, Cell, Gates, Module, Shapes


class RNNState(NamedTuple):
    """What is carried from step to step."""

    h_BH: Array


class RNNParams(NamedTuple):
    """Weights; see the equation above."""

    w_GI: Array
    r_GH: Array
    b_G: Array


def look(xp: Module, x_BI: Array, state: RNNState, p: RNNParams) -> tuple[RNNState, Gates]:
    """See `Cell.look`, with tanh."""
    h_BH = xp.tanh(_preactivation(x_BI, state, p))
    return RNNState(h_BH=h_BH), (h_BH,)


def look_relu(xp: Module, x_BI: Array, state: RNNState, p: RNNParams) -> tuple[RNNState, Gates]:
    """See `Cell.look`, with relu; NaN passes through."""
    z_BG = _preactivation(x_BI, state, p)
    h_BH = xp.where(z_BG <= 0, xp.zeros_like(z_BG), z_BG)
    return RNNState(h_BH=h_BH), (h_BH,)


def _preactivation(x_BI: Array, state: RNNState, p: RNNParams) -> Array:
    return x_BI @ p.w_GI.T + state.h_BH @ p.r_GH.T + p.b_G


def shapes(inputs: int, units: int, projection: int) -> Shapes:
    """Shapes of the parameters."""
    return {"w_GI": (units, inputs), "r_GH": (units, units), "b_G": (units,)}


RNN = Cell(name="rnn", look=look, State=RNNState, Params=RNNParams, gates=("h",), shapes=shapes)
RNN_RELU = Cell(name="rnn-relu", look=look_relu, State=RNNState, Params=RNNParams, gates=("h",), shapes=shapes)
