"""A sequence's outputs over time made one vector, across all its windows.

    last        forward output at the last token, backward output at the first token of the same (last) window
    mean        over all tokens of the sequence
    max         over all tokens of the sequence
    attention   sum of softmax(v . tanh(W y + b)) y, the softmax over all tokens of the sequence

Several are concatenated in the order given. Mean, max and attention do not see where windows were cut.

W windows, B sequences, T time, P width of the outputs, A width of the attention.
Source of the attention: Bahdanau et al., arXiv:1409.0473; Lin et al., arXiv:1703.03130.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatework.core.architecture import Pooling as Kind
from gatework.core.errors import ConfigError
from gatework.core.registry import Registry


class Pooling(nn.Module):
    """Outputs of windows to one vector a sequence."""

    def __init__(self, kinds: Sequence[Kind], width: int, *, bidirectional: bool, attention: int = 0) -> None:
        """Raises: ConfigError: no kind, an unknown one, or attention without a width."""
        super().__init__()
        known = Registry("model.pooling", dict.fromkeys(("last", "mean", "max", "attention"), True))
        if not kinds or not all(known[kind] for kind in kinds):
            raise ConfigError("model.pooling is empty. Name at least one of: last, mean, max, attention.")
        self.kinds, self.bidirectional = tuple(kinds), bidirectional
        if "attention" in kinds:
            if attention < 1:
                raise ConfigError(f"model.attention must be at least 1 for attention pooling, got {attention}.")
            self.w_AP = nn.Parameter(nn.init.xavier_uniform_(torch.empty(attention, width)))
            self.b_A = nn.Parameter(torch.zeros(attention))
            self.v_A = nn.Parameter(nn.init.normal_(torch.empty(attention), 0.0, attention**-0.5))

    def forward(self, y_WTP: Tensor, *, lengths_W: Tensor, sequence_W: Tensor, sequences: int) -> Tensor:
        """
        Args:
            y_WTP: outputs, zero past each length.
            lengths_W: tokens of each window, at least 1.
            sequence_W: which sequence a window belongs to, rising.
            sequences: B.
        Returns: the pooled vectors, (B, P x kinds).
        """
        lengths_W, sequence_W = lengths_W.to(y_WTP.device), sequence_W.to(y_WTP.device)
        whole = sequences == len(y_WTP)
        owner_W = None if whole else sequence_W
        parts = []
        for kind in self.kinds:
            if kind == "last":
                parts.append(self._last(y_WTP, lengths_W, sequence_W, sequences))
            elif kind == "mean":
                tokens_B = _add(lengths_W[:, None], owner_W, sequences)
                parts.append(_add(y_WTP.sum(1), owner_W, sequences) / tokens_B)
            elif kind == "max":
                parts.append(_largest(_biased(y_WTP, lengths_W).amax(1), owner_W, sequences))
            else:
                parts.append(self._attend(y_WTP, lengths_W, owner_W, sequences))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _last(self, y_WTP: Tensor, lengths_W: Tensor, sequence_W: Tensor, sequences: int) -> Tensor:
        windows_B = torch.bincount(sequence_W, minlength=sequences).cumsum(0) - 1
        end_BP = y_WTP[windows_B, lengths_W[windows_B] - 1]
        if not self.bidirectional:
            return end_BP
        half = y_WTP.shape[2] // 2
        return torch.cat([end_BP[:, :half], y_WTP[windows_B, 0, half:]], 1)

    def _attend(self, y_WTP: Tensor, lengths_W: Tensor, owner_W: Tensor | None, sequences: int) -> Tensor:
        scores_WT = torch.tanh(nn.functional.linear(y_WTP, self.w_AP, self.b_A)) @ self.v_A
        scores_WT = scores_WT.masked_fill(_outside(y_WTP, lengths_W), -torch.inf)
        highest_B = _largest(scores_WT.detach().amax(1, keepdim=True), owner_W, sequences)
        highest_W = highest_B if owner_W is None else highest_B[owner_W]
        mass_WT = torch.exp(scores_WT - highest_W)
        total_B = _add(mass_WT.sum(1, keepdim=True), owner_W, sequences)
        # (1, T) @ (T, P) for each window: no (W, T, P) product is kept for the backward pass.
        return _add(torch.bmm(mass_WT[:, None], y_WTP)[:, 0], owner_W, sequences) / total_B


def _outside(y_WTP: Tensor, lengths_W: Tensor) -> Tensor:
    return torch.arange(y_WTP.shape[1], device=y_WTP.device) >= lengths_W[:, None]


def _biased(y_WTP: Tensor, lengths_W: Tensor) -> Tensor:
    """y with -infinity past each length: added, which is a tenth of the cost of filling."""
    outside_WT = _outside(y_WTP, lengths_W)
    if not outside_WT.any():
        return y_WTP
    bias_WT = torch.zeros(outside_WT.shape, dtype=y_WTP.dtype, device=y_WTP.device)
    return y_WTP + bias_WT.masked_fill_(outside_WT, -torch.inf)[:, :, None]


def _add(x_WP: Tensor, owner_W: Tensor | None, sequences: int) -> Tensor:
    """Sum over the windows of each sequence; None when each is its own."""
    if owner_W is None:
        return x_WP
    return x_WP.new_zeros(sequences, x_WP.shape[1]).index_add(0, owner_W, x_WP)


def _largest(x_WP: Tensor, owner_W: Tensor | None, sequences: int) -> Tensor:
    """Maximum over the windows of each sequence; None when each is its own."""
    if owner_W is None:
        return x_WP
    start_BP = x_WP.new_full((sequences, x_WP.shape[1]), -torch.inf)
    return start_BP.scatter_reduce(0, owner_W[:, None].expand_as(x_WP), x_WP, "amax", include_self=False)
