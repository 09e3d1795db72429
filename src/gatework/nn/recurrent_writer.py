"""A recurrent writer in training: targets that are known, at once or step by step.

`core.writer` has the equations. Each layer runs over the whole of a target in one call, and attention is a few products
of matrices; with input feeding or coverage a step waits for the one before.

B pairs, S places of a source, T steps of a target (the end counted), P memory, H units, E embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gatework.core.errors import ConfigError
from gatework.core.writer import Writer
from gatework.nn.attending import Attending, Memory
from gatework.nn.dropout import dropout
from gatework.nn.pairs import Seen
from gatework.nn.recurrent import Direction, RecurrentStack


class RecurrentWriter(nn.Module):
    """The layers of a writer, and where they look."""

    def __init__(
        self, writer: Writer, memory: int, *, dropout: float, output_dropout: float, recurrence: dict[str, Any]
    ) -> None:
        """
        Args:
            memory: P.
            dropout: between layers. output_dropout: on what the output table reads.
            recurrence: options of `RecurrentStack` for all layers.
        Raises: ConfigError: a regulariser that cannot go step by step.
        """
        super().__init__()
        if writer.stepwise and (recurrence["variational_dropout"] or recurrence["zoneout"]):
            raise ConfigError(
                "model.variational_dropout and model.zoneout do not go with input_feeding and coverage. Set them to 0."
            )
        self.writer, self.dropout, self.output_dropout = writer, dropout, output_dropout
        self.layers = nn.ModuleList(
            RecurrentStack(writer.cell, writer.inputs(layer, memory), writer.units, **recurrence)
            for layer in range(writer.layers)
        )
        self.cell = self._direction(0).cell
        self.parts = tuple(field.partition("_")[0] for field in self.cell.State._fields)
        self.bridges = nn.ModuleList(nn.Linear(memory, writer.units) for _ in range(writer.layers) for _ in self.parts)
        """Of layer 0 for each part of the state, then of layer 1 ..."""
        self.attending = None if writer.attention == "none" else Attending(writer, memory)
        self.output = nn.Linear(writer.units + memory, writer.embedding)

    def forward(self, x_BTE: Tensor, m_BSP: Tensor, e_BP: Tensor, real_BS: Tensor, lengths_B: Tensor) -> Seen:
        """What the writer makes of known targets.

        Args:
            x_BTE: vectors of the end, and then of the target but for its end.
            m_BSP, e_BP, real_BS: the memory, its summary, and which places there are.
            lengths_B: of targets with their ends.
        """
        memory = None if self.attending is None else self.attending.remember(m_BSP, real_BS)
        starts = self._starts(e_BP)
        if self.writer.stepwise:
            return self._by_steps(x_BTE, e_BP, memory, starts)
        return self._at_once(x_BTE, e_BP, memory, starts, lengths_B)

    def _direction(self, layer: int) -> Direction:
        stack: Any = self.layers[layer]
        direction: Direction = stack.first_directions()[0]
        return direction

    def _starts(self, e_BP: Tensor) -> list[Any]:
        """The state of each layer before the first step."""
        parts = [torch.tanh(bridge(e_BP)) for bridge in self.bridges]
        step = len(self.parts)
        return [self.cell.State(*parts[at : at + step]) for at in range(0, len(parts), step)]

    def _at_once(
        self, x_BTE: Tensor, e_BP: Tensor, memory: Memory | None, starts: list[Any], lengths_B: Tensor
    ) -> Seen:
        """Layer after layer, each over all steps."""
        y_BTH, _ = self.layers[0](x_BTE, lengths_B=lengths_B, state=((starts[0],),))
        if memory is None or self.attending is None:
            c_BTP, a_BTS = e_BP[:, None].expand(-1, x_BTE.shape[1], -1), None
        else:
            c_BTP, a_BTS = self.attending(y_BTH, memory)
        for layer, start in zip(list(self.layers)[1:], starts[1:], strict=True):
            inputs = torch.cat([dropout(y_BTH, self.dropout, self.training), c_BTP], 2)
            y_BTH, _ = layer(inputs, lengths_B=lengths_B, state=((start,),))
        return self._seen(y_BTH, c_BTP, a_BTS, x_BTE)

    def _by_steps(self, x_BTE: Tensor, e_BP: Tensor, memory: Memory | None, states: list[Any]) -> Seen:
        """Step after step, each through all layers."""
        params = [self._direction(layer).weights() for layer in range(len(self.layers))]
        o_BE = x_BTE.new_zeros(len(x_BTE), self.writer.embedding)
        covered_BS = None if memory is None or not self.writer.coverage else torch.zeros_like(memory.real_BS * 1.0)
        found: list[Seen] = []
        for x_BE in x_BTE.unbind(1):
            y_BH = torch.cat([x_BE, o_BE], 1) if self.writer.input_feeding else x_BE
            c_BP, a_BTS = e_BP, None
            for layer, own in enumerate(params):
                if layer:
                    y_BH = torch.cat([dropout(y_BH, self.dropout, self.training), c_BP], 1)
                states[layer] = self.cell.step(torch, y_BH, states[layer], own)
                y_BH = states[layer][0]
                if not layer and memory is not None and self.attending is not None:
                    c_BTP, a_BTS = self.attending(y_BH[:, None], memory, covered_BS)
                    c_BP = c_BTP[:, 0]
                    covered_BS = None if covered_BS is None else covered_BS + a_BTS[:, 0]
            found.append(self._seen(y_BH[:, None], c_BP[:, None], a_BTS, x_BE[:, None]))
            o_BE = found[-1].o_BTE[:, 0]
        whole: list[Any] = [None if part[0] is None else torch.cat(part, 1) for part in zip(*found, strict=True)]
        return Seen(*whole)

    def _seen(self, y_BTH: Tensor, c_BTP: Tensor, a_BTS: Tensor | None, x_BTE: Tensor) -> Seen:
        o_BTE = torch.tanh(self.output(torch.cat([dropout(y_BTH, self.dropout, self.training), c_BTP], 2)))
        copies_BTX = torch.cat([c_BTP, y_BTH, x_BTE], 2) if self.writer.copy else None
        return Seen(dropout(o_BTE, self.output_dropout, self.training), a_BTS, copies_BTX)

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle, without the leading `writer.`."""
        bridges: Iterator[Any] = iter(self.bridges)
        for layer in range(len(self.layers)):
            for parameter, weight in self._direction(layer).named_parameters():
                yield f"{layer}.{parameter}", weight
            for part in self.parts:
                bridge = next(bridges)
                yield f"bridge.{layer}.{part}.weight", bridge.weight
                yield f"bridge.{layer}.{part}.bias", bridge.bias
        for name, weight in [] if self.attending is None else self.attending.named_parameters():
            yield f"attention.{name}", weight
        yield "output.weight", self.output.weight
        yield "output.bias", self.output.bias
