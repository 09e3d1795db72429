"""A cell run over whole sequences of unequal length, without work on padding.

Sequences are sorted by falling length, so that those still running at a step are the first rows of every array. Read
backwards, a sequence starts from its own end, and the same rows run at the same steps. torch differentiates it.

T time, B batch, I inputs, H width of the output, N = all real steps of the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.cells.cell import Array, Cell, Module
from gatework.core.errors import DataError


class Schedule(NamedTuple):
    """Which row of which sequence each step reads."""

    order_B: npt.NDArray[np.int64]
    """Sequences by falling length."""
    running_S: npt.NDArray[np.int64]
    """How many sequences run at each of the S = longest steps; falling."""
    time_N: npt.NDArray[np.int64]
    """Time position of each row read, step by step."""
    sequence_N: npt.NDArray[np.int64]
    """Sequence of each row read."""


def scan(
    cell: Cell, xp: Module, x_TBI: Array, lengths_B: Array, state: Any, params: Any, *, reverse: bool = False
) -> tuple[Array, Any]:
    """Run `cell` over every sequence.

    Args:
        cell: an entry of `CELLS`.
        xp: the module of the arrays, `numpy` or `torch`.
        x_TBI: inputs, time first; what lies past a sequence's length is not read.
        lengths_B: steps of each sequence, 0 to T; integers.
        state: state before the first step of each sequence (`cell.State`), or None for zeros.
        params: weights, as `cell.Params` or a mapping of the same names.
        reverse: read each sequence from its own last step to its first; outputs stay at the time of their input.
    Returns: y_TBH, zero past each length, and each sequence's state after its last step read.
    Raises: DataError: lengths do not fit x_TBI.
    """
    p = cell.params(params)
    time, batch = x_TBI.shape[:2]
    plan = schedule(lengths_B, time, batch, reverse=reverse)
    if state is None:
        state = _zero_state(cell, xp, x_TBI, p)
    index = [xp.asarray(part, device=x_TBI.device) for part in (plan.time_N, plan.sequence_N, plan.order_B)]
    x_NI = x_TBI[index[0], index[1]]
    running = cell.State(*(part[index[2]] for part in state))
    outputs, finished, start = [], [], 0
    for count in plan.running_S.tolist():
        if count < len(running[0]):
            finished.append([part[count:] for part in running])
            running = cell.State(*(part[:count] for part in running))
        running = cell.step(xp, x_NI[start : start + count], running, p)
        outputs.append(cell.output(running))
        start += count
    finished.append(list(running))
    y_TBH = xp.zeros((time, batch, state[0].shape[1]), dtype=state[0].dtype, device=x_TBI.device)
    if outputs:
        y_TBH[index[0], index[1]] = xp.concatenate(outputs)
    # Sequences finished shortest first: backwards, the pieces follow `order_B`; its inverse is the caller's order.
    inverse_B = xp.asarray(np.argsort(plan.order_B), device=x_TBI.device)
    last = cell.State(*(xp.concatenate(parts[::-1])[inverse_B] for parts in zip(*finished, strict=True)))
    return y_TBH, last


def schedule(lengths_B: Array, time: int, batch: int, *, reverse: bool) -> Schedule:
    """Plan the steps of a ragged batch. Raises DataError when a length is not in 0..time or their number is wrong."""
    lengths = np.asarray(lengths_B.tolist() if hasattr(lengths_B, "tolist") else lengths_B, dtype=np.int64)
    if lengths.shape != (batch,):
        raise DataError(f"lengths_B has shape {lengths.shape}, but the batch has {batch} sequences. Give one each.")
    if batch and (lengths.min() < 0 or lengths.max() > time):
        raise DataError(f"lengths_B spans {lengths.min()} to {lengths.max()}, outside 0 to {time} steps given.")
    order = np.argsort(-lengths, kind="stable")
    steps = np.arange(lengths.max(initial=0))
    running = batch - np.searchsorted(np.sort(lengths), steps, side="right")
    rows = np.concatenate([np.arange(count) for count in running]) if len(steps) else np.zeros(0, dtype=np.int64)
    time_N = np.repeat(steps, running)
    sequence_N = order[rows]
    if reverse:
        time_N = lengths[sequence_N] - 1 - time_N
    return Schedule(order_B=order, running_S=running, time_N=time_N, sequence_N=sequence_N)


def _zero_state(cell: Cell, xp: Module, x_TBI: Array, p: Any) -> Any:
    units = p.b_G.shape[0] // len(cell.gates)
    projection = p.v_PH.shape[0] if cell.projects else 0
    return cell.initial_state(xp, x_TBI.shape[1], units, projection, dtype=p.b_G.dtype, device=x_TBI.device)
