"""The forward pass of an architecture with the head per_sequence: token ids in, a row of logits a sequence out.

Agrees with `nn.Network` on the same weights. Windows run in groups of bounded size and are pooled as they come, so the
memory of an answer does not grow with the text beyond its token ids.

T time, W windows, B sequences, P outputs of the encoder, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.core import interrupt
from gatework.core.architecture import Architecture
from gatework.core.batch import TextBatch, token_budget_batches
from gatework.core.tensors import TensorFile
from gatework.runtime.encoder import GROUP_TOKENS, Encoder, groups, short_way
from gatework.runtime.inputs import NOTHING, Inputs
from gatework.runtime.pooling import Attention, Pool, make_group, make_pools
from gatework.runtime.reading import Reading
from gatework.runtime.shapes import check_shapes
from gatework.runtime.tables import Table, dense
from gatework.tasks import Codec

Float32 = npt.NDArray[np.float32]

MAX_BATCH = 512
"""Most texts run together."""


class Network:
    """An architecture with its weights, ready to run. Nothing changes after it is made: any threads may share it."""

    def __init__(
        self,
        architecture: Architecture,
        weights: TensorFile,
        *,
        source: str,
        precision: str = "float32",
        config: Mapping[str, Any] = NOTHING,
    ) -> None:
        """`config` is config.json, for a BERT or a language model outside the bundle.

        Raises: BundleError: `weights` are not those of the architecture. ConfigError: `precision` is unknown.
        """
        check_shapes(architecture, weights, source=source)
        self.architecture = a = architecture
        self._source = source
        self._inputs = Inputs(a, weights, source=source, precision=precision, config=config)
        self._encoder = Encoder(a, weights, precision=precision)
        self._attention = None
        if a.attention:
            self._attention = Attention(*(dense(weights, f"attention.{name}") for name in Attention._fields))
        self._ngrams = Table(weights, "ngrams.weight", source=source) if a.wide_outputs else None
        self._head_PC = np.ascontiguousarray(dense(weights, "head.weight").T)
        self._bias_C = dense(weights, "head.bias")
        self._weights: TensorFile | None = weights  # until `alone` is first asked
        self._sentence: kernels.Sentence | None = None

    def __call__(self, batch: TextBatch) -> Float32:
        """Logits of each sequence, (B, C). Raises BundleError where the batch was made by another model's codec."""
        pools = self._pools(batch.sequences)
        for windows in groups(batch.lengths_W):
            interrupt.check()
            lengths_W = batch.lengths_W[windows]
            time = int(lengths_W.max())
            y_TWP = self._encoder(self._inputs(batch, windows, time), lengths_W)
            group = make_group(y_TWP, lengths_W, batch.sequence_W[windows])
            for pool in pools:
                pool.add(group)
        logits_BC = self._said(pools)
        if self._ngrams is not None:
            logits_BC += self._wide(self._ngrams, batch)
        return logits_BC

    def outputs(self, codec: Codec, encoded: Sequence[Any], options: Mapping[str, Any]) -> Float32:
        """Logits of encoded texts, (B, C), whatever the options of a prediction."""
        if len(encoded) == 1 and (logits_BC := self.alone(encoded[0])) is not None:
            return logits_BC
        lengths_N = np.fromiter((len(one.tokens) for one in encoded), dtype=np.int64, count=len(encoded))
        logits_NC = np.empty((len(encoded), self.architecture.outputs), dtype=np.float32)
        for chosen in token_budget_batches(lengths_N, budget=GROUP_TOKENS, max_batch=MAX_BATCH):
            logits_NC[chosen] = self(codec.collate([encoded[index] for index in chosen.tolist()]))
        return logits_NC

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

    @property
    def reads_ahead(self) -> str:
        """Why what it reads of a token depends on tokens behind it, as in `the model ...`; empty where it does not."""
        if self.architecture.encoder.bidirectional:
            return "reads in both directions"
        if self._inputs.lexicon is not None:
            return "reads words of a lexicon, wherever they end"
        return "" if self._inputs.contextual is None else f"reads {self._inputs.contextual.reads}"

    def begin(self) -> Reading:
        """What is gathered of a text before its first token, by a network that does not read ahead."""
        wide_C = np.zeros(self.architecture.wide_outputs, dtype=np.float32)
        return Reading(self._encoder.begin(), tuple(self._pools(1)), np.empty(0, dtype=np.int32), wide_C)

    def read_on(self, reading: Reading, batch: TextBatch) -> Reading:
        """What is gathered with further tokens, all windows of `batch`, as one sequence."""
        state, pools = reading.state, [pool.copied() for pool in reading.pools]
        for w, length in enumerate(batch.lengths_W.tolist()):
            window = slice(w, w + 1)
            y_T1P, state = self._encoder.go_on(self._inputs(batch, window, length), state)
            group = make_group(y_T1P, batch.lengths_W[window], np.zeros(1, dtype=np.int64))
            for pool in pools:
                pool.add(group)
        rows_N, wide_C = reading.rows_N, reading.wide_C
        if self._ngrams is not None and len(new_N := np.setdiff1d(batch.ngram_rows_N, rows_N)):
            wide_C = wide_C + self._ngrams[new_N].sum(axis=0)
            rows_N = np.union1d(rows_N, new_N).astype(np.int32)
        return Reading(state, tuple(pools), rows_N, wide_C, reading.tokens + int(batch.lengths_W.sum()))

    def said(self, reading: Reading) -> Float32:
        """Logits of what is gathered, (1, C), after at least one token."""
        logits_1C = self._said(reading.pools)
        if len(reading.rows_N):
            logits_1C += reading.wide_C / np.sqrt(np.float32(len(reading.rows_N)))
        return logits_1C

    def vectors(self, batch: TextBatch) -> Float32:
        """What the encoder reads of a batch, x_TWI."""
        return self._inputs(batch, slice(0, len(batch.lengths_W)), int(batch.lengths_W.max()))

    def _pools(self, sequences: int) -> list[Pool]:
        a = self.architecture
        both = a.encoder.bidirectional
        return make_pools(a.pooling, sequences, a.encoder.outputs, bidirectional=both, attention=self._attention)

    def _said(self, pools: Sequence[Pool]) -> Float32:
        """Logits of what pools have gathered, (B, C)."""
        pooled = [pool.result() for pool in pools]
        pooled_BP = pooled[0] if len(pooled) == 1 else np.concatenate(pooled, axis=1)
        logits_BC: Float32 = pooled_BP @ self._head_PC
        logits_BC += self._bias_C
        return logits_BC

    def _make_sentence(self, weights: TensorFile) -> kernels.Sentence | None:
        if self._inputs.beside_width:
            return None
        return short_way(
            self.architecture,
            self._inputs,
            self._encoder,
            weights,
            ngrams=None if self._ngrams is None else self._ngrams.stored,
            head_CP=self._head_PC.T,
            bias_C=self._bias_C,
        )

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
