"""Transformer layers, before-norm: an encoder that is one, and a writer that is one.

    norm(x) = gain (x - mean of x) / sqrt(variance of x + EPSILON) + shift
    x_t = sqrt(d) E[y_t] + P_t;   P_t = (sin(t w_0), ..., cos(t w_0), ...),   w_i = 10000 ** (-i / (d / 2)),  t from 0
    attend(q, keys, values): the widths are cut into heads of k = d / A, each gives
        sum over s of a_s v_s,   a = softmax over s of q . k_s / sqrt(k);   they are put side by side

    encoder layer:  x = x + O attend(Q n, K n, V n) + b,   n = norm(x)       over all places of the source
                    x = x + W_2 relu(W_1 norm(x) + b_1) + b_2
    its memory:     m_s = norm(x_s);   e = m of the last place, the end of the source

    writer layer:   as the encoder's, over the tokens up to t alone; between its halves stands
                    x = x + O attend(Q norm(x), K m, V m) + b                over all places of the source
    its output:     o_t = norm(x_t);   a_t = mean over heads of the last layer's weights;   c_t = sum over s of a_ts m_s

A writer reads END and then what it has written, as in `core.writer`, where stands what comes of o_t; h_t is o_t, and of
the copy gate x_t is E[y_t] alone. Encoder and writer may each be recurrent or a transformer, in any combination.

Weights (d units, which are the width of the vectors; I `inner`; P width of the memory):

    <part>.<layer>.self.norm.gain (d,), .shift (d,)                 part: encoder or writer
    <part>.<layer>.self.weight (3 d, d), .bias (3 d,)               Q, K and V
    <part>.<layer>.self.output.weight (d, d), .bias (d,)            O
    writer.<layer>.source.norm.gain (d,), .shift (d,)
    writer.<layer>.source.query.weight (d, d), .bias (d,)
    writer.<layer>.source.memory.weight (2 d, P), .bias (2 d,)      K and V
    writer.<layer>.source.output.weight (d, d), .bias (d,)
    <part>.<layer>.inner.norm.gain (d,), .shift (d,)
    <part>.<layer>.inner.weight (I, d), .bias (I,)                  W_1
    <part>.<layer>.inner.output.weight (d, I), .bias (d,)           W_2
    <part>.norm.gain (d,), .shift (d,)

Sources: Vaswani et al., arXiv:1706.03762; the norm before each half: Xiong et al., arXiv:2002.04745; recurrent encoder
under a transformer writer: Chen et al., arXiv:1804.09849.
"""

from __future__ import annotations

from typing import Literal

Shapes = dict[str, tuple[int, ...]]
Kind = Literal["recurrent", "transformer"]
EPSILON = 1e-5


def transformer_fault(*, units: int, embedding: int, heads: int, inner: int) -> str:
    """What does not fit in a transformer of these sizes; empty where all does."""
    if not heads or not inner:
        return "a transformer has heads and an inner width"
    if units != embedding:
        return f"a transformer is as wide as its vectors: {units} units against {embedding}"
    if units % heads or units % 2:
        return f"a transformer's units are even and a multiple of its heads: {units} units, {heads} heads"
    return ""


def transformer_shapes(part: str, *, layers: int, units: int, inner: int, memory: int = 0) -> Shapes:
    """Shape of every weight, by name.

    Args:
        part: "encoder" or "writer".
        memory: P of a writer; 0 for an encoder.
    """
    shapes: Shapes = {}

    def dense(name: str, rows: int, columns: int) -> None:
        shapes.update({f"{part}.{name}.weight": (rows, columns), f"{part}.{name}.bias": (rows,)})

    def norm(name: str) -> None:
        shapes.update({f"{part}.{name}.gain": (units,), f"{part}.{name}.shift": (units,)})

    for layer in range(layers):
        norm(f"{layer}.self.norm")
        dense(f"{layer}.self", 3 * units, units)
        dense(f"{layer}.self.output", units, units)
        if memory:
            norm(f"{layer}.source.norm")
            dense(f"{layer}.source.query", units, units)
            dense(f"{layer}.source.memory", 2 * units, memory)
            dense(f"{layer}.source.output", units, units)
        norm(f"{layer}.inner.norm")
        dense(f"{layer}.inner", inner, units)
        dense(f"{layer}.inner.output", units, inner)
    norm("norm")
    return shapes
