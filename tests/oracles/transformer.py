"""Transformer layers in float64, one token and one head at a time (Vaswani et al. 2017; Xiong et al. 2020)."""

from __future__ import annotations

import math

import numpy as np


def norm(x, p):
    return (x - x.mean()) / math.sqrt(x.var() + 1e-5) * p["gain"] + p["shift"]


def part(p, prefix):
    return {name.removeprefix(f"{prefix}."): value for name, value in p.items() if name.startswith(f"{prefix}.")}


def apply(p, x):
    return p["weight"] @ x + p["bias"]


def place(x, t):
    """The vector of a token, with its place."""
    half = len(x) // 2
    angles = [t / 10000 ** (i / half) for i in range(half)]
    wave = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    return x * math.sqrt(len(x)) + np.array(wave)


def attend(q, keys, values, heads):
    """What is seen, and the weights of each head."""
    width, seen, weights = len(q) // heads, [], []
    for head in range(heads):
        at = slice(head * width, (head + 1) * width)
        scores = np.array([math.exp(q[at] @ key[at] / math.sqrt(width)) for key in keys])
        weights.append(scores / scores.sum())
        seen.append(sum(weight * value[at] for weight, value in zip(weights[-1], values, strict=True)))
    return np.concatenate(seen), np.array(weights)


def run(p, x_T, layers, heads, m_S=None):
    """Outputs (T, d), and the mean weights (T, S) of the last layer; a writer, which does not look ahead, has a
    memory."""
    x_T = [place(x, t) for t, x in enumerate(x_T)]
    units, a_TS = len(x_T[0]), None
    for layer in range(layers):
        own = part(p, str(layer))
        qkv = [apply(part(own, "self"), norm(x, part(own, "self.norm"))) for x in x_T]
        longer, a_TS = [], []
        for t, x in enumerate(x_T):
            read = qkv if m_S is None else qkv[: t + 1]
            keys, values = [one[units : 2 * units] for one in read], [one[2 * units :] for one in read]
            x = x + apply(part(own, "self.output"), attend(qkv[t][:units], keys, values, heads)[0])
            if m_S is not None:
                made = [apply(part(own, "source.memory"), m) for m in m_S]
                q = apply(part(own, "source.query"), norm(x, part(own, "source.norm")))
                seen, a = attend(q, [one[:units] for one in made], [one[units:] for one in made], heads)
                x = x + apply(part(own, "source.output"), seen)
                a_TS.append(a.mean(axis=0))
            inner = np.maximum(apply(part(own, "inner"), norm(x, part(own, "inner.norm"))), 0)
            longer.append(x + apply(part(own, "inner.output"), inner))
        x_T = longer
    return np.array([norm(x, part(p, "norm")) for x in x_T]), np.array(a_TS)
