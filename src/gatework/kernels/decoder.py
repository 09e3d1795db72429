"""A writer network that decodes; see `kernels.decoding`. The loop is native/decode; where NumPy computes, it is
`kernels.decoding_definition`."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError
from gatework.kernels.decoding import Hypothesis, Int32, Memory, Plan, Search
from gatework.kernels.decoding_definition import decode_one
from gatework.kernels.decoding_network import Network
from gatework.kernels.layer import Float32
from gatework.kernels.sampling import Sampling

NONE: Int32 = np.zeros(0, dtype=np.int32)


class Decoder:
    """Any threads may share it."""

    def __init__(self, network: Network, *, precision: str = "float32") -> None:
        """`precision` is that of products beside those of the layers, which are packed."""
        self.network, self.precision = network, precision
        self._native: Any = None
        self._made = False
        self._tokens = 0  # written so far, about
        self._folded = False
        self._lock = Lock()

    def decode(
        self,
        memory: Memory,
        search: Search,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        seeds: Sequence[int] | None = None,
        only: Sequence[Int32 | None] | None = None,
    ) -> list[list[Hypothesis]]:
        """Hypotheses of each source, best first; at least one, at most `search.count`.

        Args:
            prefixes: ids that each target begins with, whatever the rest of the search says.
            seeds: of each source's draws.
            only: rising ids of the tokens that may come for each source, its prefix and the end among them; None: all.
        Raises: ConfigError: no target satisfies the automaton, the prefix, the least length and the tokens together.
        """
        lengths, count = np.diff(memory.offsets).tolist(), len(memory)
        parts = lengths, prefixes or [()] * count, seeds or [0] * count, only or [None] * count
        plans = [search.plan(*own) for own in zip(*parts, strict=True)]
        native = self._ready(len(memory.ids_N) * search.beams)
        if native is not None:
            found = self._run(native, memory, search, plans)
        else:
            found = [decode_one(self.network, memory, b, search, plan) for b, plan in enumerate(plans)]
        for hypotheses, plan in zip(found, plans, strict=True):
            if not hypotheses:
                raise ConfigError(f"No target of {search.min_tokens} to {plan.limit} tokens satisfies the constraint.")
        return found

    def nats(self, memory: Memory, targets: Sequence[Any]) -> list[Float32]:
        """-log p of each token of a target for each source, and of its end, (T + 1,)."""
        return self.network.nats(memory, targets)

    def _run(self, native: Any, memory: Memory, search: Search, plans: Sequence[Plan]) -> list[list[Hypothesis]]:
        sampling = search.sampling or Sampling()
        options: dict[str, Any] = {name: getattr(sampling, name) for name in sampling.__dataclass_fields__}
        options |= {name: getattr(search, name) for name in search.__dataclass_fields__}
        lists = [plan.only if plan.only is not None else NONE for plan in plans]
        found = native.run(
            options
            | {
                "draws": search.sampling is not None,
                "never": list(search.never),
                "memories": [_given(one) for one in (memory, *memory.others)],
                "ids": memory.ids_N,
                "offsets": memory.offsets,
                "limits": np.array([plan.limit for plan in plans], dtype=np.int64),
                "states": np.array([plan.automaton for plan in plans], dtype=np.int32),
                "seeds": np.array([plan.seed for plan in plans], dtype=np.uint64),
                "prefixes": [list(plan.prefix) for plan in plans],
                "only": np.concatenate(lists, dtype=np.int32),
                "only_starts": np.cumsum([0, *map(len, lists)], dtype=np.int64),
            }
        )
        places = np.diff(memory.offsets).tolist()
        return [[_hypothesis(one, width) for one in own] for own, width in zip(found, places, strict=True)]

    def _ready(self, tokens: int) -> Any:
        """The compiled decoder, None where NumPy computes.

        Products with the embedding are kept once more tokens were asked for than it has.
        """
        with self._lock:
            self._tokens += tokens
            folds = self.network.foldable and self._tokens > len(self.network.embedding_VE)
            if not self._made or folds != self._folded:
                self._native = self.network.compiled(precision=self.precision, folds=folds)
                self._made, self._folded = True, folds
            return self._native


def _given(memory: Memory) -> dict[str, Any]:
    """What one member's encoder made of the sources."""
    layers = memory.start.layers if memory.start is not None else ()
    return {
        "m": np.ascontiguousarray(memory.m_NP),
        "keys": np.ascontiguousarray(memory.keys_NK),
        "summary": np.ascontiguousarray(memory.summary_BP),
        "h": [np.ascontiguousarray(parts[0]) for parts in layers],
        "c": [np.ascontiguousarray(parts[1]) if len(parts) > 1 else None for parts in layers],
    }


def _hypothesis(found: tuple[bytes, float, float, bytes | None, bool], places: int) -> Hypothesis:
    ids, log_p, score, attention, ended = found
    looked = None if attention is None else np.frombuffer(attention, dtype=np.float32).reshape(-1, places)
    reason = "end" if ended else "length"
    return Hypothesis(tuple(np.frombuffer(ids, dtype=np.int32).tolist()), log_p, score, looked, reason)
