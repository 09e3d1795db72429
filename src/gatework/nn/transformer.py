"""Transformers in training: an encoder that is one, and a writer that is one; the equations are in `core.transformer`.

`dropout` acts on what each half of a layer adds, in training alone.

B sequences, T tokens, S places they look at, d units, A heads, P width of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gatework.core.architecture import Encoder
from gatework.core.transformer import EPSILON
from gatework.core.writer import Writer
from gatework.kernels.transformer import positions
from gatework.nn.dropout import dropout
from gatework.nn.pairs import Seen


class TransformerEncoder(nn.Module):
    """Vectors of sources to their memory."""

    def __init__(self, encoder: Encoder, *, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Layer(encoder.units, encoder.heads, encoder.inner, memory=0, dropout=dropout)
            for _ in range(encoder.layers)
        )
        self.norm = nn.LayerNorm(encoder.units, eps=EPSILON)
        self.outputs = encoder.units
        """P."""

    def forward(self, x_BSd: Tensor, real_BS: Tensor) -> Tensor:
        """m_BSP; past a length anything."""
        x_BSd = _placed(x_BSd)
        for layer in self.layers:
            x_BSd = layer(x_BSd, real_BS[:, None])
        m_BSP: Tensor = self.norm(x_BSd)
        return m_BSP

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle, without the leading `encoder.`."""
        return _names(self.layers, self.norm)


