"""One recurrent layer on tensors: the kernels under torch's autograd, compiler and exporter.

    y, last = recurrent(CELLS["lstm"], x_TBI, lengths_B, (forward_params, backward_params))

float32 and bfloat16 on the CPU run on `gatework.kernels`, both directions in one call; whatever else goes to
`nn.definition`. Called eagerly the kernels sit behind a `torch.autograd.Function`, at a quarter of the overhead of a
custom operator (10 against 40 microseconds); under `torch.compile`, `torch.export` and dispatch modes they are the
operators `gatework::recurrent` and `gatework::recurrent_backward`, which this module registers.

The kernels' tape is overwritten by the backward pass. Where a graph is walked a second time (`retain_graph=True`), the
forward pass is computed again; with `create_graph=True` the gradient itself comes from the definition, so that second
derivatives are right, and slow.

D directions, T time, B sequences, N rows of packed sequences, I inputs, H width of h, W width of a part of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatework import kernels
from gatework.cells import CELLS, Cell
from gatework.nn.definition import TORCH_KERNELS, by_steps, by_torch, flat_weights
from gatework.nn.variants import PLAIN, Masks

Array = npt.NDArray[Any]


def recurrent(
    cell: Cell,
    x: Tensor,
    lengths_B: Tensor | None,
    params: Sequence[Any],
    state: Sequence[Tensor] | None = None,
    masks: Masks = PLAIN,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a layer over a ragged batch.

    Args:
        cell: an entry of `CELLS`.
        x: (T, B, I); or (N, I), the data of a `PackedSequence`. What lies past a length is not read.
        lengths_B: int64 on the CPU, 0 to T (from 1 where torch computes); None when all are T. Packed: falling.
        params: the cell's Params of each direction; the second reads backwards.
        state: before the first step, each part (D, B, W); None for zeros.
        masks: drawn by `variants.draw`.
    Returns: y like x with D widths of h on its last axis, zero past each length; the parts of the state after each
        sequence's last step read, (D, B, W).
    Raises: DataError: lengths or shapes do not fit.
    """
    if not covered(x, params[0][0]):
        if state is None:
            state = zero_state(cell, x, lengths_B, params[0], len(params))
        if cell.name in TORCH_KERNELS and not masks.any and x.numel() and not transformed():
            return by_torch(cell, x, lengths_B, flat_weights(cell, params), state, directions=len(params))
        return by_steps(cell, x, lengths_B, params, state, masks)
    low = x.dtype == torch.bfloat16 or autocast_to_bfloat16()
    if low or params[0][0].dtype == torch.bfloat16:
        x, state = x.float(), None if state is None else [part.float() for part in state]
        params = [type(p)(*(weight.float() for weight in p)) for p in params]
    y, last = _on_kernels(cell, x, lengths_B, params, state, masks, low)
    return (y.bfloat16(), tuple(part.bfloat16() for part in last)) if low else (y, last)


