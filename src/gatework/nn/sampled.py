"""Sampled softmax: the wanted token against K tokens drawn from q for a whole batch, each score less log q.

    loss = -log( exp(s_t - log q_t) / (exp(s_t - log q_t) + sum over drawn k != t of exp(s_k - log q_k)) )

Scores cost N x K in place of N x V, and what is learnt are scores of a softmax over all tokens. q is a power of the
tokens' shares; padding is never drawn.

N predicted tokens, E width, K negatives, V vocabulary.  Source: Jean et al., arXiv:1412.2007.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.nn.ops import autocast_to_bfloat16

FLATTENED = 0.75
"""Exponent that draws rare tokens more often than their share (Mikolov et al., arXiv:1310.4546)."""


class Negatives(nn.Module):
    """What negatives are drawn from."""

    log_q_V: Tensor
    cumulative_V: Tensor

    def __init__(self, counts_V: npt.NDArray[np.integer], *, count: int) -> None:
        """
        Args:
            counts_V: how often each token occurs.
            count: K.
        """
        super().__init__()
        self.count = count
        q_V = shares(counts_V).pow(FLATTENED)
        q_V /= q_V.sum()
        self.register_buffer("log_q_V", torch.log(q_V).clamp(min=-30.0).float())
        self.register_buffer("cumulative_V", q_V.cumsum(0))

    def draw(self) -> Tensor:
        """Ids of negatives, (K,), the same for a whole batch."""
        uniform_K = torch.rand(self.count, dtype=torch.float64, device=self.cumulative_V.device)
        return torch.searchsorted(self.cumulative_V, uniform_K).clamp(1, len(self.cumulative_V) - 1)

    def nats(
        self,
        o_NE: Tensor,
        wanted_N: Tensor,
        drawn_K: Tensor,
        vectors: Callable[[Tensor], Tensor],
        bias_V: Tensor,
    ) -> Tensor:
        """The loss of each token, (N,).

        Args:
            o_NE: what the tokens are scored by.
            vectors: rows of the output table by id.
            bias_V: of the scores.
        """

        def offset(tokens: Tensor) -> Tensor:
            return bias_V.index_select(0, tokens) - self.log_q_V.index_select(0, tokens)

        right_N = (o_NE * vectors(wanted_N)).sum(1) + offset(wanted_N)
        # The wanted token, drawn by chance, is no negative of its own.
        same_NK = wanted_N[:, None] == drawn_K
        low = autocast_to_bfloat16()
        total_N: Tensor = _LogSumExp.apply(o_NE, vectors(drawn_K), offset(drawn_K), same_NK, low)  # type: ignore[no-untyped-call]
        return nn.functional.softplus(total_N - right_N.float())


def shares(counts_V: npt.NDArray[np.integer]) -> Tensor:
    """Shares of tokens, float64, of counts one higher, which keeps every score finite; 0 for padding."""
    shares_V = torch.as_tensor(np.array(counts_V), dtype=torch.float64) + 1.0
    shares_V[0] = 0.0
    return shares_V / shares_V.sum()


class _LogSumExp(torch.autograd.Function):
    """log of the sum over k of exp(o . vector_k + offset_k), the k marked left out, for each n.

    The N x K table is most of the work: written once here and kept once, where separate operations make five. With
    `low` the products are of bfloat16 numbers, all else is float32 still.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, o_NE: Tensor, vectors_KE: Tensor, offset_K: Tensor, left_out_NK: Tensor, low: bool) -> Tensor:
        kind = torch.bfloat16 if low else o_NE.dtype
        o_NE, vectors_KE = o_NE.to(kind), vectors_KE.to(kind)
        mass_NK = torch.mm(o_NE, vectors_KE.T).to(offset_K.dtype).add_(offset_K).masked_fill_(left_out_NK, -torch.inf)
        # Where all are left out the sum is 0 and its log -inf; 0 in place of that maximum keeps NaN away.
        highest_N1 = mass_NK.amax(1, keepdim=True).clamp(min=torch.finfo(mass_NK.dtype).min)
        mass_NK.sub_(highest_N1).exp_()
        total_N1 = mass_NK.sum(1, keepdim=True)
        ctx.save_for_backward(o_NE, vectors_KE, mass_NK, total_N1)
        return (total_N1.log() + highest_N1).squeeze(1)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        o_NE, vectors_KE, mass_NK, total_N1 = ctx.saved_tensors
        (grad_N,) = grads
        share_NK = mass_NK * torch.where(total_N1 > 0, grad_N[:, None] / total_N1, 0.0)
        share, kind = share_NK.to(o_NE.dtype), share_NK.dtype
        return (share @ vectors_KE).to(kind), (share.T @ o_NE).to(kind), share_NK.sum(0), None, None
