"""The neural cache: words that were read not long ago become likelier, by how alike the states before them are.

    p(w | t) = (1 - l) p_model(w | t) + l p_cache(w | t)
    p_cache(w | t)  ~  sum over the last C places i < t with w_i = w of  exp(f h_t . h_i)

h_t is what the head reads at place t, w_t the token that follows there, l the cache's weight, f its flatness. Nothing
is trained. With nothing read yet the model answers alone.

T tokens, P width of h, C size of the cache.  Source: Grave, Joulin and Usunier, arXiv:1612.04426.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]
BLOCK = 256
"""Places worked on at once."""


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """What a cache is."""

    size: int
    """C."""
    weight: float = 0.1
    """l."""
    flatness: float = 0.3
    """f."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"cache must be at least 1 token, got {self.size}. Leave it out for none.")
        if not 0.0 < self.weight < 1.0:
            raise ConfigError(f"cache_weight must lie between 0 and 1, got {self.weight}.")
        if not 0.0 < self.flatness < float("inf"):
            raise ConfigError(f"cache_flatness must be above 0, got {self.flatness}.")


@dataclass
class Cache:
    """The last places of a text."""

    settings: CacheSettings
    h_CP: Float32 | None = field(default=None, repr=False)
    wanted_C: IntArray | None = field(default=None, repr=False)

    def nats(self, nats_T: Float32, h_TP: Float32, wanted_T: IntArray) -> Float32:
        """-log p of the tokens `wanted_T` with the cache, (T,), which then holds them too.

        Args:
            nats_T: those of the model.
            h_TP: what its head read.
        """
        mixed = [
            self._block(nats_T[part], h_TP[part], wanted_T[part])
            for part in (slice(at, at + BLOCK) for at in range(0, len(wanted_T), BLOCK))
        ]
        return np.concatenate(mixed) if mixed else nats_T

    def _block(self, nats_T: Float32, h_TP: Float32, wanted_T: IntArray) -> Float32:
        size = self.settings.size
        old_CP = h_TP[:0] if self.h_CP is None else self.h_CP
        old_C = wanted_T[:0] if self.wanted_C is None else self.wanted_C
        h_NP, wanted_N = np.concatenate([old_CP, h_TP]), np.concatenate([old_C, wanted_T])
        here = len(old_C) + np.arange(len(wanted_T))[:, None]
        place = np.arange(len(wanted_N))
        scores_TN = self.settings.flatness * (h_TP @ h_NP.T)
        scores_TN[(place >= here) | (place < here - size)] = -np.inf
        most_T1 = np.maximum(scores_TN.max(axis=1, keepdims=True), np.finfo(np.float32).min)
        share_TN = np.exp(scores_TN - most_T1)
        total_T = share_TN.sum(axis=1)
        same_T = (share_TN * (wanted_N == wanted_T[:, None])).sum(axis=1)
        self.h_CP, self.wanted_C = h_NP[-size:], wanted_N[-size:]
        weight = np.where(total_T > 0, self.settings.weight, 0.0)
        p_T = (1.0 - weight) * np.exp(-nats_T.astype(np.float64)) + weight * same_T / np.maximum(total_T, 1e-30)
        mixed: Float32 = -np.log(np.maximum(p_T, 1e-300)).astype(np.float32)
        return mixed
