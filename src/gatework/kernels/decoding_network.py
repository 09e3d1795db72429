"""What the search needs of a writer's network: a step of several beginnings, and log p of tokens; with NumPy.

Definitions are `decoding_recurrent` and `decoding_transformer`; the loops that use them, `decoding_definition`.

N beginnings or tokens, B sources, S places of a source, T tokens, P memory, K keys, V outputs, E embedding, H width of
the layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.kernels.decoding import END, Memory
from gatework.kernels.layer import Float32

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


class Said(NamedTuple):
    """What the layers made of N tokens; see `core.writer`."""

    o_NE: Float32
    c_NP: Float32
    h_NH: Float32
    x_NE: Float32
    a_NS: Float32


class Step(NamedTuple):
    """What comes of one token more."""

    log_p_NV: Float32
    """Of the next one."""
    a_NS: Float32
    """Where it looked."""
    rows: Any
    """Where the beginnings stand then."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network(ABC):
    """The weights of a writer, as `core.writer` names them."""

    embedding_VE: Float32
    table_VE: Float32
    bias_V: Float32
    """-inf of padding."""
    copy_W: Float32 | None = None
    """Over (c, h, x), P + H + E; None without copying."""
    copy_bias: float = 0.0

    @property
    @abstractmethod
    def looks(self) -> bool:
        """Whether there is attention."""

    @property
    def copies(self) -> bool:
        """Whether tokens of the source can be written."""
        return self.copy_W is not None

    @property
    @abstractmethod
    def foldable(self) -> bool:
        """Whether products with the embedding are worth keeping."""

    @abstractmethod
    def begin(self, memory: Memory, sources: Sequence[int]) -> Any:
        """Rows before the first step, a beginning for each of some sources; `rows.select([0, 0, 2])` gives those that
        go on from some."""

    @abstractmethod
    def step(self, places: Places, read_N: IntArray, rows: Any) -> Step:
        """One token on."""

    @abstractmethod
    def nats(self, memory: Memory, targets: Sequence[IntArray]) -> list[Float32]:
        """-log p of each token of a target for each source, and of its end, (T + 1,)."""

    @abstractmethod
    def compiled(self, *, precision: str, folds: bool) -> Any:
        """The extension's decoder; None where NumPy computes.

        Args:
            precision: of products beside those of packed layers.
            folds: keep the products with the embedding.
        """

    def limited(self, ids_K: IntArray) -> Network:
        """The same with -inf for all tokens but some."""
        bias_V = np.full_like(self.bias_V, -np.inf)
        bias_V[ids_K] = self.bias_V[ids_K]
        return replace(self, bias_V=bias_V)

    def log_p(self, places: Places, said: Said) -> Float32:
        """log p of every token, (N, V); -inf of padding."""
        logits_NV: Float32 = said.o_NE @ self.table_VE.T + self.bias_V
        most_N1 = logits_NV.max(axis=1, keepdims=True)
        logits_NV -= most_N1 + np.log(np.exp(logits_NV - most_N1).sum(axis=1, keepdims=True))
        if self.copy_W is None:
            return logits_NV
        z_N1 = (np.concatenate([said.c_NP, said.h_NH, said.x_NE], axis=1) @ self.copy_W + self.copy_bias)[:, None]
        copied_NV = np.zeros_like(logits_NV)
        rows_N1 = np.arange(len(said.a_NS))[:, None]
        np.add.at(copied_NV, (rows_N1, np.broadcast_to(places.ids_NS, said.a_NS.shape)), said.a_NS)
        copied_NV[:, 0] = 0.0  # where a shorter source is padded
        with np.errstate(divide="ignore"):
            log_copied_NV = np.log(copied_NV) - np.logaddexp(0.0, z_N1)
        mixed_NV: Float32 = np.logaddexp(logits_NV - np.logaddexp(0.0, -z_N1), log_copied_NV).astype(np.float32)
        return mixed_NV

    def nats_of(self, places: Places, said: Said, wanted_T: IntArray) -> Float32:
        """-log p of the tokens of one target."""
        nats_T = np.empty(len(wanted_T), dtype=np.float32)
        some = max(1, LARGE // len(self.table_VE))
        for first in range(0, len(wanted_T), some):
            at = slice(first, first + some)
            log_p_TV = self.log_p(places, Said(*(part[at] for part in said)))
            nats_T[at] = -log_p_TV[np.arange(len(log_p_TV)), wanted_T[at]]
        return nats_T


def read_and_wanted(targets: Sequence[IntArray]) -> tuple[IntArray, list[IntArray]]:
    """Ids that are read, (T, B), and for each target those that are wanted, (T + 1,)."""
    wanted = [np.append(np.asarray(target, dtype=np.int64), END) for target in targets]
    read_TB = np.full((max(map(len, wanted)), len(wanted)), END)
    for b, ids in enumerate(wanted):
        read_TB[1 : len(ids), b] = ids[:-1]
    return read_TB, wanted
