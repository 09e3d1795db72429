"""The equations of `core.writer` with NumPy: one step of several beginnings, and whole targets that are known.

N beginnings or tokens, B sources, S places of a source, T tokens, P memory, K keys, V outputs, E embedding, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.kernels.decoding import END, Memory, Network
from gatework.kernels.layer import Float32
from gatework.kernels.sequence import sequence

IntArray = npt.NDArray[np.integer]

LARGE = 1 << 22
"""Numbers made at once: what bounds the memory of known targets, 16 MB."""


class Places(NamedTuple):
    """Where N beginnings look: one source for all of them, N = 1, or one for each, the shorter ones padded."""

    m_NSP: Float32
    keys_NSK: Float32
    ids_NS: IntArray
    real_NS: npt.NDArray[np.bool_]
    summary_NP: Float32

    @classmethod
    def of(cls, memory: Memory, sources: Sequence[int]) -> Places:
        """Those of some sources."""
        lengths_N = [memory.source(b).stop - memory.source(b).start for b in sources]
        real_NS = np.arange(max(lengths_N)) < np.array(lengths_N)[:, None]

        def padded(rows: Any) -> Any:
            to = np.zeros((*real_NS.shape, *rows.shape[1:]), dtype=rows.dtype)
            for n, b in enumerate(sources):
                to[n, : lengths_N[n]] = rows[memory.source(b)]
            return to

        parts = padded(memory.m_NP), padded(memory.keys_NK), padded(memory.ids_N)
        return cls(*parts, real_NS, memory.summary_BP[list(sources)])


class Rows(NamedTuple):
    """Where N beginnings stand."""

    layers: tuple[Any, ...]
    """Each layer's State."""
    fed_NE: Float32
    """o of the step before."""
    seen_NS: Float32
    """Attention so far, summed over the steps."""

    def select(self, rows: Sequence[int]) -> Rows:
        """The beginnings that go on from these."""
        layers = tuple(type(state)(*(part[rows] for part in state)) for state in self.layers)
        return Rows(layers, self.fed_NE[rows], self.seen_NS[rows])


def begin(network: Network, memory: Memory, sources: Sequence[int]) -> Rows:
    """Before the first step, a beginning for each of some sources."""
    places = max(memory.source(b).stop - memory.source(b).start for b in sources)
    fed_NE = np.zeros((len(sources), len(network.output_E)), dtype=np.float32)
    seen_NS = np.zeros((len(sources), places), dtype=np.float32)
    return Rows(memory.start.select(list(sources)).layers, fed_NE, seen_NS)


def step(network: Network, places: Places, read_N: IntArray, rows: Rows) -> tuple[Float32, Float32, Rows]:
    """One token on: log p of the next one (N, V), attention (N, S), and where the beginnings stand then."""
    x_NE = network.embedding_VE[read_N]
    lengths, layers = np.ones(len(read_N), dtype=np.int64), []

    def layer(k: int, x_NI: Float32) -> Float32:
        packed = network.layers[k]
        y_1NH, state = sequence(packed.cell.name, x_NI[None], lengths, packed, rows.layers[k])
        layers.append(state)
        y_NH: Float32 = y_1NH[0]
        return y_NH

    h_NH = layer(0, np.concatenate([x_NE, rows.fed_NE], axis=1) if network.input_feeding else x_NE)
    c_NP, a_NS = attend(network, places, h_NH, rows.seen_NS)
    for k in range(1, len(network.layers)):
        h_NH = layer(k, np.concatenate([h_NH, c_NP], axis=1))
    o_NE = np.tanh(np.concatenate([h_NH, c_NP], axis=1) @ network.output_EW.T + network.output_E)
    log_p_NV = log_p(network, places, o_NE, c_NP, h_NH, x_NE, a_NS)
    return log_p_NV, a_NS, Rows(tuple(layers), o_NE, rows.seen_NS + a_NS)


def attend(network: Network, places: Places, q_NH: Float32, seen_NS: Float32) -> tuple[Float32, Float32]:
    """c_NP and the weights a_NS; without attention the summary and zeros."""
    attention = network.attention
    if attention is None:
        return np.broadcast_to(places.summary_NP, (len(q_NH), places.summary_NP.shape[1])), np.zeros_like(seen_NS)
    if attention.query_AH is None:
        scores_NS = (places.keys_NSK @ q_NH[:, :, None])[:, :, 0]
    else:
        z_NSA = (q_NH @ attention.query_AH.T)[:, None] + places.keys_NSK
        if attention.coverage_A is not None:
            z_NSA += seen_NS[:, :, None] * attention.coverage_A
        scores_NS = np.tanh(z_NSA) @ attention.vector_A
    scores_NS = np.where(places.real_NS, scores_NS, np.float32(-np.inf))
    a_NS = np.exp(scores_NS - scores_NS.max(axis=1, keepdims=True))
    a_NS /= a_NS.sum(axis=1, keepdims=True)
    return (a_NS[:, None] @ places.m_NSP)[:, 0], a_NS


