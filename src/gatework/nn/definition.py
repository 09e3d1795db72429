"""A recurrent layer where our kernels do not reach: other dtypes and devices, and second derivatives.

`by_torch` is torch's own kernel for its plain cells (cuDNN on a GPU); `by_steps` is the cells' definition, a loop over
time that torch differentiates, for every cell and variant. Both have the contract of `ops.recurrent`.

D directions, T time, B sequences, N rows of packed sequences, I inputs, H width of h.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatework.cells import Cell, scan
from gatework.cells.scan import schedule
from gatework.nn.variants import Masks, masked_step

TORCH_KERNELS: dict[str, Callable[..., Any]] = {
    "rnn": torch.rnn_tanh,
    "rnn-relu": torch.rnn_relu,
    "gru": torch.gru,
    "lstm": torch.lstm,
    "lstm-projection": torch.lstm,
}
"""Cells torch runs itself."""


def by_torch(
    cell: Cell,
    x: Tensor,
    lengths_B: Tensor | None,
    flat: Sequence[Tensor],
    state: Sequence[Tensor],
    *,
    directions: int,
    bias: bool = True,
    layers: int = 1,
    dropout: float = 0.0,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Layers by torch's kernel. Lengths are at least 1; the parts of the state (layers x D, B, W). See `ops.recurrent`.

    `flat` is what `flat_weights` makes, or a `torch.nn` module has.
    """
    # cuDNN keeps what a backward pass needs only in training, whatever mode a module is in.
    options = (list(flat), bias, layers, dropout, dropout > 0.0 or torch.is_grad_enabled(), directions == 2)
    kernel = TORCH_KERNELS[cell.name]
    with _no_projection_warning() if cell.projects else nullcontext():
        if x.dim() == 3 and lengths_B is None:
            y, *last = kernel(x, _hidden(state), *options, False)
            return y, tuple(last)
        assert lengths_B is not None  # packed rows always come with lengths
        if x.dim() == 2:
            y, *last = kernel(x, batch_sizes(lengths_B), _hidden(state), *options)
            return y, tuple(last)
        rows = pack_padded_sequence(x, lengths_B.cpu(), enforce_sorted=False)
        order_B, back_B = rows.sorted_indices, rows.unsorted_indices
        assert order_B is not None  # enforce_sorted=False always sets both
        assert back_B is not None
        sorted_state = [part.index_select(1, order_B) for part in state]
        y, *last = kernel(rows.data, rows.batch_sizes, _hidden(sorted_state), *options)
        y_TBH, _ = pad_packed_sequence(PackedSequence(y, rows.batch_sizes, order_B, back_B), total_length=len(x))
        return y_TBH, tuple(part.index_select(1, back_B) for part in last)


def by_steps(
    cell: Cell, x: Tensor, lengths_B: Tensor | None, params: Sequence[Any], state: Any, masks: Masks
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A layer by the definition of its cell. See `ops.recurrent`."""
    lengths = torch.full((x.shape[1],), len(x)) if lengths_B is None else lengths_B.cpu()
    if x.dim() == 3:
        time, batch = x.shape[:2]
        at: tuple[Tensor, ...] = ()
    else:
        time, batch = int(lengths.max()), len(lengths)
        plan = schedule(lengths, time, batch, reverse=False)
        at = tuple(torch.from_numpy(index).to(x.device) for index in (plan.time_N, plan.sequence_N))

    def padded(rows: Tensor) -> Tensor:
        return rows.new_zeros(time, batch, rows.shape[1]).index_put(at, rows) if at else rows

    x_TBI, outputs, ends = padded(x), [], []
    for place, weights in enumerate(params):
        own = Masks(*(None if mask is None else mask[place] for mask in masks))
        ride, step = _carry_masks(cell, x.shape[-1], own, padded, x_TBI)
        start = cell.State(*(part[place] for part in state))
        y_TBH, end = scan(_stepping(cell, step), torch, ride, lengths, start, weights, reverse=place == 1)
        outputs.append(y_TBH)
        ends.append(end)
    y = torch.cat(outputs, 2)
    last = tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
    return (y if x.dim() == 3 else y[at]), last


def batch_sizes(lengths_B: Tensor) -> Tensor:
    """How many of the sequences, longest first, run at each step: what a `PackedSequence` carries."""
    steps_T = torch.arange(int(lengths_B[0]), device=lengths_B.device)
    return (lengths_B[None, :] > steps_T[:, None]).sum(1)


def _stepping(cell: Cell, step: Callable[..., Any]) -> Cell:
    """The cell with another step, whose gates nobody looks at."""
    return cell if step == cell.step else dataclasses.replace(cell, look=lambda *given: (step(*given), ()))


def _carry_masks(
    cell: Cell, inputs: int, masks: Masks, padded: Callable[[Tensor], Tensor], x_TBI: Tensor
) -> tuple[Tensor, Callable[..., Any]]:
    """Inputs with the masks as further columns, which puts each mask's rows where the scan's are; and the step that
    takes them apart again."""
    if not masks.any:
        return x_TBI, cell.step
    recurrent, *keeps = masks
    columns = [None if recurrent is None else recurrent.expand(len(x_TBI), -1, -1)]
    columns += [None if keep is None else padded(keep.to(x_TBI.dtype)) for keep in keeps]
    present = [column for column in columns if column is not None]
    widths = [inputs, *(column.shape[2] for column in present)]

    def step(xp: Any, x_BI: Tensor, state: Any, params: Any) -> Any:
        own_BI, *parts = torch.split(x_BI, widths, 1)
        rest = iter(parts)
        here = Masks(*(None if column is None else next(rest) for column in columns))
        return masked_step(cell, own_BI, state, params, here)

    return torch.cat([x_TBI, *present], 2), step


def flat_weights(cell: Cell, params: Sequence[Any]) -> list[Tensor]:
    """Weights as torch's kernels take them: two biases, the projection last."""
    flat: list[Tensor] = []
    for p in params:
        second = p.rb_G if hasattr(p, "rb_G") else torch.zeros_like(p.b_G)
        flat += [p.w_GI, p[1], p.b_G, second, *([p.v_PH] if cell.projects else [])]
    return flat


def _hidden(state: Any) -> Any:
    parts = list(state)
    return parts if len(parts) > 1 else parts[0]


@contextmanager
def _no_projection_warning() -> Iterator[None]:
    """torch says, once, that oneDNN has no projections and that it takes its own kernel: what we count on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        yield
