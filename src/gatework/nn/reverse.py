"""Each sequence of a padded batch read from its own end.

Reversal swaps rows and leaves padding where it is, so it is its own inverse, and its gradient is itself: a copy of
rows both ways, where indexing would scatter-add.

B sequences, T time, F width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def reversal(lengths_B: Tensor, time: int) -> Tensor:
    """For each position of the flattened batch, (B x T,), the position to read instead."""
    steps_T = torch.arange(time, device=lengths_B.device)
    mirrored_BT = lengths_B[:, None] - 1 - steps_T
    own_BT = torch.where(mirrored_BT >= 0, mirrored_BT, steps_T)
    starts_B = torch.arange(len(lengths_B), device=lengths_B.device) * time
    return (own_BT + starts_B[:, None]).view(-1)


def reverse(x_BTF: Tensor, reversal_N: Tensor) -> Tensor:
    """Every sequence from its last real step to its first; padding stays. `reversal_N` as `reversal` makes it."""
    reversed_BTF: Tensor = _Reverse.apply(x_BTF, reversal_N)  # type: ignore[no-untyped-call]
    return reversed_BTF


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTF: Tensor, reversal_N: Tensor) -> Tensor:
        ctx.save_for_backward(reversal_N)
        return _rows(x_BTF, reversal_N)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (reversal_N,) = ctx.saved_tensors
        (grad_BTF,) = grads
        return _rows(grad_BTF, reversal_N), None


def _rows(x_BTF: Tensor, index_N: Tensor) -> Tensor:
    return x_BTF.reshape(-1, x_BTF.shape[2]).index_select(0, index_N).view(x_BTF.shape)