def log_p(
    network: Network, places: Places, o_NE: Float32, c_NP: Float32, h_NH: Float32, x_NE: Float32, a_NS: Float32
) -> Float32:
    """log p of every token, (N, V); -inf of padding."""
    logits_NV: Float32 = o_NE @ network.table_VE.T + network.bias_V
    most_N1 = logits_NV.max(axis=1, keepdims=True)
    logits_NV -= most_N1 + np.log(np.exp(logits_NV - most_N1).sum(axis=1, keepdims=True))
    if network.copy_W is None:
        return logits_NV
    z_N1 = (np.concatenate([c_NP, h_NH, x_NE], axis=1) @ network.copy_W + network.copy_bias)[:, None]
    copied_NV = np.zeros_like(logits_NV)
    rows_N1 = np.arange(len(a_NS))[:, None]
    np.add.at(copied_NV, (rows_N1, np.broadcast_to(places.ids_NS, a_NS.shape)), a_NS)
    copied_NV[:, 0] = 0.0  # where a shorter source is padded
    with np.errstate(divide="ignore"):
        log_copied_NV = np.log(copied_NV) - np.logaddexp(0.0, z_N1)
    mixed_NV: Float32 = np.logaddexp(logits_NV - np.logaddexp(0.0, -z_N1), log_copied_NV).astype(np.float32)
    return mixed_NV


def known_targets(network: Network, memory: Memory, targets: Sequence[IntArray]) -> list[Float32]:
    """-log p of each token of a target for each source, and of its end, (T + 1,)."""
    wanted = [np.append(np.asarray(target, dtype=np.int64), END) for target in targets]
    lengths_B = np.array([len(ids) for ids in wanted])
    read_TB = np.full((lengths_B.max(), len(wanted)), END)
    for b, ids in enumerate(wanted):
        read_TB[1 : len(ids), b] = ids[:-1]
    if network.stepwise:
        return _by_steps(network, memory, wanted, read_TB)
    x_TBE = network.embedding_VE[read_TB]
    layers, states = network.layers, memory.start.layers
    q_TBH = sequence(layers[0].cell.name, x_TBE, lengths_B, layers[0], states[0])[0]
    places = [Places.of(memory, [b]) for b in range(len(wanted))]
    looked = [_look(network, one, q_TBH[: len(wanted[b]), b]) for b, one in enumerate(places)]
    h_TBH = q_TBH
    if len(layers) > 1:
        c_TBP = np.zeros((*read_TB.shape, memory.m_NP.shape[1]), dtype=np.float32)
        for b, (c_TP, _) in enumerate(looked):
            c_TBP[: len(c_TP), b] = c_TP
        for packed, state in zip(layers[1:], states[1:], strict=True):
            x_TBI = np.concatenate([h_TBH, c_TBP], axis=2)
            h_TBH = sequence(packed.cell.name, x_TBI, lengths_B, packed, state)[0]
    nats = []
    for b, (c_TP, a_TS) in enumerate(looked):
        h_TH, x_TE = h_TBH[: len(c_TP), b], x_TBE[: len(c_TP), b]
        nats.append(_nats(network, places[b], h_TH, c_TP, x_TE, a_TS, wanted[b]))
    return nats


def _look(network: Network, places: Places, q_TH: Float32) -> tuple[Float32, Float32]:
    """`attend` of many tokens to one source, some of them at a time."""
    some = max(1, LARGE // places.keys_NSK.size)
    seen_TS = np.zeros((len(q_TH), places.real_NS.shape[1]), dtype=np.float32)
    starts = range(0, len(q_TH), some)
    parts = [attend(network, places, q_TH[at : at + some], seen_TS[at : at + some]) for at in starts]
    return np.concatenate([c for c, _ in parts]), np.concatenate([a for _, a in parts])


def _nats(
    network: Network, places: Places, h_TH: Float32, c_TP: Float32, x_TE: Float32, a_TS: Float32, wanted_T: IntArray
) -> Float32:
    nats_T = np.empty(len(wanted_T), dtype=np.float32)
    some = max(1, LARGE // len(network.table_VE))
    for first in range(0, len(wanted_T), some):
        at = slice(first, first + some)
        o_TE = np.tanh(np.concatenate([h_TH[at], c_TP[at]], axis=1) @ network.output_EW.T + network.output_E)
        log_p_TV = log_p(network, places, o_TE, c_TP[at], h_TH[at], x_TE[at], a_TS[at])
        nats_T[at] = -log_p_TV[np.arange(len(log_p_TV)), wanted_T[at]]
    return nats_T


def _by_steps(network: Network, memory: Memory, wanted: Sequence[IntArray], read_TB: IntArray) -> list[Float32]:
    """What a step reads comes of the step before: one after the other, all sources together."""
    everyone = range(len(wanted))
    places, rows = Places.of(memory, everyone), begin(network, memory, everyone)
    nats = [np.empty(len(ids), dtype=np.float32) for ids in wanted]
    for t, read_B in enumerate(read_TB):
        log_p_BV, _, rows = step(network, places, read_B, rows)
        for b, ids in enumerate(wanted):
            if t < len(ids):
                nats[b][t] = -log_p_BV[b, ids[t]]
    return nats