class TransformerWriter(nn.Module):
    """The layers of a writer; all tokens of a known target at once."""

    def __init__(self, writer: Writer, memory: int, *, dropout: float, output_dropout: float) -> None:
        """
        Args:
            memory: P.
            output_dropout: on what the output table reads.
        """
        super().__init__()
        self.writer, self.output_dropout = writer, output_dropout
        self.layers = nn.ModuleList(
            _Layer(writer.units, writer.heads, writer.inner, memory=memory, dropout=dropout)
            for _ in range(writer.layers)
        )
        self.norm = nn.LayerNorm(writer.units, eps=EPSILON)

    def forward(self, x_BTE: Tensor, m_BSP: Tensor, e_BP: Tensor, real_BS: Tensor, lengths_B: Tensor) -> Seen:
        """As `RecurrentWriter`; `e_BP` and `lengths_B` change nothing."""
        tokens = x_BTE.shape[1]
        before_1TT = torch.ones(1, tokens, tokens, dtype=torch.bool).tril()
        h_BTd, a_BTS = _placed(x_BTE), m_BSP
        layer: Any
        for layer in self.layers:
            h_BTd, a_BTS = layer.looking(h_BTd, before_1TT, m_BSP, real_BS[:, None])
        o_BTE = self.norm(h_BTd)
        c_BTP = a_BTS.to(m_BSP.dtype) @ m_BSP if self.writer.copy else None
        copies_BTX = None if c_BTP is None else torch.cat([c_BTP, o_BTE.to(c_BTP.dtype), x_BTE.to(c_BTP.dtype)], 2)
        return Seen(dropout(o_BTE, self.output_dropout, self.training), a_BTS, copies_BTX)

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle, without the leading `writer.`."""
        return _names(self.layers, self.norm)


class _Layer(nn.Module):
    def __init__(self, units: int, heads: int, inner: int, *, memory: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.self_norm, self.inner_norm = (nn.LayerNorm(units, eps=EPSILON) for _ in range(2))
        self.self_, self.self_output = _dense(3 * units, units, parts=3), _dense(units, units)
        self.inner, self.inner_output = _dense(inner, units), _dense(units, inner)
        self.looks = memory > 0
        if self.looks:
            self.source_norm = nn.LayerNorm(units, eps=EPSILON)
            self.source_query, self.source_output = _dense(units, units), _dense(units, units)
            self.source_memory = _dense(2 * units, memory, parts=2)

    def forward(self, x_BTd: Tensor, allowed: Tensor) -> Tensor:
        """A layer of an encoder; `allowed` is (B or 1, T or 1, T)."""
        return self._think(self._own(x_BTd, allowed))

    def looking(self, x_BTd: Tensor, allowed: Tensor, m_BSP: Tensor, real_B1S: Tensor) -> tuple[Tensor, Tensor]:
        """A layer of a writer, and where it looked, (B, T, S), the mean over heads."""
        x_BTd = self._own(x_BTd, allowed)
        keys_BSd, values_BSd = self.source_memory(m_BSP).chunk(2, 2)
        query_BTd = self.source_query(self.source_norm(x_BTd))
        seen_BTd, a_BATS = _attend(query_BTd, keys_BSd, values_BSd, self.heads, real_B1S)
        return self._think(x_BTd + self._dropped(self.source_output(seen_BTd))), a_BATS.mean(1)

    def parameters_by_name(self) -> Iterator[tuple[str, Tensor]]:
        """As a bundle names them."""
        for name in ("self", *(["source"] if self.looks else []), "inner"):
            norm = getattr(self, f"{name}_norm")
            yield f"{name}.norm.gain", norm.weight
            yield f"{name}.norm.shift", norm.bias
        source = {"source.query": "source_query", "source.memory": "source_memory", "source.output": "source_output"}
        names = {"self": "self_", "self.output": "self_output", **(source if self.looks else {})}
        for name, own in {**names, "inner": "inner", "inner.output": "inner_output"}.items():
            dense = getattr(self, own)
            yield f"{name}.weight", dense.weight
            yield f"{name}.bias", dense.bias

    def _own(self, x_BTd: Tensor, allowed: Tensor) -> Tensor:
        q_BTd, k_BTd, v_BTd = self.self_(self.self_norm(x_BTd)).chunk(3, 2)
        return x_BTd + self._dropped(self.self_output(_attend(q_BTd, k_BTd, v_BTd, self.heads, allowed)[0]))

    def _think(self, x_BTd: Tensor) -> Tensor:
        return x_BTd + self._dropped(self.inner_output(torch.relu(self.inner(self.inner_norm(x_BTd)))))

    def _dropped(self, x_BTd: Tensor) -> Tensor:
        return dropout(x_BTd, self.dropout, self.training)


def _attend(q_BTd: Tensor, k_BSd: Tensor, v_BSd: Tensor, heads: int, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """What is seen, (B, T, d), and the weights, (B, A, T, S)."""

    def cut(x_BTd: Tensor) -> Tensor:
        return x_BTd.reshape(*x_BTd.shape[:2], heads, -1).transpose(1, 2)

    scores_BATS = cut(q_BTd) @ cut(k_BSd).transpose(2, 3) * (q_BTd.shape[2] // heads) ** -0.5
    a_BATS = torch.softmax(scores_BATS.masked_fill(~allowed[:, None], -torch.inf), 3)
    y_BATk = a_BATS.to(v_BSd.dtype) @ cut(v_BSd)
    return y_BATk.transpose(1, 2).flatten(2), a_BATS


def _placed(x_BTd: Tensor) -> Tensor:
    tokens, units = x_BTd.shape[1:]
    places_Td: Tensor = torch.from_numpy(positions(0, tokens, units)).to(x_BTd.dtype)
    return x_BTd * float(units**0.5) + places_Td


def _dense(rows: int, columns: int, *, parts: int = 1) -> nn.Linear:
    """Uniform (Glorot and Bengio 2010), each of so many parts on its own; a bias of zero."""
    made = nn.Linear(columns, rows)
    bound = (6.0 / (rows // parts + columns)) ** 0.5
    nn.init.uniform_(made.weight, -bound, bound)
    nn.init.zeros_(made.bias)
    return made


def _names(layers: nn.ModuleList, norm: nn.LayerNorm) -> Iterator[tuple[str, Tensor]]:
    own: Any
    for number, own in enumerate(layers):
        for name, weight in own.parameters_by_name():
            yield f"{number}.{name}", weight
    yield "norm.gain", norm.weight
    yield "norm.shift", norm.bias
