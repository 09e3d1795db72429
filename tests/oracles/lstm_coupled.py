"""LSTM with coupled input and forget gates (CIFG in Greff et al., arXiv:1503.04069): f = 1 - i. Packed i g o."""

from __future__ import annotations

import numpy as np

from .calculus import gates, logistic, pack, zeros

NAMES = "igo"


def forward(p, x_TI, state):
    w, r, b = (gates(p[key], NAMES) for key in ("w_GI", "r_GH", "b_G"))
    h, c, ys, tape = state["h"], state["c"], [], []
    for x in x_TI:
        h0, c0 = h, c
        a = {k: w[k] @ x + r[k] @ h0 + b[k] for k in NAMES}
        i, g, o = logistic(a["i"]), np.tanh(a["g"]), logistic(a["o"])
        c = (1 - i) * c0 + i * g
        h = o * np.tanh(c)
        tape.append((x, h0, c0, i, g, o, c))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h, "c": c}, tape


def backward(p, tape, dy_TH, dstate):
    dh, dc, dp = dstate["h"].copy(), dstate["c"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, h0, c0, i, g, o, c = tape[t]
        dh = dh + dy_TH[t]
        do = dh * np.tanh(c)
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        di, dg = dc * (g - c0), dc * i
        a = pack({"i": di * i * (1 - i), "g": dg * (1 - g**2), "o": do * o * (1 - o)}, NAMES)
        dp["w_GI"] += np.outer(a, x)
        dp["r_GH"] += np.outer(a, h0)
        dp["b_G"] += a
        dx[t] = p["w_GI"].T @ a
        dh, dc = p["r_GH"].T @ a, dc * (1 - i)
    return dx, {"h": dh, "c": dc}, dp
