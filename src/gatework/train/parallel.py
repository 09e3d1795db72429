"""Data-parallel training: the processes `torchrun` starts, and what they tell one another.

Every process holds the whole network and takes its share of each batch. A gradient is the sum over processes of the
gradients of their shares, each weighted by its share of the batch, so all processes stay equal and the course is the
one a single process would take, up to rounding and dropout masks. The first process alone writes files.

Source of the scheme: Li et al., "PyTorch Distributed", arXiv:2006.15704 (without its overlap of work and messages).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gatework.core.batch import IntArray


class Group:
    """The processes of a run. A group of one sends nothing."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, indices: IntArray) -> IntArray:
        """This process's part of a batch; may be empty."""
        return indices[self.rank :: self.size]

    def highest(self, values: Sequence[float]) -> list[float]:
        """The largest of each value over all processes, so that all decide alike."""
        if self.size == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return [float(value) for value in told]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, written into `tensor`."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every process, in order of rank; all of one shape."""
        if self.size == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(gathered, tensor)
        return gathered

    def share_text(self, text: str) -> str:
        """The text of the first process, in every process."""
        if self.size == 1:
            return text
        told = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        length = int(self.highest([float(len(told)) if self.first else 0.0])[0])
        carried = told if self.first else torch.zeros(length, dtype=torch.uint8)
        dist.broadcast(carried, src=0)
        return bytes(carried.tolist()).decode() if text or not self.first else text

    def sum_gradients(self, dense: Iterable[nn.Parameter], sparse: Iterable[nn.Parameter]) -> None:
        """Put the sum of each parameter's gradient over all processes in its place."""
        if self.size == 1:
            return
        parameters = list(dense)
        # One message for all dense gradients: latency, not volume, is what small networks pay for.
        flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in parameters])
        dist.all_reduce(flat)
        for parameter, piece in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
            parameter.grad = piece.view_as(parameter).clone()
        for parameter in sparse:
            parameter.grad = self._sum_sparse(parameter)

    def _sum_sparse(self, parameter: nn.Parameter) -> Tensor:
        """Rows differ from process to process: send how many, then padded rows, and add equal rows up."""
        width = parameter.shape[1]
        if parameter.grad is None:
            rows = torch.zeros(0, dtype=torch.int64, device=parameter.device)
            values = parameter.new_zeros(0, width)
        else:
            gradient = parameter.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
        counts = [int(count) for count in self.gather(torch.tensor([len(rows)], device=parameter.device))]
        padded_rows = torch.zeros(max(counts), dtype=torch.int64, device=parameter.device)
        padded_values = parameter.new_zeros(max(counts), width)
        padded_rows[: len(rows)], padded_values[: len(rows)] = rows, values
        all_rows = torch.cat([r[:n] for r, n in zip(self.gather(padded_rows), counts, strict=True)])
        all_values = torch.cat([v[:n] for v, n in zip(self.gather(padded_values), counts, strict=True)])
        summed = torch.sparse_coo_tensor(all_rows[None], all_values, parameter.shape, check_invariants=False)
        return summed.coalesce()

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


def join(environment: Any = os.environ) -> Group:
    """The group `torchrun` started this process in; a group of one outside of `torchrun`."""
    size = int(environment.get("WORLD_SIZE", "1"))
    if size == 1:
        return Group()
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return Group(rank=dist.get_rank(), size=dist.get_world_size())


def leave(group: Group) -> None:
    """Part from the group that `join` gave."""
    if group.size > 1 and dist.is_initialized():
        # Threads of gloo still let go of the last messages, for which they need the interpreter. Were it to end first,
        # they would abort a process that has done all its work.
        time.sleep(0.2)
        dist.destroy_process_group()
