"""A linear-chain conditional random field as a layer: the loss of tag sequences, and the tags themselves.

`kernels.crf_definition` has the equations and their sources. On a CPU and in float32 the compiled kernels compute, the
loss and all its gradients in one pass. Elsewhere (CUDA, float64) the loss is made of torch operations, which can be
differentiated as often as one likes. Tags are always found by the kernels, as they are when a bundle answers.

B sequences, T time, K tags, N paths.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import Constraints
from gatework.nn import crf_operator as operator

_PARTS = ("transitions", "start", "end")


class CRF(nn.Module):
    """Learned scores of moves between tags; with emissions they make a distribution over whole tag sequences.

    Parameters are called as in pytorch-crf: `transitions` (from row to column), `start_transitions`, `end_transitions`.
    """

    def __init__(self, tags: int, *, constraints: Constraints | None = None) -> None:
        """Make a layer.

        Args:
            tags: how many, K.
            constraints: what is allowed, True; `core.tag_scheme.constraints` makes them of BIO and BIOES labels. Other
                paths have no probability. None allows everything.
        Raises: ConfigError: fewer tags than 1, or constraints of another size.
        """
        super().__init__()
        if tags < 1:
            raise ConfigError(f"a CRF needs at least 1 tag, got {tags}.")
        self.tags = tags
        self.transitions = nn.Parameter(torch.empty(tags, tags))
        self.start_transitions = nn.Parameter(torch.empty(tags))
        self.end_transitions = nn.Parameter(torch.empty(tags))
        self.constrained = constraints is not None
        if constraints is not None:
            for name, part, allowed in zip(_PARTS, self.parameters(), constraints, strict=True):
                if np.shape(allowed) != part.shape:
                    raise ConfigError(
                        f"constraints of {name} have shape {np.shape(allowed)}, expected {tuple(part.shape)}."
                    )
                forbidden = torch.from_numpy(~np.asarray(allowed, dtype=bool))
                mask = torch.zeros(part.shape).masked_fill(forbidden, -math.inf)
                self.register_buffer(f"{name}_mask", mask, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small scores, uniform in [-0.1, 0.1]."""
        for part in self.parameters():
            nn.init.uniform_(part, -0.1, 0.1)

    def forward(
        self, emissions_BTK: Tensor, tags_BT: Tensor, lengths_B: Tensor | None = None, *, reduction: str = "none"
    ) -> Tensor:
        """Negative log-likelihood of tag sequences, in nats.

        Args:
            emissions_BTK: a score for each tag of each token.
            tags_BT: int64, -1 where a tag is not known: what is lost then is log Z less the log of all that agrees with
                the known tags. What lies past a length is not read, here and in the emissions.
            lengths_B: tokens of each sequence, 0 to T; None when all are T.
            reduction: "none"; or "sum" or "mean" over the sequences, cheaper than the same done outside.
        Returns: nll_B, or a scalar. A sequence without tokens has nll 0, one that a constraint forbids has inf.
        Raises: DataError: shapes, lengths or tags do not fit.
        """
        if reduction not in ("none", "sum", "mean"):
            raise ConfigError(f"reduction must be none, sum or mean, got {reduction!r}.")
        if tags_BT.shape != emissions_BTK.shape[:2] or tags_BT.dtype != torch.int64:
            raise DataError(
                f"tags_BT must be int64 {tuple(emissions_BTK.shape[:2])}, got {tags_BT.dtype} {tuple(tags_BT.shape)}."
            )
        lengths_B = self._lengths(emissions_BTK, lengths_B)
        if emissions_BTK.device.type not in ("cpu", "meta") or emissions_BTK.dtype == torch.float64:
            on_device_B = lengths_B.to(emissions_BTK.device)
            transitions_KK, start_K, end_K = self._scores()
            nll_B = operator.definition(emissions_BTK, transitions_KK, start_K, end_K, tags_BT, on_device_B)
            return operator.reduced(nll_B, reduction)
        if emissions_BTK.dtype != torch.float32:
            emissions_BTK = emissions_BTK.float()
        if _traced(emissions_BTK):
            scores = [part.float() for part in self._scores()]
            wanted = torch.is_grad_enabled() and any(part.requires_grad for part in (emissions_BTK, *scores))
            nll_B = operator.crf_loss(emissions_BTK, *scores, tags_BT, lengths_B.cpu(), wanted)[0]
            return operator.reduced(nll_B, reduction)
        parts: tuple[Tensor, ...] = (self.transitions, self.start_transitions, self.end_transitions)
        if parts[0].dtype != torch.float32:
            parts = tuple(part.float() for part in parts)
        loss: Tensor = operator.KernelLoss.apply(  # type: ignore[no-untyped-call]
            emissions_BTK, *parts, tags_BT, lengths_B.cpu(), self._masks(), reduction, torch.is_grad_enabled()
        )
        return loss

    @torch.no_grad()
    def decode(self, emissions_BTK: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best tags of each sequence and their score.

        Of equal paths it is the one whose last tag is lowest, then the one before, and so on. In float32.
        Returns: tags_BT, zero past each length, and scores_B.
        """
        find = operator.crf_viterbi if _traced(emissions_BTK) else operator.viterbi
        tags_BT, scores_B = find(*self._decoded(emissions_BTK, lengths_B))
        return tags_BT.to(emissions_BTK.device), scores_B.to(emissions_BTK.device)

    @torch.no_grad()
    def marginals(self, emissions_BTK: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """The probability of each tag at each token, (B, T, K), zero past each length; float32, no gradients."""
        find = operator.crf_marginals if _traced(emissions_BTK) else operator.marginals
        p_BTK: Tensor = find(*self._decoded(emissions_BTK, lengths_B))
        return p_BTK.to(emissions_BTK.device)

    @torch.no_grad()
    def n_best(self, emissions_BTK: Tensor, n: int, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The n paths of highest score, best first: tags_BNT, zero past each length, and scores_BN.

        A sequence with fewer than n paths that are allowed has score -inf and tags 0 for the rest.
        """
        find: Any = operator.crf_n_best if _traced(emissions_BTK) else operator.n_best
        tags_BNT, scores_BN = find(*self._decoded(emissions_BTK, lengths_B), n)
        return tags_BNT.to(emissions_BTK.device), scores_BN.to(emissions_BTK.device)

    def extra_repr(self) -> str:
        """The number of tags, for print."""
        return f"{self.tags}, constrained={self.constrained}"

    def _masks(self) -> tuple[Tensor, ...] | None:
        return tuple(getattr(self, f"{name}_mask") for name in _PARTS) if self.constrained else None

    def _scores(self) -> tuple[Tensor, ...]:
        """Transitions, start and end, -inf where forbidden."""
        parts, masks = (self.transitions, self.start_transitions, self.end_transitions), self._masks()
        return parts if masks is None else tuple(part + mask for part, mask in zip(parts, masks, strict=True))

    def _lengths(self, emissions_BTK: Tensor, lengths_B: Tensor | None) -> Tensor:
        if emissions_BTK.dim() != 3 or emissions_BTK.shape[2] != self.tags:
            raise DataError(f"emissions_BTK have shape {tuple(emissions_BTK.shape)}, expected (B, T, {self.tags}).")
        batch, time = emissions_BTK.shape[:2]
        if lengths_B is None:
            return torch.full((batch,), time)
        if lengths_B.shape != (batch,):
            raise DataError(f"lengths_B has shape {tuple(lengths_B.shape)}, but the batch has {batch} sequences.")
        return lengths_B

    def _decoded(self, emissions_BTK: Tensor, lengths_B: Tensor | None) -> Any:
        lengths_B = self._lengths(emissions_BTK, lengths_B)
        return (*(part.cpu().float() for part in (emissions_BTK, *self._scores())), lengths_B.cpu())


def _traced(tensor: Tensor) -> bool:
    """Whether torch records operators, or a tensor has no memory to hand to a kernel."""
    return torch.compiler.is_compiling() or type(tensor) not in (Tensor, nn.Parameter) or tensor.is_meta
