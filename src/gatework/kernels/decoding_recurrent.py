"""A recurrent writer, by the equations of `core.writer`: one step of several beginnings, and known targets; with NumPy.

N beginnings or tokens, B sources, S places of a source, T tokens, P memory, K keys, V outputs, E embedding, H units,
A attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gatework.kernels import dispatch
from gatework.kernels.decoding import Memory
from gatework.kernels.decoding_network import (
    LARGE,
    IntArray,
    Network,
    Places,
    Said,
    Step,
    read_and_wanted,
)
from gatework.kernels.generation import MOST_FOLDED
from gatework.kernels.layer import Float32
from gatework.kernels.product import plain, product
from gatework.kernels.sequence import Packed, sequence
from gatework.kernels.step import fold


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """How a query is compared with the keys of a `Memory`: the memory, W m (K = H), or W_m m + b (K = A)."""

    query_AH: Float32 | None = None
    """Additive attention: v . tanh(query q + key + coverage x cov). None: q . key."""
    vector_A: Float32 | None = None
    coverage_A: Float32 | None = None


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RecurrentNetwork(Network):
    """A recurrent writer with its weights."""

    layers: tuple[Packed, ...]
    attention: Attention | None
    """None for a writer that sees the summary of its source alone."""
    output_EW: Float32
    """W is H + P."""
    output_E: Float32
    input_feeding: bool = False

    @property
    def looks(self) -> bool:
        return self.attention is not None

    @property
    def stepwise(self) -> bool:
        """Whether a step reads what the step before made of the source."""
        return self.input_feeding or (self.attention is not None and self.attention.coverage_A is not None)

    @property
    def foldable(self) -> bool:
        first = self.layers[0]
        nbytes = len(self.embedding_VE) * 4 * len(first.cell.gates) * first.units
        return nbytes <= MOST_FOLDED and not self.input_feeding

    def begin(self, memory: Memory, sources: Sequence[int]) -> Rows:
        assert memory.start is not None  # its memory is made for it
        places = max(memory.source(b).stop - memory.source(b).start for b in sources)
        fed_NE = np.zeros((len(sources), len(self.output_E)), dtype=np.float32)
        seen_NS = np.zeros((len(sources), places), dtype=np.float32)
        return Rows(memory.start.select(list(sources)).layers, fed_NE, seen_NS)

    def step(self, places: Places, read_N: IntArray, rows: Any) -> Step:
        x_NE = self.embedding_VE[read_N]
        lengths, layers = np.ones(len(read_N), dtype=np.int64), []

        def layer(k: int, x_NI: Float32) -> Float32:
            packed = self.layers[k]
            y_1NH, state = sequence(packed.cell.name, x_NI[None], lengths, packed, rows.layers[k])
            layers.append(state)
            y_NH: Float32 = y_1NH[0]
            return y_NH

        h_NH = layer(0, np.concatenate([x_NE, rows.fed_NE], axis=1) if self.input_feeding else x_NE)
        c_NP, a_NS = self.attend(places, h_NH, rows.seen_NS)
        for k in range(1, len(self.layers)):
            h_NH = layer(k, np.concatenate([h_NH, c_NP], axis=1))
        said = self._said(h_NH, c_NP, x_NE, a_NS)
        return Step(self.log_p(places, said), a_NS, Rows(tuple(layers), said.o_NE, rows.seen_NS + a_NS))

    def attend(self, places: Places, q_NH: Float32, seen_NS: Float32) -> tuple[Float32, Float32]:
        """c_NP and the weights a_NS; without attention the summary and zeros."""
        attention = self.attention
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

    def nats(self, memory: Memory, targets: Sequence[IntArray]) -> list[Float32]:
        read_TB, wanted = read_and_wanted(targets)
        return self._by_steps(memory, read_TB, wanted) if self.stepwise else self._at_once(memory, read_TB, wanted)

    def compiled(self, *, precision: str, folds: bool) -> Any:
        first, attention = self.layers[0], self.attention
        if any(packed.native is None for packed in self.layers):
            return None
        query = None if attention is None else attention.query_AH
        keys = 0 if attention is None else first.outputs if query is None else len(query)

        def packed(weight: Float32, bias: Float32 | None = None) -> Any:
            return product(weight, bias, level=first.level, precision=precision)

        return dispatch.extension().decode.Decoder(
            {
                "layers": [layer.native for layer in self.layers],
                "embedding": plain(self.embedding_VE),
                "table": fold(first, self.embedding_VE).rows_VS if folds else None,
                "query": None if query is None else packed(query),
                "vector": None if attention is None else plain(attention.vector_A),
                "coverage": None if attention is None else plain(attention.coverage_A),
                "output": packed(self.output_EW, self.output_E),
                "head": packed(self.table_VE, self.bias_V),
                "copy": plain(self.copy_W),
                "copy_bias": self.copy_bias,
                "input_feeding": self.input_feeding,
                "keys": keys,
            }
        )

    def _said(self, h_NH: Float32, c_NP: Float32, x_NE: Float32, a_NS: Float32) -> Said:
        o_NE = np.tanh(np.concatenate([h_NH, c_NP], axis=1) @ self.output_EW.T + self.output_E)
        return Said(o_NE, c_NP, h_NH, x_NE, a_NS)

    def _at_once(self, memory: Memory, read_TB: IntArray, wanted: list[IntArray]) -> list[Float32]:
        """Layer after layer, each over all tokens."""
        assert memory.start is not None
        lengths_B = np.array([len(ids) for ids in wanted])
        x_TBE, layers, states = self.embedding_VE[read_TB], self.layers, memory.start.layers
        q_TBH = sequence(layers[0].cell.name, x_TBE, lengths_B, layers[0], states[0])[0]
        places = [Places.of(memory, [b]) for b in range(len(wanted))]
        looked = [self._look(one, q_TBH[: len(wanted[b]), b]) for b, one in enumerate(places)]
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
            said = self._said(h_TBH[: len(c_TP), b], c_TP, x_TBE[: len(c_TP), b], a_TS)
            nats.append(self.nats_of(places[b], said, wanted[b]))
        return nats

    def _look(self, places: Places, q_TH: Float32) -> tuple[Float32, Float32]:
        """`attend` of many tokens to one source, some of them at a time."""
        some = max(1, LARGE // places.keys_NSK.size)
        seen_TS = np.zeros((len(q_TH), places.real_NS.shape[1]), dtype=np.float32)
        starts = range(0, len(q_TH), some)
        parts = [self.attend(places, q_TH[at : at + some], seen_TS[at : at + some]) for at in starts]
        return np.concatenate([c for c, _ in parts]), np.concatenate([a for _, a in parts])

    def _by_steps(self, memory: Memory, read_TB: IntArray, wanted: list[IntArray]) -> list[Float32]:
        """What a step reads comes of the step before: one after the other, all sources together."""
        everyone = range(len(wanted))
        places, rows = Places.of(memory, everyone), self.begin(memory, everyone)
        nats = [np.empty(len(ids), dtype=np.float32) for ids in wanted]
        for t, read_B in enumerate(read_TB):
            log_p_BV, _, rows = self.step(places, read_B, rows)
            for b, ids in enumerate(wanted):
                if t < len(ids):
                    nats[b][t] = -log_p_BV[b, ids[t]]
        return nats
