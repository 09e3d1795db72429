"""A stack of recurrent layers over sequences of unequal length.

Each layer is one call of `ops.recurrent`, which reads both directions, computes on no padding and ends every sequence
in the state after its own last step. Layers hand on their outputs time first.

A cell's weights carry the cell's own names; there is one bias where `torch.nn.LSTM` has two that only ever add up.

B sequences, T time, I inputs, H width of an output, D directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatework.cells import CELLS, Cell
from gatework.core.errors import ConfigError, DataError
from gatework.nn.dropout import check_chance, dropout_TBF
from gatework.nn.initialise import initialise
from gatework.nn.ops import recurrent
from gatework.nn.variants import PLAIN, draw, drop_weights

StackState = tuple[tuple[Any, ...], ...]
"""A cell's state for each direction of each layer: `state[layer][direction]`, forward first."""


class Direction(nn.Module):
    """One layer read in one direction."""

    def __init__(
        self,
        cell: str | Cell,
        inputs: int,
        units: int,
        *,
        projection: int = 0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        forget_bias: float = 1.0,
        initialisation: str = "orthogonal",
    ) -> None:
        """Raises: ConfigError: an unknown cell or initialisation, a size below 1, a chance outside [0, 1)."""
        super().__init__()
        self.cell = CELLS[cell] if isinstance(cell, str) else cell
        self.units, self.projection = units, projection
        self.outputs = self.cell.outputs(units, projection)
        self.variational_dropout = check_chance("variational_dropout", variational_dropout)
        self.weight_drop = check_chance("weight_drop", weight_drop)
        self.zoneout = check_chance("zoneout", zoneout)
        for name, shape in self.cell.parameters(inputs, units, projection).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        initialise(self.cell, dict(self.named_parameters()), forget_bias=forget_bias, scheme=initialisation)

    def weights(self) -> Any:
        """The cell's Params for this call: with weight drop in training, entries of the recurrent matrix are zero."""
        params = self.cell.Params(*(getattr(self, name) for name in self.cell.Params._fields))
        return drop_weights(params, self.weight_drop) if self.training and self.weight_drop else params


