"""A softmax over many classes as one function from vectors to nats: a table of logits is never kept whole.

    logit[c] = table[c] . h + bias[c]
    nats = sum over n of (1 - e) (-log p_n[wanted]) + e mean over c of (-log p_n[c])

with e the label smoothing. Logits, probabilities and all gradients of a few vectors at a time are worked out together
in the forward pass, while they lie in the cache; the backward pass only scales them. Under autocast to bfloat16 the
products are of bfloat16 numbers, the softmax is float32 still.

N vectors, W width, C classes, K drawn classes.  Sources: Szegedy et al., arXiv:1512.00567 (smoothing); Jean et al.,
arXiv:1412.2007 (sampled).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatework.nn.ops import autocast_to_bfloat16

LOGITS, LOW_LOGITS = 1 << 20, 1 << 24
"""Logits worked out at once; and products of bfloat16 numbers."""


def softmax_nats(
    h_NW: Tensor, table_CW: Tensor, bias_C: Tensor, wanted_N: Tensor, *, smoothing: float = 0.0, first: int = 0
) -> Tensor:
    """Sum over all vectors of -log p(wanted), smoothed, a scalar with gradients.

    Args:
        smoothing: e.
        first: classes below it have no probability.
    """
    options = (smoothing, first, autocast_to_bfloat16())
    total: Tensor = _SoftmaxNats.apply(h_NW, table_CW, bias_C, wanted_N, *options)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def nats_each(h_NW: Tensor, table_CW: Tensor, bias_C: Tensor, wanted_N: Tensor, *, first: int = 0) -> Tensor:
    """-log p(wanted) of each vector, (N,), without gradients."""
    nats_N, rows = h_NW.new_empty(len(h_NW)), _rows(len(table_CW))
    for start in range(0, len(h_NW), rows):
        part = slice(start, start + rows)
        log_p_NC = _log_p(h_NW[part], table_CW, bias_C, first)
        nats_N[part] = -log_p_NC.gather(1, wanted_N[part, None])[:, 0]
    return nats_N


def _rows(classes: int, logits: int = LOGITS) -> int:
    return max(16, logits // max(1, classes))


def _log_p(h_NW: Tensor, table_CW: Tensor, bias_C: Tensor, first: int) -> Tensor:
    z_NC = torch.addmm(bias_C, h_NW, table_CW.T)
    if first:
        z_NC[:, :first] = -torch.inf
    return torch.log_softmax(z_NC, 1)


class _SoftmaxNats(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any,
        h_NW: Tensor,
        table_CW: Tensor,
        bias_C: Tensor,
        wanted_N: Tensor,
        smoothing: float,
        first: int,
        low: bool,
    ) -> Tensor:
        need = any(ctx.needs_input_grad[:3])
        d_h, d_table, d_bias = torch.empty_like(h_NW), torch.zeros_like(table_CW), torch.zeros_like(bias_C)
        classes, kind = len(table_CW), torch.bfloat16 if low else h_NW.dtype
        total = h_NW.new_zeros(())
        h_all, table, rows = h_NW.to(kind), table_CW.to(kind), _rows(classes, LOW_LOGITS if low else LOGITS)
        for start in range(0, len(h_NW), rows):
            part = slice(start, start + rows)
            z_NC = torch.mm(h_all[part], table.T)
            for own, wanted in zip(*(torch.split(one, _rows(classes)) for one in (z_NC, wanted_N[part])), strict=True):
                total += _errors(own, bias_C, wanted[:, None], smoothing, first, d_bias if need else None)
            if need:
                d_h[part] = torch.mm(z_NC, table)
                if low:
                    d_table += torch.mm(z_NC.T, h_all[part])
                else:
                    d_table.addmm_(z_NC.T, h_all[part])
        ctx.save_for_backward(d_h, d_table, d_bias)
        return total

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        d_h, d_table, d_bias = ctx.saved_tensors
        (grad,) = grads
        return grad * d_h, grad * d_table, grad * d_bias, None, None, None, None


def _errors(
    z_NC: Tensor, bias_C: Tensor, wanted_N1: Tensor, smoothing: float, first: int, d_bias_C: Tensor | None
) -> Tensor:
    """Put the loss's gradients by the logits in the place of products `z_NC`, add those by the bias to `d_bias_C`.

    Returns: the loss. Without `d_bias_C` it alone is worked out.
    """
    logits_NC = z_NC + bias_C
    if first:
        logits_NC[:, :first] = -torch.inf
    p_NC = torch.log_softmax(logits_NC, 1, dtype=bias_C.dtype)
    spread = smoothing / max(1, len(bias_C) - first)
    total = (smoothing - 1.0) * p_NC.gather(1, wanted_N1).sum()
    if spread:
        total -= spread * p_NC[:, first:].sum()
    if d_bias_C is None:
        return total
    p_NC.exp_()
    if spread:
        p_NC[:, first:] -= spread
    p_NC.scatter_(1, wanted_N1, p_NC.gather(1, wanted_N1) - (1.0 - smoothing))
    d_bias_C += p_NC.sum(0)
    z_NC.copy_(p_NC)
    return total
