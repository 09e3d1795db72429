"""What reads a batch's tokens, as `nn.inputs` does: everything that joins into the vectors the encoder reads.

T time, W windows, I width of all parts together, M lengths of n-grams from two up, L words of a lexicon over tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import LEXICON_SETS, Architecture
from gatework.core.batch import LexiconBatch, TextBatch
from gatework.core.errors import BundleError
from gatework.core.tensors import TensorFile
from gatework.runtime.bert_input import BertInput
from gatework.runtime.characters import CharacterComposition
from gatework.runtime.contextual import ContextualInput
from gatework.runtime.states_input import StatesInput
from gatework.runtime.tables import Table

Float32 = npt.NDArray[np.float32]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Inputs:
    """Windows of a batch to the vectors of their tokens."""

    def __init__(
        self,
        architecture: Architecture,
        weights: TensorFile,
        *,
        source: str,
        precision: str = "float32",
        config: Mapping[str, Any] = NOTHING,
    ) -> None:
        """
        Args:
            precision: of the products of a language model.
            config: config.json, for a BERT or a language model outside the bundle.
        Raises: BundleError: that one is not to be had. ConfigError: `precision` is unknown.
        """
        a = architecture
        self._architecture, self._source = a, source
        self.embedding = Table(weights, "embedding.weight", source=source)
        self.local = Table(weights, "local.weight", source=source) if a.ngram_embedding else None
        self.lexicon = Table(weights, "lexicon.weight", source=source) if a.lexicon_rows else None
        self.characters = None
        if a.characters is not None:
            self.characters = CharacterComposition(a.characters, weights, source=source)
        self.contextual: ContextualInput | None = None
        if a.bert is not None:
            self.contextual = BertInput(a.bert, weights, config.get("bert"), source=source)
        if a.states is not None:
            reference = config.get("language_model")
            self.contextual = StatesInput(a.states, weights, reference, source=source, precision=precision)

    @property
    def beside_width(self) -> int:
        """Width of what `beside` gives."""
        a = self._architecture
        return (a.characters.outputs if a.characters else 0) + LEXICON_SETS * a.lexicon_embedding

    def beside(self, one: Any) -> Float32 | None:
        """What joins the token and n-gram vectors of one encoded text (`text.Encoded`), (T, X); None for nothing."""
        parts = []
        if self.characters is not None:
            if one.characters is None:
                raise self._lacks("composes characters")
            parts.append(self.characters(one.characters[:, None])[:, 0])
        if self.lexicon is not None:
            if one.lexicon is None:
                raise self._lacks("reads a lexicon")
            time = len(one.tokens)
            parts.append(_lexicon(self.lexicon, LexiconBatch(*one.lexicon), (1, time), slice(0, 1), time)[:, 0])
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0] if parts else None

    def __call__(self, batch: TextBatch, windows: slice, time: int) -> Float32:
        """x_TWI of some windows of a batch, the longest of which has `time` tokens."""
        parts = [self.embedding[batch.tokens_WT[windows, :time].T]]
        if self.local is not None:
            local_TWM = batch.local_WTM[windows, :time].swapaxes(0, 1)
            if not local_TWM.shape[2]:
                raise self._lacks("reads n-grams")
            parts.append(self.local[local_TWM].sum(2))
        if self.characters is not None:
            if batch.characters_WTK is None:
                raise self._lacks("composes characters")
            parts.append(self.characters(batch.characters_WTK[windows, :time].swapaxes(0, 1)))
        if self.lexicon is not None:
            if batch.lexicon is None:
                raise self._lacks("reads a lexicon")
            parts.append(_lexicon(self.lexicon, batch.lexicon, batch.tokens_WT.shape, windows, time))
        if self.contextual is not None:
            if batch.pieces is None:
                raise self._lacks(f"reads {self.contextual.reads}")
            parts.append(self.contextual(batch.pieces, batch.lengths_W, windows, time))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _lacks(self, what: str) -> BundleError:
        return BundleError(f"{self._source}: the model {what}, its tokenizer has none. Export again.")


def _lexicon(table: Table, hits: LexiconBatch, shape: tuple[int, ...], windows: slice, time: int) -> Float32:
    """x_TW(4w): for each token and set the weighted sum of its words' vectors; see `nn.lexicon`."""
    count, longest = shape
    first, last, _ = windows.indices(count)
    low, high = np.searchsorted(hits.slots_L, [first * longest * LEXICON_SETS, last * longest * LEXICON_SETS])
    slots_L = hits.slots_L[low:high] - first * longest * LEXICON_SETS
    v_Lw = table[hits.rows_L[low:high]]
    v_Lw *= hits.weights_L[low:high, None]
    sums_Sw = np.zeros(((last - first) * longest * LEXICON_SETS, v_Lw.shape[1]), dtype=np.float32)
    if len(slots_L):
        starts = np.flatnonzero(np.diff(slots_L, prepend=-1))
        sums_Sw[slots_L[starts]] = np.add.reduceat(v_Lw, starts, axis=0)
    x_WTw: Float32 = sums_Sw.reshape(last - first, longest, -1)
    return x_WTw[:, :time].swapaxes(0, 1)