def covered(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels compute for these tensors."""
    return (
        x.numel() > 0
        and kernels.trains()
        and x.device.type == "cpu"
        and weight.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and (weight.dtype == x.dtype or autocast_to_bfloat16())
        and not transformed()
    )


def transformed() -> bool:
    """Whether the caller is under `torch.func`: `grad`, `vmap` and their like."""
    return torch._C._are_functorch_transforms_active()


def autocast_to_bfloat16() -> bool:
    """Whether the caller is under `torch.autocast("cpu", torch.bfloat16)`."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def _on_kernels(
    cell: Cell,
    x: Tensor,
    lengths_B: Tensor | None,
    params: Sequence[Any],
    state: Sequence[Tensor] | None,
    masks: Masks,
    low: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    weights = [weight for p in params for weight in p]
    parts = [] if state is None else list(state)
    wanted = torch.is_grad_enabled() and (
        x.requires_grad or any(w.requires_grad for w in weights) or any(p.requires_grad for p in parts)
    )
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        if lengths_B is None:
            lengths_B = torch.full((x.shape[1],), x.shape[0], dtype=torch.int64)
        y, last, _ = torch.ops.gatework.recurrent(cell.name, x, lengths_B, weights, parts, *masks, wanted, low)
        return y, tuple(last)
    if lengths_B is None:
        lengths = np.full(x.shape[1], x.shape[0], dtype=np.int64)
    else:
        lengths = lengths_B.numpy()
        lengths = lengths if lengths.dtype == np.int64 else lengths.astype(np.int64)
    plan = _Plan(cell, len(params), lengths, len(parts), "bfloat16" if low else "float32")
    if wanted:
        y, *ends = _Recurrent.apply(plan, x, *weights, *parts, *masks)  # type: ignore[no-untyped-call]
        return y, tuple(ends)
    y, ends, _ = _forward(plan, x, weights, parts, masks, keep=False)
    return y, tuple(ends)


class _Plan(NamedTuple):
    """What a call is, beside its tensors."""

    cell: Cell
    directions: int
    lengths_B: Array
    parts: int
    """Parts of the state given: none or all."""
    precision: str

    def split(self, tensors: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Weights, parts of the state, masks."""
        weights = self.directions * len(self.cell.Params._fields)
        return list(tensors[:weights]), list(tensors[weights : weights + self.parts]), list(tensors[-3:])


class _Recurrent(torch.autograd.Function):
    """The kernels in an eager graph: inputs are the plan, x, and the tensors as `_Plan.split` takes them."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, x: Tensor, *tensors: Any) -> tuple[Tensor, ...]:
        y, last, tape = _forward(plan, x, *plan.split(tensors), keep=True)
        ctx.plan, ctx.used = plan, False
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(torch.from_numpy(tape), x, *tensors)
        return y, *last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        plan, (tape, x, *tensors) = ctx.plan, ctx.saved_tensors
        weights, parts, masks = plan.split(tensors)
        if torch.is_grad_enabled():  # the gradient is to be differentiated in its turn
            return None, *_differentiable(plan, x, weights, parts, Masks(*masks), grads, ctx.needs_input_grad[1:])
        fresh, ctx.used = None if ctx.used else tape.numpy(), True
        dy, *dlast = grads
        need_x, need_parts = ctx.needs_input_grad[1], any(ctx.needs_input_grad[2 + len(weights) :])
        dx, d_weights, d_parts = _backward(plan, fresh, x, weights, parts, masks, dy, dlast, need_x, need_parts)
        return None, dx, *d_weights, *d_parts, None, None, None


def _forward(
    plan: _Plan, x: Tensor, weights: Sequence[Tensor], parts: Sequence[Tensor], masks: Sequence[Any], *, keep: bool
) -> tuple[Tensor, list[Tensor], Array | None]:
    params, states, named = _arrays(plan, weights, parts, masks)
    y, last, tape = kernels.recurrent_forward(
        plan.cell.name, _rows(x), plan.lengths_B, params, states, **named, keep=keep, precision=plan.precision
    )
    ends = [torch.from_numpy(_stack(part)) for part in zip(*last, strict=True)]
    return torch.from_numpy(y), ends, tape


def _backward(
    plan: _Plan,
    tape: Any,
    x: Tensor,
    weights: Sequence[Tensor],
    parts: Sequence[Tensor],
    masks: Sequence[Any],
    dy: Tensor | None,
    dlast: Sequence[Tensor | None],
    need_x: bool,
    need_parts: bool,
) -> tuple[Tensor | None, list[Tensor], list[Tensor | None]]:
    params, states, named = _arrays(plan, weights, parts, masks)
    rows, options = _rows(x), {**named, "precision": plan.precision}
    if tape is None:  # an earlier backward pass has overwritten it
        *_, tape = kernels.recurrent_forward(plan.cell.name, rows, plan.lengths_B, params, states, **options)
    d_rows = None if dy is None else _rows(dy)
    d_ends = _end_gradients(plan, params, dlast)
    dx, dp, ds = kernels.recurrent_backward(
        plan.cell.name, tape, rows, plan.lengths_B, params, states, d_rows, d_ends, **options, need_x=need_x
    )
    d_weights = [torch.from_numpy(array) for p in dp for array in p]
    d_parts: list[Tensor | None] = [None] * len(parts)
    if need_parts and parts:
        d_parts = [torch.from_numpy(_stack(part)) for part in zip(*ds, strict=True)]
    return None if dx is None else torch.from_numpy(dx), d_weights, d_parts


def _arrays(
    plan: _Plan, weights: Sequence[Tensor], parts: Sequence[Tensor], masks: Sequence[Any]
) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """The tensors as the kernels take them: Params and State of each direction, and the masks by name."""
    cell, width = plan.cell, len(plan.cell.Params._fields)
    flat = [_contiguous(weight) for weight in weights]
    params = [cell.Params(*flat[at : at + width]) for at in range(0, len(flat), width)]
    states: list[Any] = [None] * plan.directions
    if parts:
        whole = [_contiguous(part) for part in parts]
        states = [cell.State(*(part[place] for part in whole)) for place in range(plan.directions)]
    if masks[0] is None and masks[1] is None:
        return params, states, {}
    named = zip(("recurrent_masks", "keep_h", "keep_c"), masks, strict=True)
    return params, states, {name: None if mask is None else list(_contiguous(mask)) for name, mask in named}


def _end_gradients(plan: _Plan, params: Sequence[Any], dlast: Sequence[Tensor | None]) -> list[Any] | None:
    """Gradients of the last state for each direction; None where there are none at all."""
    if all(part is None for part in dlast):
        return None
    cell, batch = plan.cell, len(plan.lengths_B)
    units = len(params[0].b_G) // len(cell.gates)
    widths = [len(params[0].v_PH) if cell.projects else units] + [units] * (len(dlast) - 1)
    whole = [
        np.zeros((plan.directions, batch, width), dtype=np.float32) if part is None else _contiguous(part)
        for part, width in zip(dlast, widths, strict=True)
    ]
    return [cell.State(*(part[place] for part in whole)) for place in range(plan.directions)]


def _contiguous(tensor: Tensor) -> Array:
    """The tensor's memory as an array, copied only if it is not contiguous."""
    array: Array = (tensor if tensor.is_contiguous() else tensor.contiguous()).numpy(force=True)
    return array


def _rows(tensor: Tensor) -> Array:
    """The same where time and batch may have any strides: the last axis alone is made contiguous."""
    if tensor.stride(-1) != 1:  # `contiguous` would leave the stride of an axis of one
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    array: Array = tensor.numpy(force=True)
    return array


def _stack(parts: Sequence[Array]) -> Array:
    if len(parts) == 1:
        return parts[0][None]
    whole = np.empty((len(parts), *parts[0].shape), dtype=np.float32)  # a fifth of the time of np.stack
    for place, part in enumerate(parts):
        whole[place] = part
    return whole


def zero_state(cell: Cell, x: Tensor, lengths_B: Tensor | None, params: Any, count: int) -> list[Tensor]:
    """Zeros for the parts of the state of `count` layers and directions with weights of these shapes."""
    units = len(params.b_G) // len(cell.gates)
    projection = len(params.v_PH) if cell.projects else 0
    batch = x.shape[1] if lengths_B is None else len(lengths_B)
    zero = cell.initial_state(torch, batch, units, projection, dtype=x.dtype, device=x.device)
    return [part.expand(count, -1, -1) for part in zero]


def _differentiable(
    plan: _Plan,
    x: Tensor,
    weights: Sequence[Tensor],
    parts: Sequence[Tensor],
    masks: Masks,
    grads: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, weights, state and masks by the definition, as functions that can be differentiated again."""
    cell, width = plan.cell, len(plan.cell.Params._fields)
    params = [cell.Params(*weights[at : at + width]) for at in range(0, len(weights), width)]
    lengths_B = torch.from_numpy(plan.lengths_B)
    state = parts or zero_state(cell, x, lengths_B, params[0], plan.directions)
    y, last = by_steps(cell, x, lengths_B, params, state, masks)
    given = [(out, grad) for out, grad in zip((y, *last), grads, strict=True) if grad is not None]
    tensors = [x, *weights, *parts]
    wanted = [tensor for tensor, need in zip(tensors, needed, strict=False) if need]
    outs, out_grads = zip(*given, strict=True)
    found = iter(torch.autograd.grad(outs, wanted, out_grads, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed[: len(tensors)]] + [None, None, None]


# The operators. What they take is flat: the cell by name, weights and state as lists, as `_Plan.split` orders them. The
# tape has room for full-length sequences, so that its size does not depend on the lengths, and ends in a mark: 1 once a
# backward pass has used it up.

_LIBRARY: Any = torch.library.Library("gatework", "DEF")  # type: ignore[no-untyped-call]
_INPUTS = (
    "str cell, Tensor x, Tensor lengths_B, Tensor[] weights, Tensor[] state, "
    "Tensor? recurrent_DBH, Tensor? keep_h, Tensor? keep_c"
)
_LIBRARY.define(f"recurrent({_INPUTS}, bool keep, bool bfloat16) -> (Tensor, Tensor[], Tensor)")
_LIBRARY.define(
    f"recurrent_backward({_INPUTS}, Tensor tape, Tensor dy, Tensor[] dlast, bool need_x, bool bfloat16)"
    " -> (Tensor, Tensor[], Tensor[])"
)


def _plan(cell: str, lengths_B: Tensor, weights: Sequence[Tensor], state: Sequence[Tensor], low: bool) -> _Plan:
    kind = CELLS[cell]
    precision = "bfloat16" if low else "float32"
    return _Plan(kind, len(weights) // len(kind.Params._fields), lengths_B.numpy(), len(state), precision)


def _tape_size(cell: Cell, x: Tensor, lengths_B: Tensor, weights: Sequence[Tensor], low: bool, masked: bool) -> Any:
    """Room for a tape and the mark, in sizes a compiler may not know yet: linear in rows and sequences.

    A tape's arrays begin at aligned places, so its size is linear but for rounding, which 1 row has already.
    """
    first = cell.Params(*weights[: len(cell.Params._fields)])
    units, projection = first.b_G.shape[0] // len(cell.gates), first.v_PH.shape[0] if cell.projects else 0
    directions, precision, many = len(weights) // len(first), "bfloat16" if low else "float32", 1 << 12

    def size(rows: int, batch: int) -> int:
        inputs = first.w_GI.shape[1]
        found: int = kernels.tape_size(
            cell.name, rows, batch, inputs, units, projection, directions, precision, masked=masked
        )
        return found

    a_row, a_sequence = (size(many, 1) - size(0, 1)) // many + 1, (size(1, many) - size(1, 0)) // many + 1
    rows = x.shape[0] if x.dim() == 2 else x.shape[0] * x.shape[1]
    return rows * a_row + lengths_B.shape[0] * a_sequence + size(1, 1) + 1


@torch.library.impl(_LIBRARY, "recurrent", "CPU")
def _recurrent_cpu(
    cell: str,
    x: Tensor,
    lengths_B: Tensor,
    weights: list[Tensor],
    state: list[Tensor],
    recurrent_DBH: Tensor | None,
    keep_h: Tensor | None,
    keep_c: Tensor | None,
    keep: bool,
    bfloat16: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    plan = _plan(cell, lengths_B, weights, state, bfloat16)
    y, last, used = _forward(plan, x, weights, state, (recurrent_DBH, keep_h, keep_c), keep=keep)
    if used is None:
        return y, last, x.new_empty(0)
    tape = x.new_empty(_tape_size(plan.cell, x, lengths_B, weights, bfloat16, recurrent_DBH is not None))
    tape[: len(used)] = torch.from_numpy(used)
    tape[len(used) :] = 0.0
    return y, last, tape


def _recurrent_fake(
    cell: str,
    x: Tensor,
    lengths_B: Tensor,
    weights: list[Tensor],
    state: list[Tensor],
    recurrent_DBH: Tensor | None,
    keep_h: Tensor | None,
    keep_c: Tensor | None,
    keep: bool,
    bfloat16: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    kind = CELLS[cell]
    first = kind.Params(*weights[: len(kind.Params._fields)])
    directions, units = len(weights) // len(first), first.b_G.shape[0] // len(kind.gates)
    outputs = first.v_PH.shape[0] if kind.projects else units
    widths = [outputs] + [units] * (len(kind.State._fields) - 1)
    last = [x.new_empty(directions, lengths_B.shape[0], width) for width in widths]
    size = _tape_size(kind, x, lengths_B, weights, bfloat16, recurrent_DBH is not None) if keep else 0
    return x.new_empty(*x.shape[:-1], directions * outputs), last, x.new_empty(size)


@torch.library.impl(_LIBRARY, "recurrent_backward", "CPU")
def _recurrent_backward_cpu(
    cell: str,
    x: Tensor,
    lengths_B: Tensor,
    weights: list[Tensor],
    state: list[Tensor],
    recurrent_DBH: Tensor | None,
    keep_h: Tensor | None,
    keep_c: Tensor | None,
    tape: Tensor,
    dy: Tensor,
    dlast: list[Tensor],
    need_x: bool,
    bfloat16: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    plan = _plan(cell, lengths_B, weights, state, bfloat16)
    whole = tape.numpy()  # whose writes autograd does not count as changes
    fresh = None if whole[-1] else whole[:-1]
    whole[-1] = 1.0
    masks = (recurrent_DBH, keep_h, keep_c)
    dx, d_weights, d_state = _backward(plan, fresh, x, weights, state, masks, dy, dlast, need_x, bool(state))
    return x.new_empty(0) if dx is None else dx, d_weights, [part for part in d_state if part is not None]


def _recurrent_backward_fake(
    cell: str,
    x: Tensor,
    lengths_B: Tensor,
    weights: list[Tensor],
    state: list[Tensor],
    recurrent_DBH: Tensor | None,
    keep_h: Tensor | None,
    keep_c: Tensor | None,
    tape: Tensor,
    dy: Tensor,
    dlast: list[Tensor],
    need_x: bool,
    bfloat16: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    dx = x.new_empty(x.shape) if need_x else x.new_empty(0)
    return dx, [w.new_empty(w.shape) for w in weights], [part.new_empty(part.shape) for part in state]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    cell, x, lengths_B, weights, state, recurrent_DBH, keep_h, keep_c, _, bfloat16 = inputs
    ctx.cell, ctx.bfloat16, ctx.weights, ctx.state = cell, bfloat16, len(weights), len(state)
    ctx.save_for_backward(x, lengths_B, *weights, *state, recurrent_DBH, keep_h, keep_c, output[2])


def _backward_of_operator(ctx: Any, dy: Tensor, dlast: list[Tensor], _: Tensor) -> tuple[Any, ...]:
    x, lengths_B, *rest, recurrent_DBH, keep_h, keep_c, tape = ctx.saved_tensors
    weights, state = rest[: ctx.weights], rest[ctx.weights :]
    dx, d_weights, d_state = torch.ops.gatework.recurrent_backward(
        ctx.cell,
        x,
        lengths_B,
        weights,
        state,
        recurrent_DBH,
        keep_h,
        keep_c,
        tape,
        dy,
        dlast,
        ctx.needs_input_grad[1],
        ctx.bfloat16,
    )
    return None, dx if ctx.needs_input_grad[1] else None, None, d_weights, d_state, None, None, None, None, None


def _no_second_derivative(ctx: Any, *grads: Any) -> Any:
    raise RuntimeError(
        "gatework::recurrent_backward has no derivative: a compiled recurrent layer cannot be differentiated twice. "
        "Call the layer eagerly, where create_graph=True is supported."
    )


torch.library.register_fake("gatework::recurrent", _recurrent_fake, lib=_LIBRARY)
torch.library.register_fake("gatework::recurrent_backward", _recurrent_backward_fake, lib=_LIBRARY)
torch.library.register_autograd("gatework::recurrent", _backward_of_operator, setup_context=_remember, lib=_LIBRARY)
torch.library.register_autograd("gatework::recurrent_backward", _no_second_derivative, lib=_LIBRARY)
