"""Pre-training of the embedding and the first recurrent layer as a language model, in both directions.

The forward LSTM's output at a token predicts the next token, the backward one's the token before, each through its own
small projection to the embedding's width; the embedding is the output table too. Deeper layers see both directions,
so what they should predict would be in their input; they start from their initial weights.

The loss is a sampled softmax: the wanted token against K tokens drawn from q for the whole batch, each score less
log q. Scores cost N x K, not N x V.

    loss = -log( exp(s_t - log q_t) / (exp(s_t - log q_t) + sum over drawn k != t of exp(s_k - log q_k)) )

W windows, T time, N predicted tokens, E embedding, H outputs of a direction, K negatives, V vocabulary.
Sources: Peters et al., arXiv:1802.05365; Jean et al., arXiv:1412.2007; Press and Wolf, arXiv:1608.05859.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.errors import ConfigError
from gatework.nn.dropout import dropout
from gatework.nn.tensors import TensorBatch
from gatework.nn.trunk import Trunk

FLATTENED = 0.75
"""Exponent that draws rare tokens more often than their share (Mikolov et al., arXiv:1310.4546)."""


class PretrainHead(nn.Module):
    """What pre-training adds to a network: projections, biases of tokens, the distribution of negatives."""

    log_q_V: Tensor
    cumulative_V: Tensor

    def __init__(
        self, network: Trunk, vocabulary_counts: Sequence[int] | npt.NDArray[np.integer], *, negatives: int = 1024
    ) -> None:
        """
        Args:
            network: its embedding and first layer are trained by this head's loss. Held, so `state_dict` has all.
            vocabulary_counts: how often each token id occurs in the training text, (V,); 0 for padding.
            negatives: K.
        Raises: ConfigError: the counts do not fit the vocabulary or are all zero.
        """
        super().__init__()
        counts_V = torch.as_tensor(np.array(vocabulary_counts), dtype=torch.float64)
        vocabulary, width = network.inputs.embedding.weight.shape
        if counts_V.shape != (vocabulary,) or counts_V.sum() <= 0:
            raise ConfigError(f"vocabulary_counts must be {vocabulary} counts, some above 0, got {len(counts_V)}.")
        self.network, self.negatives = network, negatives
        self.projections = nn.ModuleList(
            nn.Linear(direction.outputs, width) for direction in network.encoder.first_directions()
        )
        # A count of one more keeps every score finite; padding is never drawn and never wanted.
        shares_V = counts_V + 1.0
        shares_V[0] = 0.0
        self.bias_V = nn.Parameter(torch.log(shares_V / shares_V.sum()).clamp(min=-30.0).float())
        q_V = shares_V.pow(FLATTENED)
        q_V /= q_V.sum()
        self.register_buffer("log_q_V", torch.log(q_V).clamp(min=-30.0).float())
        self.register_buffer("cumulative_V", q_V.cumsum(0))

    def loss(self, batch: TensorBatch) -> Tensor:
        """Mean over directions of the mean nats a token; 0 when no window has two tokens."""
        lengths_W = batch.lengths_W.to(batch.tokens_WT.device)
        steps_T = torch.arange(batch.tokens_WT.shape[1], device=lengths_W.device)
        pairs_WT = steps_T[1:] < lengths_W[:, None]
        if not pairs_WT.any():
            return self.bias_V.sum() * 0.0
        # An n-gram that ends at a token holds the token before it, which the backward direction is to predict.
        batch = batch._replace(local_WTM=torch.zeros_like(batch.local_WTM))
        outputs = self.network.encoder.first_layer(self.network.inputs(batch), lengths_B=batch.lengths_W)
        drawn_K = self._draw()
        chance, training = self.network.dropout, self.training
        losses = []
        for place, (y_WTH, projection) in enumerate(zip(outputs, self.projections, strict=True)):
            seen, wanted = (slice(1, None), slice(None, -1)) if place else (slice(None, -1), slice(1, None))
            h_NH = dropout(y_WTH[:, seen][pairs_WT], chance, training)
            losses.append(self._sampled(projection(h_NH), batch.tokens_WT[:, wanted][pairs_WT], drawn_K))
        return torch.stack(losses).mean()

    def sparse_parameters(self) -> list[nn.Parameter]:
        """What pre-training changes and gives sparse gradients."""
        weight = self.network.inputs.embedding.weight
        return [weight] if weight.requires_grad and self.network.inputs.embedding.sparse else []

    def dense_parameters(self) -> list[nn.Parameter]:
        """What pre-training changes with ordinary gradients: first layer, characters, projections, biases."""
        parts: list[nn.Module] = [self.network.encoder.layers[0], self.projections]
        parts += [self.network.inputs.characters] if self.network.inputs.characters is not None else []
        found = [parameter for part in parts for parameter in part.parameters()] + [self.bias_V]
        weight = self.network.inputs.embedding.weight
        return found + ([weight] if weight.requires_grad and not self.network.inputs.embedding.sparse else [])

    def _draw(self) -> Tensor:
        uniform_K = torch.rand(self.negatives, dtype=torch.float64, device=self.cumulative_V.device)
        return torch.searchsorted(self.cumulative_V, uniform_K).clamp(1, len(self.cumulative_V) - 1)

    def _sampled(self, o_NE: Tensor, wanted_N: Tensor, drawn_K: Tensor) -> Tensor:
        right_N = (o_NE * self._vectors(wanted_N)).sum(1) + self._offset(wanted_N)
        # The wanted token, drawn by chance, is no negative of its own.
        same_NK = wanted_N[:, None] == drawn_K
        drawn = (self._vectors(drawn_K), self._offset(drawn_K))
        total_N: Tensor = _LogSumExp.apply(o_NE, *drawn, same_NK)  # type: ignore[no-untyped-call]
        return nn.functional.softplus(total_N - right_N.float()).mean()

    def _vectors(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.network.inputs.embedding(tokens)
        return vectors

    def _offset(self, tokens: Tensor) -> Tensor:
        return self.bias_V.index_select(0, tokens) - self.log_q_V.index_select(0, tokens)


class _LogSumExp(torch.autograd.Function):
    """log of the sum over k of exp(o . vector_k + offset_k), the k marked left out, for each n.

    The N x K table is most of the work: written once here and kept once, where separate operations make five.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, o_NE: Tensor, vectors_KE: Tensor, offset_K: Tensor, left_out_NK: Tensor) -> Tensor:
        mass_NK = torch.addmm(offset_K, o_NE, vectors_KE.T).masked_fill_(left_out_NK, -torch.inf)
        # Where all are left out the sum is 0 and its log -inf; 0 in place of that maximum keeps NaN away.
        highest_N1 = mass_NK.amax(1, keepdim=True).clamp(min=torch.finfo(mass_NK.dtype).min)
        mass_NK.sub_(highest_N1).exp_()
        total_N1 = mass_NK.sum(1, keepdim=True)
        ctx.save_for_backward(o_NE, vectors_KE, mass_NK, total_N1)
        return (total_N1.log() + highest_N1).squeeze(1)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        o_NE, vectors_KE, mass_NK, total_N1 = ctx.saved_tensors
        (grad_N,) = grads
        share_NK = mass_NK * torch.where(total_N1 > 0, grad_N[:, None] / total_N1, 0.0)
        return share_NK @ vectors_KE, share_NK.T @ o_NE, share_NK.sum(0), None
