"""LSTM with forget gate (Gers, Schmidhuber and Cummins 2000), gates packed i f g o.

i = s(W_i x + R_i h + b_i), f, o likewise;  g = tanh(W_g x + R_g h + b_g)
c' = f c + i g;  h' = o tanh(c')
"""

from __future__ import annotations

import numpy as np

from .calculus import gates, logistic, pack, zeros

NAMES = "ifgo"


def forward(p, x_TI, state):
    w, r, b = (gates(p[key], NAMES) for key in ("w_GI", "r_GH", "b_G"))
    h, c, ys, tape = state["h"], state["c"], [], []
    for x in x_TI:
        h0, c0 = h, c
        a = {k: w[k] @ x + r[k] @ h0 + b[k] for k in NAMES}
        i, f, o = logistic(a["i"]), logistic(a["f"]), logistic(a["o"])
        g = np.tanh(a["g"])
        c = f * c0 + i * g
        h = o * np.tanh(c)
        tape.append((x, h0, c0, i, f, g, o, c))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h, "c": c}, tape


def backward(p, tape, dy_TH, dstate):
    dh, dc, dp = dstate["h"].copy(), dstate["c"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, h0, c0, i, f, g, o, c = tape[t]
        dh = dh + dy_TH[t]
        do = dh * np.tanh(c)
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        di, df, dg = dc * g, dc * c0, dc * i
        a = pack({"i": di * i * (1 - i), "f": df * f * (1 - f), "g": dg * (1 - g**2), "o": do * o * (1 - o)}, NAMES)
        dp["w_GI"] += np.outer(a, x)
        dp["r_GH"] += np.outer(a, h0)
        dp["b_G"] += a
        dx[t] = p["w_GI"].T @ a
        dh, dc = p["r_GH"].T @ a, dc * f
    return dx, {"h": dh, "c": dc}, dp
