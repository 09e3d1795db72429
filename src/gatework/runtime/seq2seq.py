"""The forward pass of an architecture with the head sequence: sources in, targets out; equations in `core.writer`.

    memory = model.encode([ids, ids])
    best = model.decode(memory, Search(beams=5))
    nats = model.nll([source], [target])                 # how likely targets are that are known

Agrees with `nn`'s model on the same weights.

B sources, S places of a source, N places of all, P memory, H units, A attention, E embedding, V outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.architecture import Architecture
from gatework.core.errors import BundleError, DataError
from gatework.core.tensors import TensorFile
from gatework.core.writer import Writer
from gatework.kernels import RecurrentState
from gatework.kernels.decoder import Decoder
from gatework.kernels.decoding import Memory
from gatework.kernels.decoding_network import Network
from gatework.kernels.decoding_recurrent import Attention, RecurrentNetwork
from gatework.kernels.decoding_transformer import TransformerNetwork
from gatework.kernels.transformer import Layer, norm_of
from gatework.runtime.answering import Answerer, checked
from gatework.runtime.encoder import Encoder, TransformerEncoder
from gatework.runtime.shapes import check_shapes, state_parts
from gatework.runtime.tables import Table, dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


class Seq2Seq(Answerer):
    """An architecture with its weights, ready to run. Nothing changes after it is made: any threads may share it."""

    def __init__(
        self, architecture: Architecture, weights: TensorFile, *, source: str, precision: str = "float32"
    ) -> None:
        """Raises: BundleError: `weights` are not those of the architecture. ConfigError: `precision` is unknown."""
        if architecture.writer is None:
            raise BundleError(f"{source}: the network has no head sequence. Export the model again.")
        check_shapes(architecture, weights, source=source)
        self.architecture, self.writer = architecture, architecture.writer
        self._table = Table(weights, "embedding.weight", source=source)
        reads = Encoder if architecture.encoder.network == "recurrent" else TransformerEncoder
        self._encoder = reads(architecture, weights, precision=precision)
        self._bridges = _bridges(self.writer, weights)
        self._keys = _keys(self.writer, weights)
        self.decoder = Decoder(
            _network(self.writer, weights, precision, memory=architecture.encoder.outputs), precision=precision
        )

    def encode(self, sources: Sequence[IntArray]) -> Memory:
        """What is read of sources, all together; `answer` and `nll` group those of like length.

        Raises: DataError: a source is empty, or an id is padding or not in the vocabulary.
        """
        ids = [checked(one, self.architecture.vocabulary, "source") for one in sources]
        lengths_B = np.array([len(one) for one in ids], dtype=np.int64)
        if not len(ids) or not lengths_B.all():
            raise DataError("A source has no tokens. There is nothing to read.")
        real_BS = np.arange(lengths_B.max()) < lengths_B[:, None]
        ids_N = np.concatenate(ids)
        ids_BS = np.zeros(real_BS.shape, dtype=np.int64)
        ids_BS[real_BS] = ids_N
        y_BSP = self._encoder(self._table[ids_BS.T], lengths_B).transpose(1, 0, 2)
        m_NP = y_BSP[real_BS]
        offsets = np.concatenate([[0], np.cumsum(lengths_B)])
        ahead = y_BSP.shape[2] // (2 if self.architecture.encoder.bidirectional else 1)
        e_BP = np.concatenate([m_NP[offsets[1:] - 1, :ahead], m_NP[offsets[:-1], ahead:]], axis=1)
        return Memory(m_NP, self._keys_of(m_NP), e_BP, ids_N.astype(np.int32), offsets, self._start(e_BP))

    def vectors(self, ids_S: IntArray) -> Float32:
        """What the encoder reads of a source, x_SI."""
        return self._table[ids_S]

    def _start(self, e_BP: Float32) -> RecurrentState | None:
        if self.writer.network == "transformer":
            return None
        cell, count = CELLS[self.writer.cell], len(self._bridges)
        states = tuple(cell.State(*(np.tanh(e_BP @ w.T + b) for w, b in bridge)) for bridge in self._bridges)
        return RecurrentState((cell.name,) * count, states, (self.writer.units,) * count)

    def _keys_of(self, m_NP: Float32) -> Float32:
        if self._keys is None:
            return m_NP
        weight, bias = self._keys
        keys: Float32 = m_NP @ weight.T + bias
        return keys


def _bridges(writer: Writer, weights: TensorFile) -> list[list[tuple[Float32, Float32]]]:
    """Weight and bias of each part of each layer's state; none of a transformer."""
    if writer.network == "transformer":
        return []
    names = [[f"writer.bridge.{layer}.{part}" for part in state_parts(writer.cell)] for layer in range(writer.layers)]
    return [[(dense(weights, f"{name}.weight"), dense(weights, f"{name}.bias")) for name in own] for own in names]


