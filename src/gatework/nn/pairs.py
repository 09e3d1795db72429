"""Sources and targets as tensors, and what a writer makes of them.

B pairs, S places of a source, T steps of a target (the end counted), E embedding, X width of what the copy gate reads.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """Sources and targets that go through the network together; past each length anything may stand."""

    source_BS: Tensor
    source_lengths_B: Tensor
    read_BT: Tensor
    """The end, and then the target but for its end."""
    wanted_BT: Tensor
    """The target with its end."""
    lengths_B: Tensor
    """Of targets with their ends."""
    same_B: Tensor | None = None
    """Where several targets are of one source, which of the different sources each is of, rising from 0 without a gap:
    it is encoded once. None where each pair has its own."""


class Seen(NamedTuple):
    """What a writer made of some pairs."""

    o_BTE: Tensor
    a_BTS: Tensor | None
    """Where it looked; None without attention."""
    copies_BTX: Tensor | None
    """What the copy gate reads; None without copying."""


def wide(values: Tensor) -> Tensor:
    """Values that autocast made bfloat16 as float32; others as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
