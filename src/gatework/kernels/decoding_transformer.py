"""A transformer writer, by the equations of `core.transformer`: steps that keep the keys and values of what they have
read, and known targets at once; with NumPy.

N beginnings or tokens, B sources, S places of a source, T tokens, P memory, V outputs, d units, which are E and H, L
layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gatework.core.transformer import EPSILON
from gatework.kernels import dispatch
from gatework.kernels.decoding import Memory
from gatework.kernels.decoding_network import IntArray, Network, Places, Said, Step, read_and_wanted
from gatework.kernels.layer import Float32
from gatework.kernels.product import plain, product
from gatework.kernels.transformer import Affine, Layer, attend, placed


class Rows(NamedTuple):
    """What N beginnings of one length have read: keys and values of each layer."""

    kept_NTL2d: Float32

    def select(self, rows: Sequence[int]) -> Rows:
        """The beginnings that go on from these."""
        return Rows(self.kept_NTL2d[rows])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TransformerNetwork(Network):
    """A transformer writer with its weights. Of its memory the keys are those of each layer and its values, L times 2 d
    wide."""

    layers: tuple[Layer, ...]
    norm: Affine
    """Of the output."""
    heads: int
    memory: int
    """P."""

    @property
    def looks(self) -> bool:
        return True

    @property
    def foldable(self) -> bool:
        return False

    def begin(self, memory: Memory, sources: Sequence[int]) -> Rows:
        units = self.embedding_VE.shape[1]
        return Rows(np.zeros((len(sources), 0, len(self.layers), 2 * units), dtype=np.float32))

    def step(self, places: Places, read_N: IntArray, rows: Any) -> Step:
        x_N1d = self.embedding_VE[read_N][:, None]
        o_N1d, a_N1S, kept_N1L2d = self._run(x_N1d, rows.kept_NTL2d, places)
        said = self._said(places.m_NSP, x_N1d[:, 0], o_N1d[:, 0], a_N1S[:, 0])
        longer = Rows(np.concatenate([rows.kept_NTL2d, kept_N1L2d], axis=1))
        return Step(self.log_p(places, said), said.a_NS, longer)

    def nats(self, memory: Memory, targets: Sequence[IntArray]) -> list[Float32]:
        read_TB, wanted = read_and_wanted(targets)
        everyone = range(len(wanted))
        x_BTd, places = self.embedding_VE[read_TB.T], Places.of(memory, everyone)
        o_BTd, a_BTS, _ = self._run(x_BTd, self.begin(memory, everyone).kept_NTL2d, places)
        nats = []
        for b, ids in enumerate(wanted):
            own, at = Places.of(memory, [b]), slice(len(ids))
            a_TS = a_BTS[b, at, : own.real_NS.shape[1]]
            nats.append(self.nats_of(own, self._said(own.m_NSP, x_BTd[b, at], o_BTd[b, at], a_TS), ids))
        return nats

    def compiled(self, *, precision: str, folds: bool) -> Any:
        level = dispatch.level()
        if level == dispatch.NUMPY:
            return None

        def packed(affine: Affine) -> Any:
            return product(affine.weight, affine.bias, level=level, precision=precision)

        def given(layer: Layer) -> dict[str, Any]:
            parts = layer._asdict()
            return {name: _norm(part) if name.endswith("norm") else packed(part) for name, part in parts.items()}

        return dispatch.extension().decode.Decoder(
            {
                "layers": [given(layer) for layer in self.layers],
                "norm": _norm(self.norm),
                "heads": self.heads,
                "epsilon": EPSILON,
                "memory": self.memory,
                "embedding": plain(self.embedding_VE),
                "head": packed(Affine(self.table_VE, self.bias_V)),
                "copy": plain(self.copy_W),
                "copy_bias": self.copy_bias,
            }
        )

    def _said(self, m_NSP: Float32, x_Nd: Float32, o_Nd: Float32, a_NS: Float32) -> Said:
        return Said(o_Nd, (a_NS[:, None] @ m_NSP)[:, 0], o_Nd, x_Nd, a_NS)

    def _run(self, x_NTd: Float32, before_NTL2d: Float32, places: Places) -> tuple[Float32, Float32, Float32]:
        """o_NTd of tokens that come after others, where they look (N, T, S), and their keys and values."""
        begun, tokens = before_NTL2d.shape[1], x_NTd.shape[1]
        known_1TS = (np.arange(begun + tokens) <= begun + np.arange(tokens)[:, None])[None]
        x_NTd, found = placed(x_NTd, begun), []
        memory = np.split(places.keys_NSK, 2 * len(self.layers), axis=2)
        for number, layer in enumerate(self.layers):
            assert layer.source_norm and layer.source_query and layer.source_output  # a writer's  # noqa: PT018
            own_NT3d = layer.self_(layer.self_norm.norm(x_NTd))
            units = x_NTd.shape[2]
            found.append(own_NT3d[:, :, None, units:])
            kept_NSd2 = np.concatenate([before_NTL2d[:, :, number], own_NT3d[:, :, units:]], axis=1)
            keys, values = kept_NSd2[:, :, :units], kept_NSd2[:, :, units:]
            x_NTd = x_NTd + layer.self_output(attend(own_NT3d[:, :, :units], keys, values, self.heads, known_1TS)[0])
            query_NTd = layer.source_query(layer.source_norm.norm(x_NTd))
            keys, values = memory[2 * number : 2 * number + 2]
            seen_NTd, a_NTS = attend(query_NTd, keys, values, self.heads, places.real_NS[:, None])
            x_NTd = layer.think(x_NTd + layer.source_output(seen_NTd))
        return self.norm.norm(x_NTd), a_NTS, np.concatenate(found, axis=2)


def _norm(affine: Affine) -> tuple[Float32 | None, Float32 | None]:
    return plain(affine.weight), plain(affine.bias)
