"""LSTM with layer normalisation (Ba, Kiros and Hinton, arXiv:1607.06450, equations 20 to 22).

a = gx LN(W x) + gr LN(R h) + b, packed i f g o;   c' = s(f) c + s(i) tanh(g)
h' = s(o) tanh(gc LN(c') + bc);   LN(v) = (v - mean) / sqrt(variance + 1e-5)
"""

from __future__ import annotations

import numpy as np

from .calculus import gates, logistic, pack, zeros

NAMES = "ifgo"


def norm(v):
    """LN(v) and the deviation it divided by."""
    deviation = np.sqrt(np.var(v) + 1e-5)
    return (v - np.mean(v)) / deviation, deviation


def norm_backward(dn, n, deviation):
    """Gradient of v, given that of n = LN(v)."""
    return (dn - np.mean(dn) - n * np.mean(dn * n)) / deviation


def forward(p, x_TI, state):
    h, c, ys, tape = state["h"], state["c"], [], []
    for x in x_TI:
        h0, c0 = h, c
        nx, sx = norm(p["w_GI"] @ x)
        nr, sr = norm(p["r_GH"] @ h0)
        a = gates(p["gx_G"] * nx + p["gr_G"] * nr + p["b_G"], NAMES)
        i, f, o = logistic(a["i"]), logistic(a["f"]), logistic(a["o"])
        g = np.tanh(a["g"])
        c = f * c0 + i * g
        nc, sc = norm(c)
        m = np.tanh(p["gc_H"] * nc + p["bc_H"])
        h = o * m
        tape.append((x, h0, c0, nx, sx, nr, sr, i, f, g, o, nc, sc, m))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h, "c": c}, tape


def backward(p, tape, dy_TH, dstate):
    dh, dc, dp = dstate["h"].copy(), dstate["c"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, h0, c0, nx, sx, nr, sr, i, f, g, o, nc, sc, m = tape[t]
        dh = dh + dy_TH[t]
        do = dh * m
        am = dh * o * (1 - m**2)
        dp["gc_H"] += am * nc
        dp["bc_H"] += am
        dc = dc + norm_backward(am * p["gc_H"], nc, sc)
        di, df, dg = dc * g, dc * c0, dc * i
        a = pack({"i": di * i * (1 - i), "f": df * f * (1 - f), "g": dg * (1 - g**2), "o": do * o * (1 - o)}, NAMES)
        dp["b_G"] += a
        dp["gx_G"] += a * nx
        dp["gr_G"] += a * nr
        dwx = norm_backward(a * p["gx_G"], nx, sx)
        drh = norm_backward(a * p["gr_G"], nr, sr)
        dp["w_GI"] += np.outer(dwx, x)
        dp["r_GH"] += np.outer(drh, h0)
        dx[t] = p["w_GI"].T @ dwx
        dh, dc = p["r_GH"].T @ drh, dc * f
    return dx, {"h": dh, "c": dc}, dp
