"""The loss of `nn.CRF` in its three forms: the kernels in eager mode, the same as operators for torch.compile and
torch.export, and as torch operations.

The kernels give nll and all gradients in one pass, for weights of sequences known beforehand. Backward then only has to
scale, since losses nearly always weigh sequences alike; where they do not, the kernel runs again with the weights.

B sequences, T time, K tags, N paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from gatework.core.errors import DataError, GateworkError
from gatework.kernels import crf as kernel

_NEVER = -1e30
"""Stands for -inf among torch operations: exp of it is 0, and its derivatives are 0 where those of -inf are NaN."""


def _scores(transitions_KK: Tensor, start_K: Tensor, end_K: Tensor) -> kernel.Scores:
    return kernel.Scores(transitions_KK.detach().numpy(), start_K.detach().numpy(), end_K.detach().numpy())


def _time_first(batch_first: Tensor) -> Any:
    return batch_first.detach().numpy().swapaxes(0, 1)


def _batch_first(time_first: Any) -> Tensor:
    return torch.from_numpy(time_first.swapaxes(0, 1))


def _no_second_derivatives() -> NoReturn:
    raise GateworkError(
        "the CRF kernels have no second derivatives. Use float64, for the module and the emissions: there the layer is "
        "made of torch operations."
    )


# ------------------------------------------------------------------------------------------------------- eager mode


class KernelLoss(torch.autograd.Function):
    """nll_B, or its sum or mean, by the kernels. Masks of 0 and -inf are added to the scores."""

    @staticmethod
    def forward(
        ctx: Any,
        emissions_BTK: Tensor,
        transitions_KK: Tensor,
        start_K: Tensor,
        end_K: Tensor,
        tags_BT: Tensor,
        lengths_B: Tensor,
        masks: Sequence[Tensor] | None,
        reduction: str,
        wanted: bool,
    ) -> Tensor:
        scores = _scores(transitions_KK, start_K, end_K)
        if masks is not None:
            scores = kernel.Scores(*(part + mask.numpy() for part, mask in zip(scores, masks, strict=True)))
        arrays = (_time_first(emissions_BTK), _time_first(tags_BT), lengths_B.numpy(), scores)
        batch = len(emissions_BTK)
        if wanted and any(ctx.needs_input_grad):
            weights = np.full(batch, 1 / max(batch, 1), dtype=np.float32) if reduction == "mean" else None
            nll_B, gradients = kernel.nll_and_gradients(*arrays, weights_B=weights)
            ready = (_batch_first(gradients.emissions), *(torch.from_numpy(part) for part in gradients[1:]))
            # One input is kept, for second derivatives to hang on.
            inputs = (emissions_BTK, transitions_KK, start_K, end_K)
            ctx.save_for_backward(inputs[ctx.needs_input_grad.index(True)], *ready)
            ctx.again, ctx.given = arrays, (*inputs, tags_BT, lengths_B)
            ctx.versions = versions(ctx.given)
        else:
            nll_B = kernel.nll(*arrays)
        return reduced(torch.from_numpy(nll_B), reduction)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        one_input, *ready = ctx.saved_tensors
        ready = weighted(grad.detach(), tuple(ready), ctx.again, changed=versions(ctx.given) != ctx.versions)
        if torch.is_grad_enabled():
            ready = _Once.apply(grad, one_input, *ready)  # type: ignore[no-untyped-call]
        return (*ready, None, None, None, None, None)


class _Once(torch.autograd.Function):
    """Gradients as they are, which cannot be differentiated in their turn."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in tensors[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        _no_second_derivatives()


def reduced(nll_B: Tensor, reduction: str) -> Tensor:
    """nll_B as it is, or its sum or mean."""
    return nll_B if reduction == "none" else nll_B.sum() if reduction == "sum" else nll_B.mean()


def versions(tensors: Sequence[Tensor]) -> list[int]:
    """A number for each tensor that grows when it is changed in place."""
    return [0 if part.is_inference() else part._version for part in tensors]


def weighted(grad: Tensor, ready: tuple[Tensor, ...], again: Any, *, changed: bool = False) -> tuple[Tensor, ...]:
    """Gradients for the weights `grad` (a scalar, or one a sequence) from those for equal weights."""
    if grad.dim():
        weights_B = grad.numpy()
        if len(weights_B) and not (weights_B == weights_B[0]).all():
            if changed:
                raise GateworkError("the emissions, tags, lengths or scores of a CRF were changed before its backward.")
            gradients = kernel.nll_and_gradients(*again, weights_B=weights_B)[1]
            return (_batch_first(gradients.emissions), *(torch.from_numpy(part) for part in gradients[1:]))
        factor = float(weights_B[0]) if len(weights_B) else 1.0
    else:
        factor = grad.item()
    return ready if factor == 1.0 else tuple(part * factor for part in ready)


