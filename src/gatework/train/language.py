"""The stage that learns a language model: a stream of tokens through a `nn.NextToken`, its state carried along.

Running text is cut into as many streams as `train.streams` says, which are read side by side, `train.bptt` tokens of
each in a step; gradients end at a step's first token, the recurrent state goes on. Each epoch reads the text as a ring
from another place on, so that its streams and steps are cut elsewhere. Documents that are read each on its own go side
by side with others of like length, long ones in several steps.

    loss = nats of a step's tokens / mean tokens of a step + penalties

Dev text is read in parallel streams too, each beginning WARM tokens early, which do not count: its nats are within a
small part of a percent of those of one reading, which is what an exported bundle is measured by.

B rows of a step, T its tokens of each, N tokens of the text, W windows of an epoch: a row's part in one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatework.core.batch import IntArray, token_budget_batches
from gatework.nn import NextToken, StackState, detach_state
from gatework.tasks import Prepared, Task
from gatework.train.parallel import Group
from gatework.train.stage import Loss, Stage, Weights, epoch_generator

WARM = 128
"""Tokens read before those that count, where dev text is read in streams."""
DEV_STREAMS, DEV_TOKENS = 64, 8192
"""Most streams or tokens of dev text that go through the network at once."""
END = 2
"""Id of the end of a document, which stands before the first."""


class Windows(NamedTuple):
    """The steps of an epoch."""

    forward_W: IntArray
    """Place in the stream of a window's first wanted token; then they rise."""
    backward_W: IntArray
    """Likewise of the backward direction; then they fall."""
    length_W: IntArray
    fresh_W: npt.NDArray[np.bool_]
    """Whether the row begins here."""
    rows_W: IntArray
    """Rows of the step the window is in."""
    steps: list[IntArray]
    """The windows of each step; a row keeps its place while it lasts, and those that end first are last."""


class Row(NamedTuple):
    """Tokens to be predicted one after the other."""

    wanted_T: IntArray
    before: int
    """The token read before the first."""
    skip: int
    """First tokens that do not count."""


