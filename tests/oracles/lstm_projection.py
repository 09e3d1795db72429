"""LSTM with a recurrent projection (Sak, Senior and Beaufays, arXiv:1402.1128): h' = V (o tanh(c')). Packed i f g o."""

from __future__ import annotations

import numpy as np

from .calculus import gates, logistic, pack, zeros

NAMES = "ifgo"


def forward(p, x_TI, state):
    w, r, b = (gates(p[key], NAMES) for key in ("w_GI", "r_GP", "b_G"))
    h, c, ys, tape = state["h"], state["c"], [], []
    for x in x_TI:
        h0, c0 = h, c
        a = {k: w[k] @ x + r[k] @ h0 + b[k] for k in NAMES}
        i, f, o = logistic(a["i"]), logistic(a["f"]), logistic(a["o"])
        g = np.tanh(a["g"])
        c = f * c0 + i * g
        m = o * np.tanh(c)
        h = p["v_PH"] @ m
        tape.append((x, h0, c0, i, f, g, o, c, m))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h, "c": c}, tape


def backward(p, tape, dy_TH, dstate):
    dh, dc, dp = dstate["h"].copy(), dstate["c"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, h0, c0, i, f, g, o, c, m = tape[t]
        dh = dh + dy_TH[t]
        dp["v_PH"] += np.outer(dh, m)
        dm = p["v_PH"].T @ dh
        do = dm * np.tanh(c)
        dc = dc + dm * o * (1 - np.tanh(c) ** 2)
        di, df, dg = dc * g, dc * c0, dc * i
        a = pack({"i": di * i * (1 - i), "f": df * f * (1 - f), "g": dg * (1 - g**2), "o": do * o * (1 - o)}, NAMES)
        dp["w_GI"] += np.outer(a, x)
        dp["r_GP"] += np.outer(a, h0)
        dp["b_G"] += a
        dx[t] = p["w_GI"].T @ a
        dh, dc = p["r_GP"].T @ a, dc * f
    return dx, {"h": dh, "c": dc}, dp
