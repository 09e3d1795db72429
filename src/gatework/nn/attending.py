"""Where a writer looks: attention over the memory of a source, for all steps of a target at once or one by one.

`core.writer` has the equations. Additive attention holds a (B, T, S, A) tensor where all steps run at once.

B sequences, T steps, S places of the source, H units of the writer, P width of the memory, A attention.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatework.core.writer import Writer
from gatework.nn.pairs import wide


class Memory(NamedTuple):
    """What the encoder made of the sources."""

    m_BSP: Tensor
    keys: Tensor
    """What queries are compared with: (B, S, H), or (B, S, A) of additive attention."""
    real_BS: Tensor
    """Which places there are."""


class Attending(nn.Module):
    """The attention of a writer that has one."""

    def __init__(self, writer: Writer, memory: int) -> None:
        """`memory`: P."""
        super().__init__()
        self.kind, units, own = writer.attention, writer.units, writer.attention_units
        if self.kind == "general":
            self.w_HP = _matrix(units, memory)
        if self.kind == "additive":
            self.q_AH, self.m_AP = _matrix(own, units), _matrix(own, memory)
            self.b_A = nn.Parameter(torch.zeros(own))
            self.v_A = nn.Parameter(torch.empty(own).uniform_(-1.0, 1.0) * (3.0 / own) ** 0.5)
        self.coverage = writer.coverage
        if self.coverage:
            self.c_A = nn.Parameter(torch.zeros(own))

    def remember(self, m_BSP: Tensor, real_BS: Tensor) -> Memory:
        """What the memory needs for all steps."""
        if self.kind == "additive":
            return Memory(m_BSP, nn.functional.linear(m_BSP, self.m_AP, self.b_A), real_BS)
        keys = nn.functional.linear(m_BSP, self.w_HP) if self.kind == "general" else m_BSP
        return Memory(m_BSP, keys, real_BS)

    def forward(self, q_BTH: Tensor, memory: Memory, covered_BS: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What is seen, c_BTP, and with which weights, a_BTS.

        Args:
            covered_BS: with coverage, sums of the weights of earlier steps; there is one step then.
        """
        if self.kind == "additive":
            sum_BTSA = nn.functional.linear(q_BTH, self.q_AH)[:, :, None] + memory.keys[:, None]
            if covered_BS is not None:
                sum_BTSA = sum_BTSA + covered_BS[:, None, :, None] * self.c_A
            score_BTS = torch.tanh(sum_BTSA) @ self.v_A
        else:
            score_BTS = q_BTH @ memory.keys.transpose(1, 2)
        score_BTS = wide(score_BTS).masked_fill(~memory.real_BS[:, None], -torch.inf)
        a_BTS = torch.softmax(score_BTS, 2)
        return a_BTS.to(memory.m_BSP.dtype) @ memory.m_BSP, a_BTS


def _matrix(rows: int, columns: int) -> nn.Parameter:
    weight = nn.Parameter(torch.empty(rows, columns))
    nn.init.xavier_uniform_(weight)
    return weight
