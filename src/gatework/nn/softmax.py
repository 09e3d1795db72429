"""A softmax over many classes as one function from vectors to nats: a table of logits is never kept whole.

    logit[c] = table[c] . h + bias[c]
    nats = sum over n of (1 - e) (-log p_n[wanted]) + e mean over c of (-log p_n[c])

with e the label smoothing. Logits, probabilities and all gradients of a few vectors at a time are worked out together
in the forward pass, while they lie in the cache; the backward pass only scales them.

N vectors, W width, C classes, K drawn classes.  Sources: Szegedy et al., arXiv:1512.00567 (smoothing); Jean et al.,
arXiv:1412.2007 (sampled).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LOGITS = 1 << 20
"""Logits worked out at once."""


def softmax_nats(
    h_NW: Tensor, table_CW: Tensor, bias_C: Tensor, wanted_N: Tensor, *, smoothing: float = 0.0, first: int = 0
) -> Tensor:
    """Sum over all vectors of -log p(wanted), smoothed, a scalar with gradients.

    Args:
        smoothing: e.
        first: classes below it have no probability.
    """
    total: Tensor = _SoftmaxNats.apply(h_NW, table_CW, bias_C, wanted_N, smoothing, first)  # type: ignore[no-untyped-call]
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


def _rows(classes: int) -> int:
    return max(16, LOGITS // max(1, classes))


def _log_p(h_NW: Tensor, table_CW: Tensor, bias_C: Tensor, first: int) -> Tensor:
    z_NC = torch.addmm(bias_C, h_NW, table_CW.T)
    if first:
        z_NC[:, :first] = -torch.inf
    return torch.log_softmax(z_NC, 1)


class _SoftmaxNats(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, h_NW: Tensor, table_CW: Tensor, bias_C: Tensor, wanted_N: Tensor, smoothing: float, first: int
    ) -> Tensor:
        classes = len(table_CW)
        spread = smoothing / max(1, classes - first)
        total = h_NW.new_zeros(())
        need = any(ctx.needs_input_grad[:3])
        d_h, d_table, d_bias = torch.empty_like(h_NW), torch.zeros_like(table_CW), torch.zeros_like(bias_C)
        for start in range(0, len(h_NW), _rows(classes)):
            part = slice(start, start + _rows(classes))
            h, wanted = h_NW[part], wanted_N[part, None]
            p_NC = _log_p(h, table_CW, bias_C, first)
            total -= (1.0 - smoothing) * p_NC.gather(1, wanted).sum()
            if spread:
                total -= spread * p_NC[:, first:].sum()
            if not need:
                continue
            p_NC.exp_()
            if spread:
                p_NC[:, first:] -= spread
            p_NC.scatter_(1, wanted, p_NC.gather(1, wanted) - (1.0 - smoothing))
            torch.mm(p_NC, table_CW, out=d_h[part])
            d_table.addmm_(p_NC.T, h)
            d_bias += p_NC.sum(0)
        ctx.save_for_backward(d_h, d_table, d_bias)
        return total

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        d_h, d_table, d_bias = ctx.saved_tensors
        (grad,) = grads
        return grad * d_h, grad * d_table, grad * d_bias, None, None, None
