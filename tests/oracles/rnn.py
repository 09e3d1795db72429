"""Elman (1990) with tanh: h_t = tanh(W x_t + R h_{t-1} + b)."""

from __future__ import annotations

import numpy as np

from .calculus import zeros


def forward(p, x_TI, state):
    h, ys, tape = state["h"], [], []
    for x in x_TI:
        before = h
        a = p["w_GI"] @ x + p["r_GH"] @ before + p["b_G"]
        h = np.tanh(a)
        tape.append((x, before, h))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h}, tape


def backward(p, tape, dy_TH, dstate):
    dh, dp = dstate["h"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, before, h = tape[t]
        da = (dh + dy_TH[t]) * (1 - h**2)
        dp["w_GI"] += np.outer(da, x)
        dp["r_GH"] += np.outer(da, before)
        dp["b_G"] += da
        dx[t] = p["w_GI"].T @ da
        dh = p["r_GH"].T @ da
    return dx, {"h": dh}, dp