class Language(Stage):
    """Trains `network` on `prepared.train`, evaluates it on `prepared.dev`."""

    name = "train"
    order = 1

    def __init__(self, task: Task, prepared: Prepared, network: NextToken) -> None:
        self.settings = settings = prepared.recipe.train
        self.task, self.prepared = task, prepared
        self.network = self.module = network
        self.epochs = settings.epochs
        self.ids = prepared.train.tokens
        self.tokens = len(self.ids)
        self.directions = network.language.directions
        self.dev_tokens = len(prepared.dev.tokens) * len(self.directions)
        self.carry = prepared.carry
        self._windows: Windows | None = None
        self._state: dict[str, StackState] = {}
        self._nats: Weights = {}

    def batches(self, epoch: int) -> list[IntArray]:
        rng = epoch_generator(self.settings.seed, self.order, epoch)
        if self.carry:
            self._windows = stream_windows(len(self.ids), self.settings.streams, self.settings.bptt, rng)
        else:
            starts = self.prepared.train.starts
            self._windows = document_windows(starts, self.settings.streams, self.settings.bptt, rng)
        return self._windows.steps

    def loss(self, indices: IntArray) -> Loss:
        windows = self._windows
        assert windows is not None  # the loop asks for batches first
        lengths = windows.length_W[indices]
        lengths_B = None if (lengths == lengths[0]).all() else torch.from_numpy(lengths)
        tokens = int(lengths.sum())
        typical = windows.length_W.sum() / len(windows.steps)
        scale = float(windows.rows_W[indices[0]]) / (len(indices) * typical * len(self.directions))
        total = torch.zeros(())
        for direction in self.directions:
            read_BT, wanted_BT = self._pairs(direction, indices, int(lengths.max()))
            state = None if windows.fresh_W[indices[0]] else _first_rows(self._state[direction], len(indices))
            cost = self.network.loss(read_BT, wanted_BT, direction, lengths_B=lengths_B, state=state)
            self._state[direction] = _as_float32(detach_state(cost.state))
            total = total + cost.nats * scale + cost.penalty / len(self.directions)
        return Loss(total, tokens * len(self.directions))

    def _pairs(self, direction: str, indices: IntArray, time: int) -> tuple[Tensor, Tensor]:
        """What is read and what is wanted, (B, T) each; past a window's length they mean nothing."""
        assert self._windows is not None  # as in `loss`
        ahead = direction == "forward"
        first_B = (self._windows.forward_W if ahead else self._windows.backward_W)[indices]
        place_BT = first_B[:, None] + (np.arange(time) if ahead else -np.arange(time))
        count = len(self.ids)
        before_BT = (place_BT - 1 if ahead else place_BT + 1) % count
        read_BT = self.ids[before_BT]
        if self.ids[-1] != END:  # a text without an end closes to a ring with one
            read_BT = np.where(before_BT == (count - 1 if ahead else 0), END, read_BT)
        wanted_BT = self.ids[place_BT % count]
        return torch.from_numpy(read_BT.astype(np.int64)), torch.from_numpy(wanted_BT.astype(np.int64))

    def state(self) -> Weights:
        return {
            f"{direction}/{layer}/{part}": tensor.numpy()
            for direction, state in self._state.items()
            for layer, (own,) in enumerate(state)
            for part, tensor in enumerate(own)
        }

    def load_state(self, arrays: Weights) -> None:
        encoder = self.network.architecture.encoder
        stack: Any = self.network.stacks[0]
        make: Any = stack.first_directions()[0].cell.State
        parts = len(make._fields)
        self._state = {
            direction: tuple(
                (make(*(torch.tensor(arrays[f"{direction}/{layer}/{part}"]) for part in range(parts))),)
                for layer in range(encoder.layers)
            )
            for direction in self.directions
            if f"{direction}/0/0" in arrays
        }

    def evaluate(self, group: Group) -> dict[str, Any]:
        """Metrics of the dev text; each process reads its share of the streams or documents."""
        nats = torch.zeros(len(self.directions), dtype=torch.float64)
        for place, direction in enumerate(self.directions):
            rows = stream_rows if self.carry else document_rows
            batches = rows(self.prepared.dev.tokens, self.prepared.dev.starts, direction)
            for number, batch in enumerate(batches):
                share = batch[group.rank :: group.size] if self.carry else batch
                if share and (self.carry or number % group.size == group.rank):
                    nats[place] += self._total(share, direction)
        outputs = {"nats": group.sum(nats).numpy()}
        self._nats = {f"dev/{name}": array for name, array in outputs.items()}
        return self.task.score(self.prepared, outputs)

    def _total(self, rows: Sequence[Row], direction: str) -> float:
        """Nats of the tokens that count, of rows read side by side."""
        rows = sorted(rows, key=lambda row: -len(row.wanted_T))
        lengths = np.array([len(row.wanted_T) for row in rows])
        before = np.array([row.before for row in rows])
        skips = np.array([row.skip for row in rows])
        step = max(1, DEV_TOKENS // len(rows))
        state: StackState | None = None
        total = 0.0
        for first in range(0, int(lengths[0]), step):
            going = int((lengths > first).sum())
            steps_B = np.minimum(lengths[:going] - first, step)
            wanted_BT = np.zeros((going, int(steps_B[0])), dtype=np.int64)
            for row, steps, held in zip(rows, steps_B.tolist(), wanted_BT, strict=False):
                held[:steps] = row.wanted_T[first : first + steps]
            read_BT = np.concatenate([before[:going, None], wanted_BT[:, :-1]], axis=1)
            before = wanted_BT[:, -1]
            state = None if state is None else _first_rows(state, going)
            nats_BT, state = self.network.nats(
                torch.from_numpy(read_BT),
                torch.from_numpy(wanted_BT),
                direction,
                lengths_B=torch.from_numpy(steps_B),
                state=state,
            )
            counts_BT = torch.arange(first, first + nats_BT.shape[1]) >= torch.from_numpy(skips[:going, None])
            total += float((nats_BT.double() * counts_BT).sum())
        return total

    def keep(self) -> Weights:
        """The weights, and the nats they gave."""
        return {f"weights/{name}": array for name, array in self.network.to_weights().items()} | self._nats


def stream_windows(count: int, streams: int, bptt: int, rng: np.random.Generator) -> Windows:
    """Windows of a ring of `count` tokens, cut into streams of equal length from a random place on.

    What is left where `streams` does not divide the text is not read in this epoch.
    """
    rows = max(1, min(streams, count))
    length, offset = count // rows, int(rng.integers(count))
    firsts = np.arange(0, length, bptt)
    place_WB = (offset + np.arange(rows) * length + firsts[:, None]) % count
    length_W = np.repeat(np.minimum(bptt, length - firsts), rows)
    return Windows(
        forward_W=place_WB.reshape(-1),
        backward_W=count - 1 - place_WB.reshape(-1),
        length_W=length_W,
        fresh_W=np.repeat(firsts == 0, rows),
        rows_W=np.full(len(length_W), rows),
        steps=list(np.arange(len(length_W)).reshape(-1, rows)),
    )


def document_windows(starts: IntArray, streams: int, bptt: int, rng: np.random.Generator) -> Windows:
    """Windows of documents read each on its own, those of like length together: about streams x bptt tokens a step."""
    length_N = np.diff(starts)
    order = np.argsort(length_N * rng.uniform(1.0, 1.2, len(length_N)), kind="stable")
    read_N = np.cumsum(np.minimum(length_N, bptt)[order])
    batches = np.split(order, np.flatnonzero(np.diff(read_N // (streams * bptt))) + 1)
    parts: list[tuple[IntArray, ...]] = []
    steps: list[IntArray] = []
    at = 0
    for turn in rng.permutation(len(batches)).tolist():
        batch = batches[turn][np.argsort(-length_N[batches[turn]], kind="stable")]
        longest = int(length_N[batch[0]])
        window = -(-longest // -(-longest // bptt))  # steps of equal length, none of a few tokens
        for first in range(0, longest, window):
            own = batch[length_N[batch] > first]
            begin, count = starts[own] + first, np.minimum(window, length_N[own] - first)
            # Backwards the end of a document stands before it, and that of the document before is wanted last.
            parts.append((begin, starts[own] + length_N[own] - 2 - first, count, np.full(len(own), first)))
            steps.append(np.arange(at, at + len(own)))
            at += len(own)
    forward_W, backward_W, length_W, first_W = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows_W = np.concatenate([np.full(len(step), len(step)) for step in steps])
    return Windows(forward_W, backward_W, length_W, first_W == 0, rows_W, steps)


def stream_rows(ids: IntArray, starts: IntArray, direction: str) -> Iterator[list[Row]]:
    """Running text in rows that are read side by side."""
    wanted = _backwards(ids) if direction == "backward" else ids
    rows = max(1, min(DEV_STREAMS, len(wanted) // (8 * WARM)))
    length = -(-len(wanted) // rows)
    found = []
    for begin in range(0, len(wanted), length):
        skip = min(WARM, begin)
        first = begin - skip
        found.append(Row(wanted[first : begin + length], int(wanted[first - 1]) if first else END, skip))
    yield found


def document_rows(ids: IntArray, starts: IntArray, direction: str) -> Iterator[list[Row]]:
    """Documents, those of like length together."""
    length_N = np.diff(starts)
    for batch in token_budget_batches(length_N, budget=DEV_TOKENS, max_batch=4 * DEV_STREAMS):
        whole = [ids[starts[index] : starts[index + 1]] for index in batch.tolist()]
        yield [Row(_backwards(one) if direction == "backward" else one, END, 0) for one in whole if len(one)]


def _backwards(ids: IntArray) -> IntArray:
    """Tokens from the last to the first; an end at the end stays there."""
    return np.append(ids[:-1][::-1], END) if len(ids) and ids[-1] == END else ids[::-1]


def _as_float32(state: StackState) -> StackState:
    """Under autocast states come as bfloat16."""
    return tuple(tuple(type(one)(*(part.float() for part in one)) for one in layer) for layer in state)


def _first_rows(state: StackState, rows: int) -> StackState:
    return tuple(tuple(type(one)(*(part[:rows] for part in one)) for one in layer) for layer in state)
