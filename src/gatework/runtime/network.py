"""The forward pass of an architecture in NumPy and the kernels: token ids in, a row of logits a sequence out.

Agrees with `nn.Network` on the same weights. Windows run in groups of bounded size and are pooled as they come, so the
memory of an answer does not grow with the text beyond its token ids.

T time, W windows, B sequences, I what the encoder reads, M lengths of n-grams from two up, P outputs of the encoder,
C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.architecture import Architecture
from gatework.core.batch import TextBatch
from gatework.core.errors import BundleError
from gatework.core.quantize import SCALE
from gatework.core.tensors import TensorFile
from gatework.runtime.characters import CharacterComposition
from gatework.runtime.pooling import Attention, make_group, make_pools
from gatework.runtime.shapes import check_shapes, directions
from gatework.runtime.tables import Table, dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

GROUP_TOKENS = 8192
"""Tokens that run through the encoder together, padding counted: what bounds the memory of an answer."""


class Network:
    """An architecture with its weights, ready to run. Nothing changes after it is made: any threads may share it."""

    def __init__(
        self, architecture: Architecture, weights: TensorFile, *, source: str, precision: str = "float32"
    ) -> None:
        """Raises: BundleError: `weights` are not those of the architecture. ConfigError: `precision` is unknown."""
        check_shapes(architecture, weights, source=source)
        self.architecture = a = architecture
        self._source = source
        self._embedding = Table(weights, "embedding.weight", source=source)
        self._local = Table(weights, "local.weight", source=source) if a.ngram_embedding else None
        self._characters = None
        if a.characters is not None:
            self._characters = CharacterComposition(a.characters, weights, source=source)
        names = CELLS[a.encoder.cell].Params._fields
        self._layers = [
            [
                kernels.pack(
                    a.encoder.cell,
                    {name: dense(weights, f"encoder.{layer}.{way}.{name}") for name in names},
                    precision=precision,
                )
                for way in directions(a)
            ]
            for layer in range(a.encoder.layers)
        ]
        self._attention = None
        if a.attention:
            self._attention = Attention(*(dense(weights, f"attention.{name}") for name in Attention._fields))
        self._ngrams = Table(weights, "ngrams.weight", source=source) if a.ngram_rows else None
        self._head_PC = np.ascontiguousarray(dense(weights, "head.weight").T)
        self._bias_C = dense(weights, "head.bias")
        self._weights: TensorFile | None = weights  # until `alone` is first asked
        self._sentence: kernels.Sentence | None = None

    def __call__(self, batch: TextBatch) -> Float32:
        """Logits of each sequence, (B, C). Raises BundleError where the batch was made by another model's codec."""
        a = self.architecture
        pools = make_pools(
            a.pooling,
            batch.sequences,
            a.encoder.outputs,
            bidirectional=a.encoder.bidirectional,
            attention=self._attention,
        )
        for windows in _groups(batch.lengths_W):
            lengths_W = batch.lengths_W[windows]
            time = int(lengths_W.max())
            y_TWP = self._encode(self._read(batch, windows, time), lengths_W)
            group = make_group(y_TWP, lengths_W, batch.sequence_W[windows])
            for pool in pools:
                pool.add(group)
        pooled = [pool.result() for pool in pools]
        pooled_BP = pooled[0] if len(pooled) == 1 else np.concatenate(pooled, axis=1)
        logits_BC: Float32 = pooled_BP @ self._head_PC
        logits_BC += self._bias_C
        if self._ngrams is not None:
            logits_BC += self._wide(self._ngrams, batch)
        return logits_BC

    def alone(self, one: Any) -> Float32 | None:
        """Logits (1, C) of one encoded text (`text.Encoded`) that fits into a window, as fast as can be.

        None where it has to go the general road, `__call__`: other models and longer texts.
        """
        weights = self._weights
        if weights is not None:
            self._sentence = self._make_sentence(weights)
            self._weights = None
        if self._sentence is None or len(one.tokens) > self.architecture.window:
            return None
        logits_BC = np.empty((1, self.architecture.outputs), dtype=np.float32)
        return logits_BC if self._sentence.run(one.tokens, one.local, one.ngram_rows, logits_BC) else None

    def _make_sentence(self, weights: TensorFile) -> kernels.Sentence | None:
        a = self.architecture
        around = a.encoder.residual and a.encoder.outputs == a.encoder_inputs
        if self._characters is not None or around:
            return None
        names = CELLS[a.encoder.cell].Params._fields
        return kernels.sentence(
            a.encoder.cell,
            self._layers,
            [{name: dense(weights, f"encoder.0.{way}.{name}") for name in names} for way in directions(a)],
            tokens=self._embedding.stored,
            locals_=None if self._local is None else self._local.stored,
            ngrams=None if self._ngrams is None else self._ngrams.stored,
            head_CP=self._head_PC.T,
            bias_C=self._bias_C,
            pooling=a.pooling,
            residual=a.encoder.residual,
            recurrent=self._stored_recurrent(weights),
        )

    def _stored_recurrent(self, weights: TensorFile) -> list[tuple[Any, Float32]]:
        """The encoder's recurrent matrices as they lie, where all of them are int8; else none."""
        a, name = self.architecture, CELLS[self.architecture.encoder.cell].Params._fields[1]
        names = [f"encoder.{layer}.{way}.{name}" for layer in range(a.encoder.layers) for way in directions(a)]
        if any(weights.slots[name].dtype != "I8" for name in names):
            return []
        scales = (np.ascontiguousarray(weights[name + SCALE], dtype=np.float32) for name in names)
        return list(zip((weights[name] for name in names), scales, strict=True))

    def _read(self, batch: TextBatch, windows: slice, time: int) -> Float32:
        """What the first layer reads of some windows, (T, W, I): token vectors and what joins them."""
        parts = [self._embedding[batch.tokens_WT[windows, :time].T]]
        if self._local is not None:
            local_TWM = batch.local_WTM[windows, :time].swapaxes(0, 1)
            if not local_TWM.shape[2]:
                raise BundleError(f"{self._source}: the model reads n-grams, its tokenizer has none. Export again.")
            parts.append(self._local[local_TWM].sum(2))
        if self._characters is not None:
            if batch.characters_WTK is None:
                raise BundleError(
                    f"{self._source}: the model composes characters, its tokenizer has none. Export again."
                )
            parts.append(self._characters(batch.characters_WTK[windows, :time].swapaxes(0, 1)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _encode(self, x_TWI: Float32, lengths_W: IntArray) -> Float32:
        """Outputs of the last layer, (T, W, P), zero past each length."""
        encoder = self.architecture.encoder
        for layer in self._layers:
            if len(layer) == 2:
                y_TWP = kernels.both_ways(encoder.cell, x_TWI, lengths_W, layer[0], layer[1])[0]
            else:
                y_TWP = kernels.sequence(encoder.cell, x_TWI, lengths_W, layer[0])[0]
            if encoder.residual and y_TWP.shape == x_TWI.shape:
                y_TWP += x_TWI
                y_TWP[np.arange(len(y_TWP))[:, None] >= lengths_W] = 0.0
            x_TWI = y_TWP
        return x_TWI

    def _wide(self, table: Table, batch: TextBatch) -> Float32:
        """Logits of the n-grams: rows summed over a sequence, over the root of their number."""
        starts_B = batch.ngram_starts_B
        counts_B = starts_B[1:] - starts_B[:-1]
        wide_BC = np.zeros((batch.sequences, self.architecture.outputs), dtype=np.float32)
        some = counts_B > 0
        if some.any():
            wide_BC[some] = np.add.reduceat(table[batch.ngram_rows_N], starts_B[:-1][some], axis=0)
            wide_BC /= np.sqrt(np.maximum(counts_B, 1)).astype(np.float32)[:, None]
        return wide_BC


def _groups(lengths_W: IntArray) -> Iterator[slice]:
    """Consecutive windows, at most GROUP_TOKENS with padding in each group, but at least one window."""
    count = len(lengths_W)
    if count * int(lengths_W.max(initial=1)) <= GROUP_TOKENS:
        yield slice(0, count)
        return
    start, longest = 0, 0
    for index, length in enumerate(lengths_W.tolist()):
        longest = max(longest, length)
        if index > start and longest * (index + 1 - start) > GROUP_TOKENS:
            yield slice(start, index)
            start, longest = index, length
    yield slice(start, count)
