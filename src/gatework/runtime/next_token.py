"""The head of a language model: outputs of the encoder to log-probabilities of tokens; see `core.architecture`.

N tokens, V vocabulary, W width of the output table, P outputs of the encoder.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import Architecture
from gatework.core.tensors import TensorFile
from gatework.runtime.tables import dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

LOGITS = 1 << 22
"""Logits made at once: what bounds the memory of scoring, 16 MB."""


class NextToken:
    """The output table with its biases, perhaps in clusters, and a projection for each direction that has one."""

    def __init__(self, architecture: Architecture, weights: TensorFile) -> None:
        language = architecture.language
        assert language is not None  # the caller has looked
        self.table_VW = dense(weights, "embedding.weight" if language.tied else "head.weight")
        self.bias_V = np.array(dense(weights, "head.bias"))
        self.bias_V[0] = -np.inf
        self.cutoffs = language.cutoffs
        self.cluster_KW = self.cluster_bias_K = np.zeros((0, 0), dtype=np.float32)
        if language.cutoffs:
            self.cluster_KW = dense(weights, "head.cluster.weight")
            self.cluster_bias_K = dense(weights, "head.cluster.bias")
        self.projections: dict[str, Float32] = {
            direction: dense(weights, name)
            for direction in language.directions
            if (name := f"head.{direction}.projection") in weights.slots
        }

    def nats(self, y_NP: Float32, wanted_N: IntArray, direction: str) -> Float32:
        """-log p of each wanted id, (N,)."""
        nats_N = np.empty(len(y_NP), dtype=np.float32)
        rows = max(1, LOGITS // len(self.table_VW))
        for first in range(0, len(y_NP), rows):
            some = slice(first, first + rows)
            nats_N[some] = self._nats(self.project(y_NP[some], direction), wanted_N[some])
        return nats_N

    def log_p(self, y_NP: Float32, direction: str) -> Float32:
        """log p of every id, (N, V); -inf of padding."""
        o_NW = self.project(y_NP, direction)
        logits_NV: Float32 = o_NW @ self.table_VW.T
        logits_NV += self.bias_V
        if not self.cutoffs:
            logits_NV -= _log_sum(logits_NV)[:, None]
            return logits_NV
        first = self.cutoffs[0]
        clusters_NK = o_NW @ self.cluster_KW.T + self.cluster_bias_K
        total_N = np.logaddexp(_log_sum(logits_NV[:, :first]), _log_sum(clusters_NK))
        for place, (low, high) in enumerate(self._tails()):
            tail = logits_NV[:, low:high]
            tail += (clusters_NK[:, place] - _log_sum(tail))[:, None]
        logits_NV -= total_N[:, None]
        return logits_NV

    def project(self, y_NP: Float32, direction: str) -> Float32:
        """o_NW: what the table is multiplied with."""
        projection = self.projections.get(direction)
        return y_NP if projection is None else y_NP @ projection.T

    def _tails(self) -> list[tuple[int, int]]:
        return list(pairwise((*self.cutoffs, len(self.table_VW))))

    def _nats(self, o_NW: Float32, wanted_N: IntArray) -> Float32:
        if not self.cutoffs:
            return _nats(o_NW @ self.table_VW.T + self.bias_V, wanted_N)
        # Tails are asked for their own tokens alone: the point of clusters.
        first, clusters = self.cutoffs[0], np.searchsorted(self.cutoffs, wanted_N, side="right")
        short = np.concatenate(
            [
                o_NW @ self.table_VW[:first].T + self.bias_V[:first],
                o_NW @ self.cluster_KW.T + self.cluster_bias_K,
            ],
            axis=1,
        )
        nats_N = _nats(short, np.where(clusters == 0, wanted_N, first + clusters - 1))
        for place, (low, high) in enumerate(self._tails()):
            own = np.flatnonzero(clusters == place + 1)
            if len(own):
                tail = o_NW[own] @ self.table_VW[low:high].T + self.bias_V[low:high]
                nats_N[own] += _nats(tail, wanted_N[own] - low)
        return nats_N


def _nats(logits_NC: Any, wanted_N: IntArray) -> Float32:
    right_N = logits_NC[np.arange(len(wanted_N)), wanted_N]
    nats_N: Float32 = _log_sum(logits_NC) - right_N
    return nats_N


def _log_sum(logits_NC: Any) -> Float32:
    """log of the sum of exp over a row."""
    most_N1 = logits_NC.max(axis=1, keepdims=True)
    total_N: Float32 = np.log(np.exp(logits_NC - most_N1).sum(axis=1))
    total_N += most_N1[:, 0]
    return total_N
