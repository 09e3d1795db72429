"""GRU with the reset after the recurrent product (cuDNN, Appleyard et al. arXiv:1604.01946).

r = s(W_r x + b_r + R_r h + d_r),  z = s(W_z x + b_z + R_z h + d_z)
n = tanh(W_n x + b_n + r (R_n h + d_n)),  h' = (1 - z) n + z h
"""

from __future__ import annotations

import numpy as np

from .calculus import gates, logistic, pack, zeros

NAMES = "rzn"


def forward(p, x_TI, state):
    w, r_, b, d = (gates(p[key], NAMES) for key in ("w_GI", "r_GH", "b_G", "rb_G"))
    h, ys, tape = state["h"], [], []
    for x in x_TI:
        before = h
        r = logistic(w["r"] @ x + b["r"] + r_["r"] @ before + d["r"])
        z = logistic(w["z"] @ x + b["z"] + r_["z"] @ before + d["z"])
        q = r_["n"] @ before + d["n"]
        n = np.tanh(w["n"] @ x + b["n"] + r * q)
        h = (1 - z) * n + z * before
        tape.append((x, before, r, z, q, n))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h}, tape


def backward(p, tape, dy_TH, dstate):
    dh, dp = dstate["h"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, before, r, z, q, n = tape[t]
        dh = dh + dy_TH[t]
        dz = dh * (before - n)
        dn = dh * (1 - z) * (1 - n**2)
        dr = dn * q
        at_input = {"r": dr * r * (1 - r), "z": dz * z * (1 - z), "n": dn}
        at_hidden = {**at_input, "n": dn * r}
        a, u = pack(at_input, NAMES), pack(at_hidden, NAMES)
        dp["w_GI"] += np.outer(a, x)
        dp["b_G"] += a
        dp["r_GH"] += np.outer(u, before)
        dp["rb_G"] += u
        dx[t] = p["w_GI"].T @ a
        dh = dh * z + p["r_GH"].T @ u
    return dx, {"h": dh}, dp
