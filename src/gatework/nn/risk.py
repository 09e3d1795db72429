"""Expected risk of candidates: what training toward answers brings down.

    Q(y) = p(y)^a / sum over y' of p(y')^a        y, y' candidates of one source, a the sharpness
    R = sum over y of Q(y) risk(y)
    dR / d log p(y) = a Q(y) (risk(y) - R)        so a candidate better than the mean grows more likely

B sources, K candidates of each.  Source: Shen et al., arXiv:1512.02433 (minimum risk training).
"""

from __future__ import annotations

import torch
from torch import Tensor


def expected_risk(log_p_BK: Tensor, risk_BK: Tensor, real_BK: Tensor, *, sharpness: float) -> Tensor:
    """R of each source, (B,).

    Args:
        log_p_BK: nats of each candidate's tokens, its end counted.
        risk_BK: how bad each is.
        real_BK: which there are, at least one of each source.
        sharpness: a.
    """
    q_BK = torch.softmax((sharpness * log_p_BK).masked_fill(~real_BK, -torch.inf), 1)
    return (q_BK * risk_BK.masked_fill(~real_BK, 0.0)).sum(1)
