"""Answers of whatever encodes sources and has a decoder: in groups of like length, in the caller's order.

B sources, T tokens of a target, S places of a source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core import interrupt
from gatework.core.architecture import Architecture
from gatework.core.errors import DataError
from gatework.kernels.decoder import Decoder
from gatework.kernels.decoding import END, Hypothesis, Memory, Search
from gatework.kernels.sampling import Sampling
from gatework.runtime.encoder import GROUP_TOKENS

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


class Answerer(ABC):
    """See the module."""

    architecture: Architecture
    """Whose vocabularies ids are of."""
    decoder: Decoder

    @abstractmethod
    def encode(self, sources: Sequence[IntArray]) -> Memory:
        """What is read of sources, all together; `answer` and `nll` group those of like length.

        Raises: DataError: a source is empty, or an id is padding or not in the vocabulary.
        """

    def decode(self, memory: Memory, search: Search, **options: Any) -> list[list[Hypothesis]]:
        """See `kernels.decoder.Decoder.decode`."""
        return self.decoder.decode(memory, search, **options)

    def answer(
        self,
        sources: Sequence[IntArray],
        search: Search,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        seeds: Sequence[int] | None = None,
        only: Sequence[npt.NDArray[np.int32] | None] | None = None,
    ) -> list[list[Hypothesis]]:
        """`decode` of sources of any number and length, in their order."""
        found: list[list[Hypothesis]] = [[]] * len(sources)
        for places in self._groups(sources):
            interrupt.check()
            memory = self.encode([sources[place] for place in places])
            own = {
                "prefixes": None if prefixes is None else [prefixes[place] for place in places],
                "seeds": None if seeds is None else [seeds[place] for place in places],
                "only": None if only is None else [only[place] for place in places],
            }
            for place, hypotheses in zip(places, self.decode(memory, search, **own), strict=True):
                found[place] = hypotheses
        return found

    def greedy(self, sources: Sequence[IntArray], *, max_ratio: float) -> list[npt.NDArray[np.int32]]:
        """Ids of a target for each source, the likeliest token each time: what training looks at between epochs."""
        found = self.answer(sources, Search(max_ratio=max_ratio))
        return [np.array(hypotheses[0].ids, dtype=np.int32) for hypotheses in found]

    def candidates(
        self, sources: Sequence[IntArray], *, count: int, draws: bool, max_ratio: float, seeds: Sequence[int]
    ) -> list[list[tuple[int, ...]]]:
        """Up to `count` different answers to each source, ids without the end: the n best of as many beams, or draws.
        What training toward answers weighs."""
        sampling = Sampling(exempt=END) if draws else None
        search = Search(beams=1 if draws else count, count=count, max_ratio=max_ratio, sampling=sampling)
        found = self.answer(sources, search, seeds=seeds)
        return [list(dict.fromkeys(hypothesis.ids for hypothesis in own)) for own in found]

    def nll(self, sources: Sequence[IntArray], targets: Sequence[IntArray]) -> list[Float32]:
        """-log p of each token of a target and of its end, given its source, (T + 1,) each, in their order.

        Raises: DataError: as `encode`, of both sides; a target may be empty.
        """
        ids = [checked(one, self.architecture.outputs, "target") for one in targets]
        if len(sources) != len(ids):
            raise DataError(f"{len(sources)} sources, but {len(ids)} targets.")
        found: list[Float32] = [np.empty(0, dtype=np.float32)] * len(ids)
        for places in self._groups(sources, [len(one) for one in ids]):
            interrupt.check()
            memory = self.encode([sources[place] for place in places])
            for place, nats in zip(places, self.decoder.nats(memory, [ids[place] for place in places]), strict=True):
                found[place] = nats
        return found

    def _groups(self, sources: Sequence[IntArray], beside: Sequence[int] | None = None) -> Iterator[list[int]]:
        """Places of sources of like length, about GROUP_TOKENS tokens at a time."""
        lengths = [max(len(one), beside[place] if beside else 0) for place, one in enumerate(sources)]
        order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
        while order:
            count = max(1, GROUP_TOKENS // max(lengths[order[0]], 1))
            yield order[:count]
            order = order[count:]


def checked(ids: Any, vocabulary: int, what: str) -> npt.NDArray[np.int64]:
    """A row of ids. Raises DataError, naming `what`: it is none, or one is padding or not in the vocabulary."""
    own = np.asarray(ids)
    if own.ndim != 1 or (own.size and own.dtype.kind not in "iu"):
        raise DataError(f"A {what} must be a row of ids, got an array of {own.dtype} of shape {own.shape}.")
    if own.size and not 0 < own.min() <= own.max() < vocabulary:
        raise DataError(f"Ids of a {what} span {own.min()} to {own.max()}, but the model knows 1 to {vocabulary - 1}.")
    return own.astype(np.int64)
