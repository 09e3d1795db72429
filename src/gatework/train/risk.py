"""The stage that tunes a network toward what it answers: minimum risk over candidates.

    loss = mean over sources of R + c (the loss of the given targets)        R of `nn.risk`, c `train.risk_likelihood`

The candidates of a source are what the runtime's own search finds with the weights as they are, its n best by beams or
draws, each once. How bad they are is told by `tasks.seq2seq.risks`, of their texts. The weights that the stage before
kept as its best are where it begins, and stay the best where tuning does not help dev.

B sources, K candidates of each, C candidates in all.  Sources: Shen et al., arXiv:1512.02433; Edunov et al.,
arXiv:1711.04956 (candidates by beams, the loss of the targets beside).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatework.core.batch import IntArray, token_budget_batches
from gatework.nn import Pairs, Seq2Seq
from gatework.nn.risk import expected_risk
from gatework.tasks import Prepared, Task
from gatework.tasks.seq2seq.risks import risk_of
from gatework.train.pairs import END, Pairing, pairs_of
from gatework.train.stage import Loss, Weights, epoch_generator

Ids = tuple[int, ...]


class Risk(Pairing):
    """Tunes `network` on the sources of `prepared.train`, evaluates it on `prepared.dev`."""

    name = "risk"
    order = 2
    judged_first = True

    def __init__(self, task: Task, prepared: Prepared, network: Seq2Seq) -> None:
        super().__init__(task, prepared, network)
        own = self.settings
        self.settings = own.model_copy(update={"learning_rate": own.risk_learning_rate, "scheduled_sampling": 0.0})
        self.epochs = own.risk_epochs
        self.risk = risk_of(own.metric if own.risk == "auto" else own.risk)
        self.same: dict[bytes, list[int]] = defaultdict(list)
        """Places of the training pairs with one source, where all their targets are right."""
        if getattr(task, "listed", False):
            for place in range(len(prepared.train)):
                self.same[self._source(place).tobytes()].append(place)

    def begin(self, before: Weights) -> None:
        own = {name.removeprefix("weights/"): array for name, array in before.items() if name.startswith("weights/")}
        if own:
            self.network.load_weights(own)

    def batches(self, epoch: int) -> list[IntArray]:
        """Smaller by the number of candidates."""
        rng, own = epoch_generator(self.settings.seed, self.order, epoch), self.settings
        budget, most = max(1, own.batch_tokens // own.risk_count), max(1, own.max_batch // own.risk_count)
        return list(token_budget_batches(self.longer_N, budget=budget, max_batch=most, rng=rng))

    def loss(self, indices: IntArray) -> Loss:
        candidates = self.candidates(indices)
        codec = self.prepared.codec.target
        risks = [
            [self.risk(codec.decode(ids), self._targets(int(index))) for ids in own]
            for index, own in zip(indices, candidates, strict=True)
        ]
        flat = [ids for own in candidates for ids in own]
        counts = list(map(len, candidates))
        pairs = _with_targets(self.prepared.train, np.repeat(indices, counts), flat)
        pairs = pairs._replace(same_B=torch.repeat_interleave(torch.tensor(counts)))
        real_BK = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        log_p_C = self.network.log_p(pairs)
        log_p_BK = log_p_C.new_zeros(real_BK.shape).masked_scatter(real_BK, log_p_C)
        risk_BK = torch.zeros(real_BK.shape).masked_scatter(
            real_BK, torch.tensor([one for own in risks for one in own])
        )
        value = expected_risk(log_p_BK, risk_BK, real_BK, sharpness=self.settings.risk_sharpness).mean()
        tokens = int(pairs.source_lengths_B.sum() + pairs.lengths_B.sum())
        if not self.settings.risk_likelihood:
            return Loss(value, tokens)
        beside = super().loss(indices)
        return Loss(value + self.settings.risk_likelihood * beside.value, tokens + beside.tokens)

    def candidates(self, indices: IntArray) -> list[list[Ids]]:
        """Different answers to each source, without their ends."""
        sources = [self._source(int(index)) for index in indices]
        seeds = torch.randint(1 << 62, (len(sources),)).tolist()  # of torch's generator, which checkpoints keep
        return self.runtime().candidates(
            sources,
            count=self.settings.risk_count,
            draws=self.settings.risk_candidates == "samples",
            max_ratio=self.prepared.recipe.decode.max_ratio,
            seeds=seeds,
        )

    def _source(self, index: int) -> Any:
        stream = self.prepared.train.source
        return stream.tokens[stream.starts[index] : stream.starts[index + 1]]

    def _targets(self, index: int) -> list[str]:
        """The right answers to a training source."""
        stream = self.prepared.train.target
        places = self.same[self._source(index).tobytes()] if self.same else [index]
        return [
            self.prepared.codec.target.decode(stream.tokens[stream.starts[at] : stream.starts[at + 1]]) for at in places
        ]


def _with_targets(stream: Any, indices: IntArray, targets: Sequence[Ids]) -> Pairs:
    """Sources of a `PairStream` with other targets, which come without their ends."""
    lengths_C = torch.tensor([len(ids) + 1 for ids in targets])
    wanted_CT = torch.zeros(len(targets), int(lengths_C.max()), dtype=torch.int64)
    for row, ids in zip(wanted_CT, targets, strict=True):
        row[: len(ids) + 1] = torch.tensor([*ids, END])
    read_CT: Tensor = torch.cat([torch.full((len(targets), 1), END), wanted_CT[:, :-1]], 1)
    return pairs_of(stream, indices)._replace(read_BT=read_CT, wanted_BT=wanted_CT, lengths_B=lengths_C)
