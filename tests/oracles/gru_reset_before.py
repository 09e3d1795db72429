"""GRU as in Cho et al. (arXiv:1406.1078), equations 5 to 8: the reset gate before the recurrent product.

r = s(W_r x + R_r h + b_r),  z = s(W_z x + R_z h + b_z)
n = tanh(W_n x + R_n (r h) + b_n),  h' = z h + (1 - z) n
"""

from __future__ import annotations

import numpy as np

from .calculus import gates, logistic, pack, zeros

NAMES = "rzn"


def forward(p, x_TI, state):
    w, r_, b = (gates(p[key], NAMES) for key in ("w_GI", "r_GH", "b_G"))
    h, ys, tape = state["h"], [], []
    for x in x_TI:
        before = h
        r = logistic(w["r"] @ x + r_["r"] @ before + b["r"])
        z = logistic(w["z"] @ x + r_["z"] @ before + b["z"])
        n = np.tanh(w["n"] @ x + r_["n"] @ (r * before) + b["n"])
        h = z * before + (1 - z) * n
        tape.append((x, before, r, z, n))
        ys.append(h)
    return np.array(ys).reshape(-1, len(h)), {"h": h}, tape


def backward(p, tape, dy_TH, dstate):
    r_ = gates(p["r_GH"], NAMES)
    dh, dp = dstate["h"].copy(), zeros(p)
    dx = np.zeros((len(tape), p["w_GI"].shape[1]))
    for t in reversed(range(len(tape))):
        x, before, r, z, n = tape[t]
        dh = dh + dy_TH[t]
        an = dh * (1 - z) * (1 - n**2)
        drh = r_["n"].T @ an
        az = dh * (before - n) * z * (1 - z)
        ar = drh * before * r * (1 - r)
        a = pack({"r": ar, "z": az, "n": an}, NAMES)
        dp["w_GI"] += np.outer(a, x)
        dp["b_G"] += a
        dp["r_GH"] += pack({"r": np.outer(ar, before), "z": np.outer(az, before), "n": np.outer(an, r * before)}, NAMES)
        dx[t] = p["w_GI"].T @ a
        dh = dh * z + drh * r + r_["r"].T @ ar + r_["z"].T @ az
    return dx, {"h": dh}, dp
