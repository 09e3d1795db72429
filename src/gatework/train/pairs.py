"""The stage that learns to write targets from sources: pairs through a `nn.Seq2Seq`.

    loss = sum over tokens of -log p, smoothed, over the pairs of the batch and the mean length of targets

so that it is near nats a token, whatever a batch holds. With a teacher a part of it is the cross-entropy with the
teacher's probabilities; with scheduled sampling the writer reads tokens of its own here and there. Batches hold pairs
of like length. Dev pairs are measured by how likely their targets are; where `train.metric` is about answers, the
weights go through the runtime's own search, with one beam, so that what chooses the best epoch is what a bundle will
say.

B pairs, S places of a source, T steps of a target.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatework.core.batch import IntArray, token_budget_batches
from gatework.core.tensors import parse_tensors, tensor_chunks
from gatework.nn import Pairs, Seq2Seq
from gatework.runtime import seq2seq
from gatework.tasks import Prepared, Task
from gatework.train.parallel import Group
from gatework.train.stage import Loss, Stage, Weights, epoch_generator
from gatework.train.teacher import teacher_network

EVALUATE_TOKENS = 4
"""An evaluation batch holds as many times the tokens of a training batch: no gradients are kept."""
ANSWER_COST = 1.0
"""Time of answering a token greedily in the runtime over that of a forward pass here; about 0.9 when measured."""


class Pairing(Stage):
    """Trains `network` on `prepared.train`, evaluates it on `prepared.dev`."""

    name = "train"
    order = 1

    def __init__(self, task: Task, prepared: Prepared, network: Seq2Seq) -> None:
        self.settings = settings = prepared.recipe.train
        self.task, self.prepared = task, prepared
        self.network = self.module = network
        self.epochs = settings.epochs
        train = prepared.train
        self.longer_N = np.maximum(train.source.lengths_N, train.target.lengths_N)
        self.tokens = int(train.lengths_N.sum())
        self.mean_length = float(train.target.lengths_N.mean())
        self.answers = settings.metric != "perplexity"
        """Whether dev sources are answered."""
        self.dev_tokens = int(prepared.dev.lengths_N.sum() * (1.0 + ANSWER_COST * self.answers))
        self.teacher = teacher_network(prepared) if settings.teacher_weight else None
        self.chance = settings.scheduled_sampling
        """Of the epoch under way, that the writer reads a token of its own."""
        self._found: Weights = {}

    def batches(self, epoch: int) -> list[IntArray]:
        self.chance = self.settings.scheduled_sampling * min(1.0, (epoch + 1) / self.epochs)
        rng = epoch_generator(self.settings.seed, self.order, epoch)
        budget, most = self.settings.batch_tokens, self.settings.max_batch
        return list(token_budget_batches(self.longer_N, budget=budget, max_batch=most, rng=rng))

    def loss(self, indices: IntArray) -> Loss:
        pairs = self.network.with_own(pairs_of(self.prepared.train, indices), self.chance)
        if self.teacher is None:
            nats = self.network.loss(pairs)
        else:
            with torch.no_grad():
                p_NV = self.teacher.log_p_each(pairs).exp()
            nats = self.network.taught_loss(pairs, p_NV, weight=self.settings.teacher_weight)
        value = nats / (len(indices) * self.mean_length)
        return Loss(value, int(pairs.source_lengths_B.sum() + pairs.lengths_B.sum()))

    def evaluate(self, group: Group) -> dict[str, Any]:
        """Metrics of the dev pairs; each process works on every so manieth batch."""
        dev = self.prepared.dev
        longer_N = np.maximum(dev.source.lengths_N, dev.target.lengths_N)
        budget, most = EVALUATE_TOKENS * self.settings.batch_tokens, EVALUATE_TOKENS * self.settings.max_batch
        batches = list(token_budget_batches(longer_N, budget=budget, max_batch=most))
        nats = torch.zeros(len(dev), dtype=torch.float64)
        for indices in batches[group.rank :: group.size]:
            nats[torch.from_numpy(indices)] = self.network.nats(pairs_of(dev, indices)).double().sum(1)
        outputs: Weights = {"nats": group.sum(nats).numpy()}
        if self.answers:
            outputs |= self._answered()
        self._found = {f"dev/{name}": array for name, array in outputs.items()}
        return self.task.score(self.prepared, outputs)

    def keep(self) -> Weights:
        """The weights, and what they gave."""
        return {f"weights/{name}": array for name, array in self.network.to_weights().items()} | self._found

    def runtime(self) -> seq2seq.Seq2Seq:
        """The network as it is now, for the runtime's own search."""
        raw = memoryview(b"".join(bytes(chunk) for chunk in tensor_chunks(self.network.to_weights())))
        file = parse_tensors(raw, source="weights in training", max_header=1 << 22)
        return seq2seq.Seq2Seq(self.prepared.architecture, file, source="weights in training")

    def _answered(self) -> Weights:
        """What the runtime writes from the dev sources; every process the same."""
        model, dev = self.runtime(), self.prepared.dev.source
        rows = [dev.tokens[at:end] for at, end in pairwise(dev.starts)]
        sources = {row.tobytes(): row for row in rows}
        found = model.greedy(list(sources.values()), max_ratio=self.prepared.recipe.decode.max_ratio)
        answers = dict(zip(sources, found, strict=True))
        ids = [answers[row.tobytes()] for row in rows]
        starts = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
        return {"ids": np.concatenate(ids), "starts": starts}


def pairs_of(stream: Any, indices: IntArray) -> Pairs:
    """Some pairs of a `PairStream` as tensors."""
    source_BS, source_lengths_B = _padded(stream.source, indices)
    wanted_BT, lengths_B = _padded(stream.target, indices)
    end_B1 = torch.full((len(indices), 1), END)
    read_BT = torch.cat([end_B1, wanted_BT[:, :-1]], 1)
    return Pairs(source_BS, source_lengths_B, read_BT, wanted_BT, lengths_B)


END = 2
"""Id of the end, which is read before the first token of a target."""


def _padded(stream: Any, indices: IntArray) -> tuple[Tensor, Tensor]:
    """Texts of a stream, (B, T), 0 past each length, and the lengths."""
    starts_B = stream.starts[indices]
    lengths_B: npt.NDArray[np.int64] = stream.lengths_N[indices]
    live_BT = np.arange(int(lengths_B.max())) < lengths_B[:, None]
    ids_BT = np.zeros(live_BT.shape, dtype=np.int64)
    ids_BT[live_BT] = stream.tokens[(starts_B[:, None] + np.arange(live_BT.shape[1]))[live_BT]]
    return torch.from_numpy(ids_BT), torch.from_numpy(lengths_B)