def _keys(writer: Writer, weights: TensorFile) -> tuple[Float32, Float32] | None:
    """What makes keys of the memory; None where they are the memory."""
    if writer.network == "transformer":
        names = [f"writer.{layer}.source.memory" for layer in range(writer.layers)]
        parts = [[dense(weights, f"{name}.{own}") for name in names] for own in ("weight", "bias")]
        return np.concatenate(parts[0]), np.concatenate(parts[1])
    if writer.attention == "general":
        return dense(weights, "writer.attention.w_HP"), np.zeros(writer.units, dtype=np.float32)
    if writer.attention == "additive":
        return dense(weights, "writer.attention.m_AP"), dense(weights, "writer.attention.b_A")
    return None


def _attention(writer: Writer, weights: TensorFile) -> Attention | None:
    if writer.attention == "none":
        return None
    if writer.attention != "additive":
        return Attention()
    return Attention(
        query_AH=dense(weights, "writer.attention.q_AH"),
        vector_A=dense(weights, "writer.attention.v_A"),
        coverage_A=dense(weights, "writer.attention.c_A") if writer.coverage else None,
    )


def _network(writer: Writer, weights: TensorFile, precision: str, *, memory: int) -> Network:
    if writer.network == "transformer":
        return _transformer(writer, weights, memory)
    names = CELLS[writer.cell].Params._fields
    layers = tuple(
        kernels.pack(
            writer.cell,
            {name: dense(weights, f"writer.{layer}.{name}") for name in names},
            precision=precision,
        )
        for layer in range(writer.layers)
    )
    return RecurrentNetwork(
        layers=layers,
        attention=_attention(writer, weights),
        output_EW=dense(weights, "writer.output.weight"),
        output_E=dense(weights, "writer.output.bias"),
        input_feeding=writer.input_feeding,
        **_output(writer, weights),
    )


def _transformer(writer: Writer, weights: TensorFile, memory: int) -> TransformerNetwork:
    names = [f"writer.{layer}" for layer in range(writer.layers)]
    return TransformerNetwork(
        layers=tuple(Layer.of(partial(dense, weights), name, looks=True) for name in names),
        norm=norm_of(partial(dense, weights), "writer.norm"),
        heads=writer.heads,
        memory=memory,
        **_output(writer, weights),
    )


def _output(writer: Writer, weights: TensorFile) -> dict[str, Any]:
    """What every `Network` has."""
    embedding_VE = dense(weights, "embedding.weight" if writer.shared else "writer.embedding.weight")
    bias_V = np.array(dense(weights, "head.bias"))
    bias_V[0] = -np.inf
    return {
        "embedding_VE": embedding_VE,
        "table_VE": embedding_VE if writer.tied else dense(weights, "head.weight"),
        "bias_V": bias_V,
        "copy_W": dense(weights, "writer.copy.weight")[0] if writer.copy else None,
        "copy_bias": float(dense(weights, "writer.copy.bias")[0]) if writer.copy else 0.0,
    }
