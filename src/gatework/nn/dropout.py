"""Dropout in its several forms, made cheap.

`torch.nn.functional.dropout` on the CPU spends eight times longer on its random numbers than on everything else, and
about a fifth of a training step. Here four masks come from each 64-bit random number: 16 bits an element, so a chance
is met to within 2^-17.

B sequences, T time, F width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gatework.core.errors import ConfigError

LEVELS = 1 << 16


def check_chance(name: str, chance: float) -> float:
    """`chance` as it is. Raises ConfigError outside [0, 1)."""
    if not 0.0 <= chance < 1.0:
        raise ConfigError(f"{name} must be in [0, 1), got {chance}. Use 0 to turn it off.")
    return chance


def keep_mask(shape: torch.Size | tuple[int, ...], chance: float, like: Tensor) -> Tensor:
    """0 with probability `chance`, else 1 / (1 - chance): a factor whose mean is 1, in `like`'s dtype and device."""
    if _plain_draws(like.device):
        return torch.nn.functional.dropout(like.new_ones(shape), chance)
    levels = _levels(chance)
    kept = _draws(shape, like.device) >= levels - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - levels))


def chosen(shape: torch.Size | tuple[int, ...], chance: float, device: torch.device) -> Tensor:
    """1 with probability `chance`, else 0, in uint8."""
    if _plain_draws(device):
        return (torch.rand(shape, device=device) < chance).to(torch.uint8)
    return (_draws(shape, device) < _levels(chance) - LEVELS // 2).view(torch.uint8)


def _plain_draws(device: torch.device) -> bool:
    """Where a compiler fuses torch's own draws, or a GPU makes them, words in parts gain nothing."""
    return device.type != "cpu" or torch.compiler.is_compiling()


def _levels(chance: float) -> int:
    """At least one level and never all: a chance however small or large still does something."""
    return min(max(round(chance * LEVELS), 1), LEVELS - 1)


def _draws(shape: torch.Size | tuple[int, ...], device: torch.device) -> Tensor:
    """Evenly spread int16."""
    count = math.prod(shape)
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=device).random_(-(2**63), 2**63 - 1)
    return words.view(torch.int16)[:count].view(shape)


def dropout(x: Tensor, chance: float, training: bool) -> Tensor:
    """Each element dropped on its own. `x` itself when not training or the chance is 0."""
    if not training or chance == 0.0:
        return x
    return x * keep_mask(x.shape, chance, x)


def locked_dropout(x_BTF: Tensor, chance: float, training: bool) -> Tensor:
    """One mask a sequence, the same at every step.

    Source: Gal and Ghahramani, arXiv:1512.05287, section 4.
    """
    if not training or chance == 0.0:
        return x_BTF
    return x_BTF * keep_mask((x_BTF.shape[0], 1, x_BTF.shape[2]), chance, x_BTF)


def dropout_TBF(x_TBF: Tensor, chance: float, training: bool, locked: bool) -> Tensor:
    """`dropout` of a tensor with time first, or where `locked`, one mask a sequence."""
    if not locked:
        return dropout(x_TBF, chance, training)
    return locked_dropout(x_TBF.transpose(0, 1), chance, training).transpose(0, 1)


def word_dropout(tokens_BT: Tensor, chance: float, training: bool, unknown: int = 1) -> Tensor:
    """Each real token (id > 0) replaced by `unknown` with probability `chance`; any shape."""
    if not training or chance == 0.0:
        return tokens_BT
    drawn = torch.rand(tokens_BT.shape, device=tokens_BT.device) < chance
    return tokens_BT.masked_fill(drawn & (tokens_BT > 0), unknown)
