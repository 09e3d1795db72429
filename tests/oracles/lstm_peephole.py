"""LSTM with peepholes (Gers, Schraudolph and Schmidhuber 2002): i and f see the old memory, o the new.

i = s(W_i x + R_i h + p_i c + b_i), f likewise;  g = tanh(W_g x + R_g h + b_g)
c' = f c + i g;  o = s(W_o x + R_o h + p_o c' + b_o);  h' = o tanh(c')
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
        i = logistic(a["i"] + p["pi_H"] * c0)
        f = logistic(a["f"] + p["pf_H"] * c0)
        g = np.tanh(a["g"])
        c = f * c0 + i * g
        o = logistic(a["o"] + p["po_H"] * c)
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
        ao = dh * np.tanh(c) * o * (1 - o)
        dc = dc + dh * o * (1 - np.tanh(c) ** 2) + ao * p["po_H"]
        ai = dc * g * i * (1 - i)
        af = dc * c0 * f * (1 - f)
        a = pack({"i": ai, "f": af, "g": dc * i * (1 - g**2), "o": ao}, NAMES)
        dp["pi_H"] += ai * c0
        dp["pf_H"] += af * c0
        dp["po_H"] += ao * c
        dp["w_GI"] += np.outer(a, x)
        dp["r_GH"] += np.outer(a, h0)
        dp["b_G"] += a
        dx[t] = p["w_GI"].T @ a
        dh, dc = p["r_GH"].T @ a, dc * f + ai * p["pi_H"] + af * p["pf_H"]
    return dx, {"h": dh, "c": dc}, dp
