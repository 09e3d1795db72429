"""A writer network that decodes; see `kernels.decoding`. The loop is native/decode; where NumPy computes, it is
`kernels.decoding_definition`."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError
from gatework.kernels.decoding import Hypothesis, Memory, Plan, Search
from gatework.kernels.decoding_definition import decode_one
from gatework.kernels.decoding_network import Network
from gatework.kernels.layer import Float32
from gatework.kernels.sampling import Sampling


class Decoder:
    """Any threads may share it."""

    def __init__(self, network: Network, *, precision: str = "float32") -> None:
        """`precision` is that of products beside those of the layers, which are packed."""
        self.network, self._precision = network, precision
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
    ) -> list[list[Hypothesis]]:
        """Hypotheses of each source, best first; at least one, at most `search.count`.

        Args:
            prefixes: ids that each target begins with, whatever the rest of the search says.
            seeds: of each source's draws.
        Raises: ConfigError: no target satisfies the automaton, the prefix and the least length together.
        """
        lengths = np.diff(memory.offsets).tolist()
        begun, own = prefixes or [()] * len(memory), seeds or [0] * len(memory)
        plans = [search.plan(*parts) for parts in zip(lengths, begun, own, strict=True)]
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
        layers = memory.start.layers if memory.start is not None else ()
        found = native.run(
            options
            | {
                "draws": search.sampling is not None,
                "never": list(search.never),
                "m": np.ascontiguousarray(memory.m_NP),
                "keys": np.ascontiguousarray(memory.keys_NK),
                "summary": np.ascontiguousarray(memory.summary_BP),
                "ids": memory.ids_N,
                "offsets": memory.offsets,
                "h": [np.ascontiguousarray(parts[0]) for parts in layers],
                "c": [np.ascontiguousarray(parts[1]) if len(parts) > 1 else None for parts in layers],
                "limits": np.array([plan.limit for plan in plans], dtype=np.int64),
                "states": np.array([plan.automaton for plan in plans], dtype=np.int32),
                "seeds": np.array([plan.seed for plan in plans], dtype=np.uint64),
                "prefixes": [list(plan.prefix) for plan in plans],
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
                self._native = self.network.compiled(precision=self._precision, folds=folds)
                self._made, self._folded = True, folds
            return self._native


def _hypothesis(found: tuple[bytes, float, float, bytes | None, bool], places: int) -> Hypothesis:
    ids, log_p, score, attention, ended = found
    looked = None if attention is None else np.frombuffer(attention, dtype=np.float32).reshape(-1, places)
    reason = "end" if ended else "length"
    return Hypothesis(tuple(np.frombuffer(ids, dtype=np.int32).tolist()), log_p, score, looked, reason)
