"""A sequence written from another, in float64, one source and one token at a time (Luong et al. 2015; Bahdanau et al.
2015; See et al. 2017), and all targets of a few tokens with their probabilities.

    q = layer 0 (E y, fed o);  a = softmax of scores;  c = sum a m;  then layers (h, c);  o = tanh(W (h, c) + b)
    p = softmax(table o + bias), with copying mixed with the attention
"""

from __future__ import annotations

import itertools

import numpy as np

from . import ORACLES, run, transformer

END = 2


class Oracle:
    """`next(source, before)`: log p of each token after those `before`, and the attention of all steps."""

    def __init__(self, architecture, weights):
        self.a, self.writer = architecture, architecture.writer
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}

    def part(self, prefix):
        return {name.removeprefix(prefix): value for name, value in self.w.items() if name.startswith(prefix)}

    def read(self, source):
        """Memory (S, P), and the summary."""
        encoder = self.a.encoder
        x_S = self.w["embedding.weight"][list(source)]
        if encoder.network == "transformer":
            m_S, _ = transformer.run(self.part("encoder."), x_S, encoder.layers, encoder.heads)
            return m_S, m_S[-1]
        ways = ["forward", "backward"] if encoder.bidirectional else ["forward"]
        for layer in range(encoder.layers):
            ys = []
            for way in ways:
                p = {n: v for n, v in self.part(f"encoder.{layer}.{way}.").items()}
                state = {"h": np.zeros((1, encoder.projection or encoder.units)), "c": np.zeros((1, encoder.units))}
                if encoder.cell.startswith(("gru", "rnn")):
                    del state["c"]
                lengths = np.array([len(source)])
                ys.append(run(encoder.cell, x_S[:, None], lengths, p, state, reverse=way == "backward")[0][:, 0])
            y_S = np.concatenate(ys, axis=1)
            x_S = y_S + x_S if encoder.residual and y_S.shape == x_S.shape else y_S
        half = x_S.shape[1] // len(ways)
        return x_S, np.concatenate([x_S[-1, :half], *([x_S[0, half:]] if len(ways) == 2 else [])])

    def next(self, source, before=()):
        w, writer = self.w, self.writer
        if writer.network == "transformer":
            return self.said(source, *self.transformed(source, before))
        m_S, e = self.read(source)
        table = w["embedding.weight" if writer.shared else "writer.embedding.weight"]
        states = []
        for layer in range(writer.layers):
            names = ["h", "c"] if writer.cell.startswith("lstm") else ["h"]
            bridge = f"writer.bridge.{layer}."
            states.append({n: np.tanh(w[f"{bridge}{n}.weight"] @ e + w[f"{bridge}{n}.bias"]) for n in names})
        o, seen, all_a = np.zeros(writer.embedding), np.zeros(len(source)), []
        for token in [END, *before]:
            x = table[token]
            h = self.layer(0, np.concatenate([x, o]) if writer.input_feeding else x, states)
            if writer.attention == "none":
                c, a = e, np.zeros(len(source))
            else:
                scores = np.array([self.score(h, m, cov) for m, cov in zip(m_S, seen, strict=True)])
                a = np.exp(scores - scores.max())
                a = a / a.sum()
                c = a @ m_S
            seen = seen + a
            all_a.append(a)
            for layer in range(1, writer.layers):
                h = self.layer(layer, np.concatenate([h, c]), states)
            o = np.tanh(w["writer.output.weight"] @ np.concatenate([h, c]) + w["writer.output.bias"])
        return self.said(source, o, c, h, x, np.array(all_a))

    def transformed(self, source, before):
        """o, c, h, x and where each token looked, of a transformer."""
        w, writer = self.w, self.writer
        m_S, _ = self.read(source)
        table = w["embedding.weight" if writer.shared else "writer.embedding.weight"]
        x_T = table[[END, *before]]
        o_T, a_TS = transformer.run(self.part("writer."), x_T, writer.layers, writer.heads, m_S)
        return o_T[-1], a_TS[-1] @ m_S, o_T[-1], x_T[-1], a_TS

    def said(self, source, o, c, h, x, all_a):
        """log p of each token, and the attention of all steps."""
        w, writer, a = self.w, self.writer, all_a[-1]
        table = w["embedding.weight" if writer.shared else "writer.embedding.weight"]
        logits = (table if writer.tied else w["head.weight"]) @ o + w["head.bias"]
        logits[0] = -np.inf
        p = np.exp(logits - logits.max())
        p = p / p.sum()
        if writer.copy:
            z = (w["writer.copy.weight"] @ np.concatenate([c, h, x]) + w["writer.copy.bias"])[0]
            gate = 1 / (1 + np.exp(-z))
            p = gate * p
            for place, token in enumerate(source):
                p[token] += (1 - gate) * a[place]
        with np.errstate(divide="ignore"):
            return np.log(p), all_a

    def layer(self, layer, x, states):
        y, states[layer], _ = ORACLES[self.writer.cell].forward(self.part(f"writer.{layer}."), x[None], states[layer])
        return y[0]

    def score(self, q, m, cov):
        w, kind = self.w, self.writer.attention
        if kind == "dot":
            return q @ m
        if kind == "general":
            return q @ w["writer.attention.w_HP"] @ m
        z = w["writer.attention.q_AH"] @ q + w["writer.attention.m_AP"] @ m + w["writer.attention.b_A"]
        if self.writer.coverage:
            z = z + w["writer.attention.c_A"] * cov
        return w["writer.attention.v_A"] @ np.tanh(z)

    def nats(self, source, target):
        """-log p of each token of a target and of its end."""
        return [-self.next(source, target[:t])[0][token] for t, token in enumerate([*target, END])]

    def targets(self, source, longest, tokens):
        """(ids, log p, whether it ended, attention) of every target: those that end, and those cut at `longest`."""
        found = []
        for length in range(longest + 1):
            for ids in itertools.product(tokens, repeat=length):
                rows = [self.next(source, ids[:t]) for t in range(length + (length < longest))]
                total = sum(row[0][token] for row, token in zip(rows, ids, strict=False))
                if length < longest:
                    found.append((ids, total + rows[-1][0][END], True, rows[-1][1]))
                else:
                    found.append((ids, total, False, rows[-1][1]))
        return found
