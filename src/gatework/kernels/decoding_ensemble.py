"""Several writers as one: each reads what was written, and the mean of their probabilities says what comes next.

    p = mean over members of p_m

so that log p of a text is that of a mixture whose member may change at every token.

N beginnings, V outputs, S places of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gatework.kernels import dispatch
from gatework.kernels.decoding import Memory
from gatework.kernels.decoding_network import IntArray, Network, Places, Step
from gatework.kernels.layer import Float32


class Rows(NamedTuple):
    """Where N beginnings stand in each member, and where each looks."""

    members: tuple[Any, ...]
    places: tuple[Places, ...]

    def select(self, rows: Sequence[int]) -> Rows:
        """The beginnings that go on from these; all of one source."""
        return Rows(tuple(own.select(rows) for own in self.members), self.places)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EnsembleNetwork(Network):
    """Members over one vocabulary; the arrays of `Network` are those of the first."""

    members: tuple[Network, ...]

    @property
    def looks(self) -> bool:
        return any(one.looks for one in self.members)

    @property
    def copies(self) -> bool:
        return any(one.copies for one in self.members)

    @property
    def foldable(self) -> bool:
        return any(one.foldable for one in self.members)

    def begin(self, memory: Memory, sources: Sequence[int]) -> Rows:
        pairs = list(zip(self.members, (memory, *memory.others), strict=True))
        return Rows(
            tuple(one.begin(own, sources) for one, own in pairs), tuple(Places.of(own, sources) for _, own in pairs)
        )

    def step(self, places: Places, read_N: IntArray, rows: Any) -> Step:
        """One token on; the rows know the places of each member."""
        pairs = zip(self.members, rows.places, rows.members, strict=True)
        steps = [one.step(own, read_N, state) for one, own, state in pairs]
        looked = [step.a_NS for step, one in zip(steps, self.members, strict=True) if one.looks]
        a_NS: Float32 = np.mean(looked, axis=0) if looked else steps[0].a_NS
        return Step(_mean([step.log_p_NV for step in steps]), a_NS, rows._replace(members=tuple(s.rows for s in steps)))

    def nats(self, memory: Memory, targets: Sequence[IntArray]) -> list[Float32]:
        pairs = zip(self.members, (memory, *memory.others), strict=True)
        found = [one.nats(own, targets) for one, own in pairs]
        return [-_mean([-nats for nats in own]) for own in zip(*found, strict=True)]

    def limited(self, ids_K: IntArray) -> Network:
        return replace(self, members=tuple(one.limited(ids_K) for one in self.members))

    def compiled(self, *, precision: str, folds: bool) -> Any:
        made = [one.compiled(precision=precision, folds=folds and one.foldable) for one in self.members]
        if any(one is None for one in made):
            return None
        return dispatch.extension().decode.Decoder({"members": made})


def _mean(log_p: Sequence[Float32]) -> Float32:
    """log of the mean of probabilities."""
    total: Float32 = np.logaddexp.reduce(np.stack(log_p), axis=0)
    return total - np.float32(np.log(len(log_p)))