# -------------------------------------------------------------------------------------------------------- operators


@torch.library.custom_op("gatework::crf_loss", mutates_args=(), device_types="cpu")
def crf_loss(
    emissions_BTK: Tensor,
    transitions_KK: Tensor,
    start_K: Tensor,
    end_K: Tensor,
    tags_BT: Tensor,
    lengths_B: Tensor,
    gradients: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """nll_B and, where wanted, the gradients of its sum: emissions, transitions, start, end."""
    arrays = (_time_first(emissions_BTK.contiguous()), _time_first(tags_BT), lengths_B.numpy())
    scores = _scores(transitions_KK, start_K, end_K)
    if not gradients:
        empty = [emissions_BTK.new_empty(0) for _ in range(4)]
        return torch.from_numpy(kernel.nll(*arrays, scores)), empty[0], empty[1], empty[2], empty[3]
    nll_B, ready = kernel.nll_and_gradients(*arrays, scores)
    moves, start, end = (torch.from_numpy(part) for part in ready[1:])
    return torch.from_numpy(nll_B), _batch_first(ready.emissions).contiguous(), moves, start, end


@crf_loss.register_fake
def _crf_loss_fake(
    emissions_BTK: Tensor,
    transitions_KK: Tensor,
    start_K: Tensor,
    end_K: Tensor,
    tags_BT: Tensor,
    lengths_B: Tensor,
    gradients: bool,
) -> tuple[Tensor, ...]:
    parts = (emissions_BTK, transitions_KK, start_K, end_K)
    ready = (emissions_BTK.new_empty(part.shape if gradients else 0) for part in parts)
    return (emissions_BTK.new_empty(emissions_BTK.shape[0]), *ready)


@torch.library.custom_op("gatework::crf_loss_backward", mutates_args=(), device_types="cpu")
def crf_loss_backward(
    grad_B: Tensor,
    emissions_BTK: Tensor,
    transitions_KK: Tensor,
    start_K: Tensor,
    end_K: Tensor,
    tags_BT: Tensor,
    lengths_B: Tensor,
    ready: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the sum of grad_B x nll_B."""
    scores = _scores(transitions_KK, start_K, end_K)
    again = (_time_first(emissions_BTK.contiguous()), _time_first(tags_BT), lengths_B.numpy(), scores)
    got = weighted(grad_B.contiguous(), tuple(ready), again)
    emissions, moves, start, end = (part.clone() if part is old else part for part, old in zip(got, ready, strict=True))
    return emissions.contiguous(), moves, start, end


@crf_loss_backward.register_fake
def _crf_loss_backward_fake(
    grad_B: Tensor,
    emissions_BTK: Tensor,
    transitions_KK: Tensor,
    start_K: Tensor,
    end_K: Tensor,
    tags_BT: Tensor,
    lengths_B: Tensor,
    ready: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    parts = (emissions_BTK, transitions_KK, start_K, end_K)
    return tuple(emissions_BTK.new_empty(part.shape) for part in parts)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:6], *output[1:])


def _loss_backward(ctx: Any, grad_B: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad_B is None:
        return (None,) * 7
    inputs, ready = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
    return (*crf_loss_backward(grad_B, *inputs, list(ready)), None, None, None)


crf_loss.register_autograd(_loss_backward, setup_context=_remember)
crf_loss_backward.register_autograd(lambda ctx, *grads: _no_second_derivatives())


def viterbi(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, lengths_B: Tensor
) -> tuple[Tensor, Tensor]:
    """The best tags_BT and their scores_B."""
    scores = _scores(transitions_KK, start_K, end_K)
    tags_TB, scores_B = kernel.viterbi(_time_first(emissions_BTK), lengths_B.numpy(), scores)
    return torch.from_numpy(np.ascontiguousarray(tags_TB.T)), torch.from_numpy(scores_B)


crf_viterbi = torch.library.custom_op("gatework::crf_viterbi", viterbi, mutates_args=(), device_types="cpu")


@crf_viterbi.register_fake
def _crf_viterbi_fake(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, lengths_B: Tensor
) -> tuple[Tensor, Tensor]:
    batch, time = emissions_BTK.shape[:2]
    return emissions_BTK.new_empty(batch, time, dtype=torch.int64), emissions_BTK.new_empty(batch)


def marginals(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, lengths_B: Tensor
) -> Tensor:
    """P(tag of a token = k) as (B, T, K)."""
    scores = _scores(transitions_KK, start_K, end_K)
    p_TBK = kernel.marginals(_time_first(emissions_BTK.contiguous()), lengths_B.numpy(), scores)
    return _batch_first(p_TBK).contiguous()


crf_marginals = torch.library.custom_op("gatework::crf_marginals", marginals, mutates_args=(), device_types="cpu")


@crf_marginals.register_fake
def _crf_marginals_fake(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, lengths_B: Tensor
) -> Tensor:
    return emissions_BTK.new_empty(emissions_BTK.shape)


def n_best(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, lengths_B: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """The n best paths as tags_BNT and their scores_BN."""
    scores = _scores(transitions_KK, start_K, end_K)
    tags_NTB, scores_BN = kernel.n_best(_time_first(emissions_BTK), lengths_B.numpy(), scores, n)
    return torch.from_numpy(np.ascontiguousarray(tags_NTB.transpose(2, 0, 1))), torch.from_numpy(scores_BN)


crf_n_best = torch.library.custom_op("gatework::crf_n_best", n_best, mutates_args=(), device_types="cpu")


@crf_n_best.register_fake
def _crf_n_best_fake(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, lengths_B: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    batch, time = emissions_BTK.shape[:2]
    return emissions_BTK.new_empty(batch, n, time, dtype=torch.int64), emissions_BTK.new_empty(batch, n)


# --------------------------------------------------------------------------------------------------- torch operations


def definition(
    emissions_BTK: Tensor, transitions_KK: Tensor, start_K: Tensor, end_K: Tensor, tags_BT: Tensor, lengths_B: Tensor
) -> Tensor:
    """nll_B by the recursion of `kernels.crf_definition` over torch operations, on any device, in any precision."""
    time, tag_count = emissions_BTK.shape[1:]
    if time == 0:
        return emissions_BTK.sum((1, 2))
    live_BT = torch.arange(time, device=emissions_BTK.device) < lengths_B[:, None]
    # Padding first, or what is NaN there would spoil gradients.
    e_BTK = torch.where(live_BT[:, :, None], emissions_BTK, 0.0).clamp_min(_NEVER)
    tags_BT = torch.where(live_BT, tags_BT, 0)
    if emissions_BTK.device.type == "cpu" and bool(((tags_BT < -1) | (tags_BT >= tag_count)).any()):
        raise DataError(f"a tag is below -1 or not below the number of tags, {tag_count}.")
    scores = tuple(part.clamp_min(_NEVER) for part in (transitions_KK, start_K, end_K))
    log_z_B = _log_partition(e_BTK, scores, live_BT)
    if bool((tags_BT < 0).any()):
        agrees_BTK = tags_BT[:, :, None] == torch.arange(tag_count, device=tags_BT.device)
        agrees_BTK = agrees_BTK | (tags_BT < 0)[:, :, None]
        gold_B = _log_partition(e_BTK.masked_fill(~agrees_BTK, _NEVER), scores, live_BT)
    else:
        gold_B = _score(e_BTK, scores, live_BT, tags_BT, lengths_B)
    nll_B = log_z_B - gold_B
    nll_B = torch.where(gold_B < _NEVER / 2, torch.inf, nll_B)
    nll_B = torch.where(log_z_B < _NEVER / 2, torch.nan, nll_B)
    return torch.where(lengths_B > 0, nll_B, 0.0)


def _log_partition(e_BTK: Tensor, scores: tuple[Tensor, ...], live_BT: Tensor) -> Tensor:
    """log Z of each sequence."""
    moves_KK, first_K, last_K = scores
    alpha_BK = first_K + e_BTK[:, 0]
    for t in range(1, e_BTK.shape[1]):
        next_BK = torch.logsumexp(alpha_BK[:, :, None] + moves_KK, 1) + e_BTK[:, t]
        alpha_BK = torch.where(live_BT[:, t, None], next_BK, alpha_BK)
    return torch.logsumexp(alpha_BK + last_K, 1)


def _score(e_BTK: Tensor, scores: tuple[Tensor, ...], live_BT: Tensor, tags_BT: Tensor, lengths_B: Tensor) -> Tensor:
    """Score of each sequence's tags."""
    moves_KK, first_K, last_K = scores
    steps_BT = e_BTK.gather(2, tags_BT[:, :, None])[:, :, 0]
    moves_BT = moves_KK[tags_BT[:, :-1], tags_BT[:, 1:]]
    final_B = tags_BT.gather(1, (lengths_B - 1).clamp_min(0)[:, None])[:, 0]
    gold_B = first_K[tags_BT[:, 0]] + last_K[final_B]
    return gold_B + (steps_BT * live_BT).sum(1) + torch.where(live_BT[:, 1:], moves_BT, 0.0).sum(1)
