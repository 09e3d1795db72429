"""Losses of a classifier.

    softmax     -log p(label), with label smoothing, class weights and the focal factor (1 - p(label))^gamma
    sigmoid     the same for each label of a multi-label example on its own, averaged over labels

B sequences, C classes.  Sources: Szegedy et al., arXiv:1512.00567 (smoothing); Lin et al., arXiv:1708.02002 (focal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gatework.core.errors import ConfigError
from gatework.nn.network import Logits

FLOOR = 1e-12
"""Least error that the focal factor sees: a power below 1 has no slope at 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loss:
    """A training objective with its options. Calling it gives the mean over a batch."""

    multi_label: bool = False
    label_smoothing: float = 0.0
    """Probability mass spread over all labels (multi-label: over yes and no), in [0, 1)."""
    class_weights_C: Tensor | None = None
    """Weight of each class; multi-label: of each label where it is present."""
    focal_gamma: float = 0.0
    """0 is plain cross-entropy; larger values turn from what is already right."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"train.label_smoothing must be in [0, 1), got {self.label_smoothing}.")
        if self.focal_gamma < 0.0:
            raise ConfigError(f"train.focal_gamma must be at least 0, got {self.focal_gamma}.")

    def __call__(self, logits: Logits, targets: Tensor) -> Tensor:
        """Loss of the deep part plus loss of the n-gram part, each alone, so that both learn all they can.

        Args:
            targets: class ids (B,) int64, or (B, C) float with 1 for each label present when multi-label.
        """
        loss = self.of(logits.deep_BC, targets)
        return loss if logits.wide_BC is None else loss + self.of(logits.wide_BC, targets)

    def of(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of one table of logits."""
        logits_BC = logits_BC.float() if logits_BC.dtype in (torch.bfloat16, torch.float16) else logits_BC
        return self._sigmoid(logits_BC, targets) if self.multi_label else self._softmax(logits_BC, targets)

    def _softmax(self, logits_BC: Tensor, targets_B: Tensor) -> Tensor:
        weights_C = self._weights(logits_BC)
        reduction = "none" if self.focal_gamma else "mean"
        losses = functional.cross_entropy(
            logits_BC, targets_B, weight=weights_C, label_smoothing=self.label_smoothing, reduction=reduction
        )
        if not self.focal_gamma:
            return losses
        p_B = logits_BC.log_softmax(1).gather(1, targets_B[:, None])[:, 0].exp()
        focal_B = losses * (1.0 - p_B).clamp(min=FLOOR).pow(self.focal_gamma)
        return focal_B.mean() if weights_C is None else focal_B.sum() / weights_C[targets_B].sum()

    def _sigmoid(self, logits_BC: Tensor, targets_BC: Tensor) -> Tensor:
        targets_BC = targets_BC.to(logits_BC.dtype)
        smooth_BC = targets_BC * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        losses_BC = functional.binary_cross_entropy_with_logits(
            logits_BC, smooth_BC, reduction="none", pos_weight=self._weights(logits_BC)
        )
        if self.focal_gamma:
            wrong_BC = torch.sigmoid(logits_BC * (1.0 - 2.0 * targets_BC))
            losses_BC = losses_BC * wrong_BC.clamp(min=FLOOR).pow(self.focal_gamma)
        return losses_BC.mean()

    def _weights(self, like: Tensor) -> Tensor | None:
        return None if self.class_weights_C is None else self.class_weights_C.to(like)


def balanced_class_weights(counts_C: Sequence[int]) -> Tensor:
    """Weights inverse to each class's frequency, 1 for a class of mean size.

    Raises: ConfigError: a class has no example.
    """
    counts = torch.as_tensor(counts_C, dtype=torch.float64)
    if len(counts) == 0 or bool((counts <= 0).any()):
        raise ConfigError("train.class_weights = 'balanced' needs at least one training example of every class.")
    return (counts.sum() / (len(counts) * counts)).float()