class RecurrentStack(nn.Module):
    """Deep, possibly bidirectional recurrent layers with state in and state out."""

    def __init__(
        self,
        cell: str | Cell,
        inputs: int,
        units: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        projection: int = 0,
        dropout: float = 0.0,
        locked_dropout: bool = False,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        forget_bias: float = 1.0,
        initialisation: str = "orthogonal",
        learned_state: bool = False,
    ) -> None:
        """
        Args:
            cell: a name in `cells.CELLS`.
            inputs, units, projection: widths; projection 0 for cells without one.
            residual: add a layer's input to its output where the widths agree.
            dropout: between layers.
            locked_dropout: one mask a sequence for all its steps.
            variational_dropout, weight_drop, zoneout: on the recurrence, in training; see `nn.variants`.
            forget_bias: initial bias of the forget gate.
            initialisation: of the recurrent matrices: orthogonal, xavier or truncated-normal.
            learned_state: train the state that sequences begin with, from zero, where none is given.
        Raises: ConfigError: an unknown name, a size below 1, a chance outside [0, 1).
        """
        super().__init__()
        if layers < 1:
            raise ConfigError(f"layers must be at least 1, got {layers}.")
        self.dropout, self.locked, self.residual = check_chance("dropout", dropout), locked_dropout, residual
        self.directions = 2 if bidirectional else 1
        self.layers = nn.ModuleList()
        width = inputs
        for _ in range(layers):
            layer = nn.ModuleList(
                Direction(
                    cell,
                    width,
                    units,
                    projection=projection,
                    variational_dropout=variational_dropout,
                    weight_drop=weight_drop,
                    zoneout=zoneout,
                    forget_bias=forget_bias,
                    initialisation=initialisation,
                )
                for _ in range(self.directions)
            )
            self.layers.append(layer)
            width = sum(direction.outputs for _, direction in _directions(layer))
        self.outputs = width
        self.starts = nn.ParameterList()
        if learned_state:
            for direction in self._all_directions():
                zero = direction.cell.initial_state(torch, 1, units, projection)
                self.starts.extend(nn.Parameter(part[0]) for part in zero)

    def forward(
        self, x_BTI: Tensor, *, lengths_B: Tensor | None = None, state: StackState | None = None
    ) -> tuple[Tensor, StackState]:
        """Run every layer.

        Args:
            x_BTI: inputs; what lies past a sequence's length is not read.
            lengths_B: steps of each sequence, 1 to T; None when all are T.
            state: as returned by an earlier call: the sequences go on from there. None begins anew.
        Returns: y_BTH, zero past each length, and the state after each sequence's last step.
        Raises: DataError: lengths do not fit the batch.
        """
        _check_lengths(x_BTI, lengths_B)
        x_TBI = x_BTI.transpose(0, 1)
        starts = self._learned_start(len(x_BTI)) if state is None else state
        last: list[tuple[Any, ...]] = []
        for depth, layer in enumerate(self.layers):
            inputs = dropout_TBF(x_TBI, self.dropout, self.training, self.locked) if depth else x_TBI
            y_TBH, ends = _run(layer, inputs, lengths_B, None if starts is None else starts[depth])
            x_TBI = y_TBH + x_TBI if self.residual and y_TBH.shape == x_TBI.shape else y_TBH
            last.append(ends)
        y_BTH = x_TBI.transpose(0, 1)
        return (_zero_padding(y_BTH, lengths_B) if self.residual else y_BTH), tuple(last)

    def first_directions(self) -> list[Direction]:
        """The first layer's directions, forward first."""
        return [direction for _, direction in _directions(self.layers[0])]

    def first_layer(self, x_BTI: Tensor, *, lengths_B: Tensor) -> list[Tensor]:
        """Outputs of each direction of the first layer, (B, T, H): no direction has seen the other."""
        _check_lengths(x_BTI, lengths_B)
        starts = self._learned_start(len(x_BTI))
        y_TBH, _ = _run(self.layers[0], x_BTI.transpose(0, 1), lengths_B, None if starts is None else starts[0])
        return list(y_TBH.transpose(0, 1).chunk(self.directions, 2))

    def weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters under the names of a bundle: `0.forward.w_GI`, `0.backward.w_GI`, `1.forward.w_GI` ..."""
        for depth, layer in enumerate(self.layers):
            for name, direction in _directions(layer):
                for parameter, weight in direction.named_parameters():
                    yield f"{depth}.{name}.{parameter}", weight

    def _all_directions(self) -> Iterator[Direction]:
        for layer in self.layers:
            for _, direction in _directions(layer):
                yield direction

    def _learned_start(self, batch: int) -> StackState | None:
        if not len(self.starts):
            return None
        learned = iter(self.starts)
        return tuple(
            tuple(
                direction.cell.State(*(next(learned).expand(batch, -1) for _ in direction.cell.State._fields))
                for _, direction in _directions(layer)
            )
            for layer in self.layers
        )


def detach_state(state: StackState) -> StackState:
    """The state cut off from the graph that made it: what truncated back-propagation through time carries on."""
    return tuple(tuple(type(s)(*(part.detach() for part in s)) for s in layer) for layer in state)


def _directions(layer: nn.Module) -> Iterator[tuple[str, Direction]]:
    for name, direction in zip(("forward", "backward"), layer.children(), strict=False):
        assert isinstance(direction, Direction)  # RecurrentStack fills its layers with nothing else
        yield name, direction


def _run(
    layer: nn.Module, x_TBI: Tensor, lengths_B: Tensor | None, starts: Sequence[Any] | None
) -> tuple[Tensor, tuple[Any, ...]]:
    """One layer, all its directions; the state of each direction begins and ends on its own."""
    directions = [direction for _, direction in _directions(layer)]
    first, masks = directions[0], PLAIN
    if first.training and (first.variational_dropout or first.zoneout):
        masks = draw(
            first.cell,
            x_TBI,
            x_TBI.shape[1],
            len(directions),
            first.outputs,
            first.units,
            variational=first.variational_dropout,
            zoneout=first.zoneout,
        )
    state = None if starts is None else [torch.stack(parts) for parts in zip(*starts, strict=True)]
    params = [direction.weights() for direction in directions]
    y_TBH, last = recurrent(first.cell, x_TBI, lengths_B, params, state, masks)
    return y_TBH, tuple(first.cell.State(*parts) for parts in zip(*(part.unbind() for part in last), strict=True))


def _check_lengths(x_BTI: Tensor, lengths_B: Tensor | None) -> None:
    if lengths_B is None or torch.compiler.is_compiling():  # values are not known yet: the kernels check them
        return
    batch, time = x_BTI.shape[:2]
    if lengths_B.shape != (batch,) or (batch and not 1 <= int(lengths_B.min()) <= int(lengths_B.max()) <= time):
        raise DataError(
            f"lengths_B must be {batch} lengths from 1 to {time} for these inputs, got {lengths_B.tolist()}. "
            "Drop empty sequences before batching."
        )


def _zero_padding(y_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
    """y with zeros past each length."""
    if lengths_B is None:
        return y_BTH
    mask_BT = torch.arange(y_BTH.shape[1], device=y_BTH.device) < lengths_B.to(y_BTH.device)[:, None]
    return torch.where(mask_BT[:, :, None], y_BTH, 0.0)
