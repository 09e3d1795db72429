"""The forward pass of an architecture with the head per_step, and what comes of it: tag paths for every token.

Agrees with `nn.Tagger` on the same weights. A sequence longer than the window is read in windows that overlap, a
bounded number of them at a time (`core.windows`), and decoded whole: what is kept of it is a row of emissions a token.

T time, W windows, B sequences, P outputs of the encoder, C tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.core import interrupt
from gatework.core.architecture import Architecture
from gatework.core.batch import TextBatch, token_budget_batches
from gatework.core.paths import TagPaths
from gatework.core.tag_scheme import Constraints
from gatework.core.tensors import TensorFile
from gatework.core.windows import cut, windows
from gatework.kernels import crf
from gatework.runtime.decoding import layer_scores, paths_of
from gatework.runtime.encoder import GROUP_TOKENS, Encoder, short_way
from gatework.runtime.inputs import NOTHING, Inputs
from gatework.runtime.shapes import check_shapes, layer_names
from gatework.runtime.tables import dense
from gatework.tasks import Codec

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

MAX_BATCH = 512
"""Most sentences run together."""


class Tagger:
    """An architecture with its weights, ready to run. Nothing changes after it is made: any threads may share it."""

    def __init__(
        self,
        architecture: Architecture,
        weights: TensorFile,
        *,
        source: str,
        precision: str = "float32",
        constraints: Sequence[Constraints | None] = (),
        config: Mapping[str, Any] = NOTHING,
    ) -> None:
        """
        Args:
            config: config.json, for a BERT or a language model outside the bundle.
            constraints: what each tag layer allows; None, or no entry, for all.
        Raises: BundleError: `weights` are not those of the architecture. ConfigError: `precision` is unknown.
        """
        check_shapes(architecture, weights, source=source)
        self.architecture = a = architecture
        self._inputs = Inputs(a, weights, source=source, precision=precision, config=config)
        self._encoder = Encoder(a, weights, precision=precision)
        self._heads = [
            (np.ascontiguousarray(dense(weights, f"{name}weight").T), dense(weights, f"{name}bias"))
            for name in (layer_names(layer)[0] for layer in range(len(a.layers)))
        ]
        self._weights: TensorFile | None = weights  # until `alone` is first asked
        self._sentence: kernels.Sentence | None = None
        allowed = [*constraints, *[None] * len(a.layers)]
        self._scores = [
            layer_scores(weights, layer, tags, a.decoder, allowed[layer]) for layer, tags in enumerate(a.layers)
        ]

    def outputs(self, codec: Codec, encoded: Sequence[Any], options: Mapping[str, Any]) -> list[list[list[TagPaths]]]:
        """For each encoded example, for each of its parts, for each tag layer, its paths."""
        search = codec.search(encoded, **options)
        parts = [list(codec.parts(one)) for one in encoded]
        allowed: list[Bools | None] | None = None
        if search.allowed is not None:
            allowed = [mask for one in search.allowed for mask in one]
        found = iter(self._paths(codec, [part for one in parts for part in one], search.paths, allowed))
        return [list(islice(found, len(one))) for one in parts]

    def alone(self, part: Any) -> list[Float32] | None:
        """Emissions of one encoded sentence that fits into a window, (T, 1, C) for each tag layer, as fast as can be.

        None where it has to go the general road, `emissions`.
        """
        weights = self._weights
        if weights is not None:
            self._sentence = short_way(self.architecture, self._inputs, self._encoder, weights)
            self._weights = None
        if self._sentence is None or len(part.tokens) > self.architecture.window:
            return None
        y_TP = np.empty((len(part.tokens), self.architecture.encoder.outputs), dtype=np.float32)
        if not self._sentence.run(part.tokens, part.local, part.ngram_rows, y_TP, self._inputs.beside(part)):
            return None
        return [(y_TP @ head_PC + bias_C)[:, None] for head_PC, bias_C in self._heads]

    def vectors(self, batch: TextBatch) -> Float32:
        """What the encoder reads of a batch, x_TWI."""
        return self._inputs(batch, slice(0, len(batch.lengths_W)), int(batch.lengths_W.max()))

    def emissions(self, batch: TextBatch) -> list[Float32]:
        """Scores of each tag of each token, (T, W, C) for each tag layer; past a window's length they mean nothing."""
        lengths_W = batch.lengths_W
        y_TWP = self._encoder(self.vectors(batch), lengths_W)
        flat_NP = y_TWP.reshape(-1, y_TWP.shape[2])
        return [(flat_NP @ head_PC + bias_C).reshape(*y_TWP.shape[:2], -1) for head_PC, bias_C in self._heads]

    def follow(
        self, codec: Codec, part: Any, given: Sequence[npt.NDArray[np.int32]], *, ended: bool = True
    ) -> list[TagPaths]:
        """The best path of each tag layer of one part of a longer text.

        Args:
            given: tags of its first tokens, for each layer, which the path keeps to; or nothing. Where there are some,
                the part may begin anywhere within a sentence.
            ended: whether its last token is the last of the sentence.
        """
        found: list[TagPaths] = []
        lengths = np.array([len(part.tokens)])
        for layer, (e_TC, scores) in enumerate(zip(self._long(codec, part), self._scores, strict=True)):
            held_TC = e_TC
            if given:
                count = len(given[layer])
                held_TC = np.concatenate([np.full((count, e_TC.shape[1]), -np.inf, dtype=np.float32), e_TC[count:]])
                held_TC[np.arange(count), given[layer]] = e_TC[np.arange(count), given[layer]]
                scores = scores._replace(start_K=np.zeros_like(scores.start_K))
            if not ended:
                scores = scores._replace(end_K=np.zeros_like(scores.end_K))
            tags_T1, _ = crf.viterbi(held_TC[:, None], lengths, scores)
            # How sure a tag is does not depend on the tags that were given, only on what was read.
            nll_1, p_T1, step_T1 = crf.path_marginals(e_TC[:, None], tags_T1, lengths, scores)
            path = tags_T1.T.astype(np.int32), -nll_1.astype(np.float64), p_T1[:, 0], step_T1[:, 0]
            found.append(TagPaths(*path))
        return found

    def _paths(
        self, codec: Codec, parts: Sequence[Any], count: int, allowed: Sequence[Bools | None] | None
    ) -> list[list[TagPaths]]:
        """Paths of each tag layer of each part; short parts of like length run together, long ones alone."""
        lengths_N = np.fromiter((len(part.tokens) for part in parts), dtype=np.int64, count=len(parts))
        found: list[list[TagPaths]] = [[] for _ in parts]

        def decode(chosen: list[int], emissions: list[Float32]) -> None:
            for layer, (emissions_TBC, scores) in enumerate(zip(emissions, self._scores, strict=True)):
                masks = [allowed[index] for index in chosen] if allowed is not None and layer == 0 else None
                paths = paths_of(emissions_TBC, lengths_N[chosen], scores, paths=count, allowed=masks)
                for index, one in zip(chosen, paths, strict=True):
                    found[index].append(one)

        if len(parts) == 1 and (emissions := self.alone(parts[0])) is not None:
            decode([0], emissions)
            return found
        short = np.flatnonzero(lengths_N <= self.architecture.window)
        for places in token_budget_batches(lengths_N[short], budget=GROUP_TOKENS, max_batch=MAX_BATCH):
            interrupt.check()
            chosen = short[places].tolist()
            decode(chosen, self.emissions(codec.collate([parts[index] for index in chosen])))
        for index in np.flatnonzero(lengths_N > self.architecture.window).tolist():
            interrupt.check()
            decode([index], [rows_TC[:, None] for rows_TC in self._long(codec, parts[index])])
        return found

    def _long(self, codec: Codec, part: Any) -> list[Float32]:
        """Emissions of a part of any length, (T, C) for each tag layer."""
        length, most = len(part.tokens), self.architecture.window
        whole = [np.empty((length, tags), dtype=np.float32) for tags in self.architecture.layers]
        stream = iter(windows(length, most))
        while some := list(islice(stream, max(1, GROUP_TOKENS // most))):
            batch = codec.collate([cut(part, one.start, one.end) for one in some])
            for rows_TC, emissions_TWC in zip(whole, self.emissions(batch), strict=True):
                for w, one in enumerate(some):
                    rows_TC[one.first : one.last] = emissions_TWC[one.first - one.start : one.last - one.start, w]
        return whole
