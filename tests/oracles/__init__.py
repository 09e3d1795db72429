"""Oracles: each cell in float64 NumPy, forward and back-propagation through time, written out from its paper.

They share no code with the package and go one sequence, one step and one gate at a time: slow, and easy to hold against
the page. `run` and `run_backward` put them over ragged batches. A module here has

    forward(p, x_TI, state) -> (y_TH, state, tape)
    backward(p, tape, dy_TH, dstate) -> (dx_TI, dstate, dp)

`p` maps parameter names to arrays, a state is a dictionary of vectors, h first, and `tape` is whatever backward needs.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from . import gru, gru_reset_before, lstm, lstm_coupled, lstm_layernorm, lstm_peephole, lstm_projection, rnn, rnn_relu

Arrays = dict[str, np.ndarray]

ORACLES: dict[str, ModuleType] = {
    "rnn": rnn,
    "rnn-relu": rnn_relu,
    "gru": gru,
    "gru-reset-before": gru_reset_before,
    "lstm": lstm,
    "lstm-peephole": lstm_peephole,
    "lstm-coupled": lstm_coupled,
    "lstm-layernorm": lstm_layernorm,
    "lstm-projection": lstm_projection,
}


def run(
    name: str, x_TBI: np.ndarray, lengths: np.ndarray, p: Arrays, state: Arrays, *, reverse: bool = False
) -> tuple[np.ndarray, Arrays, list[Any]]:
    """Outputs (zero past each length), last states, and the tape of each sequence; state arrays are (B, width)."""
    oracle = ORACLES[name]
    first = next(iter(state.values()))
    y_TBH = np.zeros((*x_TBI.shape[:2], first.shape[1]))
    last = {key: np.zeros_like(value) for key, value in state.items()}
    tapes = []
    for b, length in enumerate(lengths):
        x = x_TBI[:length, b]
        y, end, tape = oracle.forward(p, x[::-1] if reverse else x, {key: value[b] for key, value in state.items()})
        y_TBH[:length, b] = y[::-1] if reverse else y
        for key, value in end.items():
            last[key][b] = value
        tapes.append(tape)
    return y_TBH, last, tapes


def run_backward(
    name: str,
    p: Arrays,
    tapes: list[Any],
    dy_TBH: np.ndarray,
    lengths: np.ndarray,
    dlast: Arrays,
    inputs: int,
    *,
    reverse: bool = False,
) -> tuple[np.ndarray, Arrays, Arrays]:
    """Gradients of x, of the first state and of the parameters, given those of the outputs and of the last state."""
    oracle = ORACLES[name]
    dx_TBI = np.zeros((*dy_TBH.shape[:2], inputs))
    dstate = {key: np.zeros_like(value) for key, value in dlast.items()}
    dp = {key: np.zeros_like(value) for key, value in p.items()}
    for b, length in enumerate(lengths):
        dy = dy_TBH[:length, b]
        end = {key: value[b] for key, value in dlast.items()}
        dx, start, grads = oracle.backward(p, tapes[b], dy[::-1] if reverse else dy, end)
        dx_TBI[:length, b] = dx[::-1] if reverse else dx
        for key, value in start.items():
            dstate[key][b] = value
        for key, value in grads.items():
            dp[key] += value
    return dx_TBI, dstate, dp
