"""A writer network that decodes; see `kernels.decoding`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError
from gatework.kernels.decoding import Hypothesis, Memory, Network, Search
from gatework.kernels.decoding_definition import decode_one
from gatework.kernels.decoding_network import known_targets
from gatework.kernels.layer import Float32


class Decoder:
    """Any threads may share it."""

    def __init__(self, network: Network) -> None:
        self.network = network

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
        found = [decode_one(self.network, memory, b, search, plan) for b, plan in enumerate(plans)]
        for hypotheses, plan in zip(found, plans, strict=True):
            if not hypotheses:
                raise ConfigError(f"No target of {search.min_tokens} to {plan.limit} tokens satisfies the constraint.")
        return found

    def nats(self, memory: Memory, targets: Sequence[Any]) -> list[Float32]:
        """-log p of each token of a target for each source, and of its end, (T + 1,)."""
        return known_targets(self.network, memory, targets)
