"""`LSTM`, `GRU` and `RNN` as in `torch.nn`, on our kernels, with what torch lacks.

Same arguments, same `state_dict` keys, same results, `PackedSequence` too, whose rows go to the kernels as they are.
`forward` takes `lengths=` beside padded input: no work on padding, outputs zero there, and the state after each
sequence's own last step. Three keywords more, each 0 (off) unless given, each active in training alone:

    variational_dropout   one mask a sequence on the h that meets the recurrent matrix (Gal and Ghahramani 2016)
    weight_drop           DropConnect on the recurrent matrices (Merity et al. 2018)
    zoneout               chance that a unit keeps its previous state (Krueger et al. 2017)

The classes are `torch.nn.RNNBase`, not `torch.nn.LSTM` and its like: `torch.compile` refuses to look into those.

L layers, D directions, T time, B sequences, I inputs, H width of h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatework.cells import CELLS, Cell
from gatework.core.errors import DataError
from gatework.nn.definition import by_torch
from gatework.nn.dropout import check_chance, dropout
from gatework.nn.ops import covered, recurrent, transformed
from gatework.nn.variants import PLAIN, draw, drop_weights

MODES = {"RNN_TANH": "rnn", "RNN_RELU": "rnn-relu", "GRU": "gru", "LSTM": "lstm"}
"""torch's names of the cells, and ours."""


def run_layers(
    cell: Cell,
    x: Tensor,
    lengths_B: Tensor | None,
    weights: Sequence[Any],
    state: Sequence[Tensor] | None,
    *,
    directions: int,
    between: Callable[[Tensor], Tensor],
    variational: float = 0.0,
    zoneout: float = 0.0,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Layer upon layer.

    Args:
        x, lengths_B: as `ops.recurrent` takes them.
        weights: the cell's Params of each layer and direction, layer by layer.
        state: each part (L x D, B, width); None for zeros.
        between: what happens to the outputs of all layers but the last: dropout.
        variational, zoneout: chances of the regularisers.
    Returns: outputs of the last layer; the parts of the last state, (L x D, B, width).
    """
    ends = []
    for at in range(0, len(weights), directions):
        params, masks = weights[at : at + directions], PLAIN
        if variational or zoneout:
            units = params[0].b_G.shape[0] // len(cell.gates)
            outputs = params[0].v_PH.shape[0] if cell.projects else units
            batch = x.shape[1] if lengths_B is None else lengths_B.shape[0]
            masks = draw(cell, x, batch, directions, outputs, units, variational=variational, zoneout=zoneout)
        start = None if state is None else [part[at : at + directions] for part in state]
        x, end = recurrent(cell, x, lengths_B, params, start, masks)
        ends.append(end)
        if at + directions < len(weights):
            x = between(x)
    return x, ends[0] if len(ends) == 1 else tuple(torch.cat(parts) for parts in zip(*ends, strict=True))


def layer_params(cell: Cell, flat: Sequence[Tensor], bias: bool) -> list[Any]:
    """torch's weights, in its order, as the cell's Params of each layer and direction."""
    size = (4 if bias else 2) + int(cell.projects)
    found = []
    for at in range(0, len(flat), size):
        w_GI, r_GH, *rest = flat[at : at + size]
        own, other = (rest[0], rest[1]) if bias else (w_GI.new_zeros(w_GI.shape[0]),) * 2
        if "rb_G" in cell.Params._fields:
            found.append(cell.Params(w_GI, r_GH, own, other))
        else:
            found.append(cell.Params(w_GI, r_GH, own + other if bias else own, *rest[2 if bias else 0 :]))
    return found


def lengths_of(sizes_T: Tensor) -> Tensor:
    """Lengths of the sequences, longest first, from the `batch_sizes` of a `PackedSequence`."""
    falling = -sizes_T.numpy()
    return torch.from_numpy(np.searchsorted(falling, -np.arange(-falling[0]), side="left"))


class _Recurrent(nn.RNNBase):
    """What the three classes share."""

    variational_dropout: float
    weight_drop: float
    zoneout: float

    def _set(self, variational_dropout: float, weight_drop: float, zoneout: float) -> None:
        self.variational_dropout = check_chance("variational_dropout", variational_dropout)
        self.weight_drop = check_chance("weight_drop", weight_drop)
        self.zoneout = check_chance("zoneout", zoneout)
        self._cell = CELLS["lstm-projection" if self.proj_size else MODES[self.mode]]

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> Any:
        """As the class of the same name in `torch.nn`.

        Args:
            input: (T, B, I), (B, T, I) with `batch_first`, (T, I) without a batch, or a `PackedSequence`.
            hx: state to begin with; None for zeros.
            lengths: steps of each sequence of a padded batch, 1 to T: a tensor or list of B integers.
        Returns: outputs like `input`, and the last state. With `lengths`, outputs past a length are zero.
        Raises: DataError: lengths do not fit the batch; RuntimeError, ValueError: shapes do not fit, as in torch.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise DataError("lengths= goes with padded input, got a PackedSequence. It carries its own lengths.")
            return self._packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D tensor instead")
        alone = input.dim() == 2
        parts = self._parts(hx, 2 if alone else 3)
        if alone:
            if lengths is not None:
                raise DataError("lengths= goes with a batch, got input of 2 axes. Cut the sequence to its length.")
            input = input.unsqueeze(0 if self.batch_first else 1)
            parts = None if parts is None else [part.unsqueeze(1) for part in parts]
        self._check(input, parts, None)
        x_TBI = input.transpose(0, 1) if self.batch_first else input
        y_TBH, last = self._run(x_TBI, _checked(lengths, x_TBI), parts)
        y = y_TBH.transpose(0, 1) if self.batch_first else y_TBH
        if alone:
            y, last = y.squeeze(0 if self.batch_first else 1), tuple(part.squeeze(1) for part in last)
        return y, self._hidden(last)

    def _packed(self, input: PackedSequence, hx: Any) -> Any:
        rows_NI, sizes_T, order_B, back_B = input
        parts = self._parts(hx, 3)
        if parts is not None and order_B is not None:
            parts = [part.index_select(1, order_B) for part in parts]
        self._check(rows_NI, parts, sizes_T)
        y_NH, last = self._run(rows_NI, lengths_of(sizes_T), parts)
        if back_B is not None:
            last = tuple(part.index_select(1, back_B) for part in last)
        return PackedSequence(y_NH, sizes_T, order_B, back_B), self._hidden(last)

    def _run(self, x: Tensor, lengths_B: Tensor | None, parts: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        flat = [getattr(self, name) for name in self._flat_weights_names]
        directions = 2 if self.bidirectional else 1
        varied = self.training and (self.variational_dropout or self.zoneout or self.weight_drop)
        if not varied and not covered(x, flat[0]) and not (transformed() and lengths_B is not None):
            if parts is None:
                parts = self._zero_state(x, lengths_B)
            return by_torch(
                self._cell,
                x,
                lengths_B,
                flat,
                parts,
                directions=directions,
                bias=self.bias,
                layers=self.num_layers,
                dropout=self.dropout if self.training else 0.0,
            )
        weights = layer_params(self._cell, flat, self.bias)
        if self.training and self.weight_drop:
            weights = [drop_weights(params, self.weight_drop) for params in weights]
        return run_layers(
            self._cell,
            x,
            lengths_B,
            weights,
            parts,
            directions=directions,
            between=lambda y: dropout(y, self.dropout, self.training),
            variational=self.variational_dropout if self.training else 0.0,
            zoneout=self.zoneout if self.training else 0.0,
        )

    def _zero_state(self, x: Tensor, lengths_B: Tensor | None) -> list[Tensor]:
        batch = x.shape[1] if lengths_B is None else len(lengths_B)
        count = self.num_layers * (2 if self.bidirectional else 1)
        widths = [self.proj_size or self.hidden_size, self.hidden_size]
        return [x.new_zeros(count, batch, width) for width in widths[: len(self._cell.State._fields)]]

    def _parts(self, hx: Any, axes: int) -> list[Tensor] | None:
        """h, and c of an LSTM. Raises RuntimeError where they have another number of axes."""
        if hx is None:
            return None
        parts = list(hx) if isinstance(hx, tuple | list) else [hx]
        if any(part.dim() != axes for part in parts):
            kind = "unbatched 2-D" if axes == 2 else "batched 3-D"
            got = ", ".join(f"{part.dim()}-D" for part in parts)
            names = "hx and cx" if len(parts) > 1 else "hx"
            raise RuntimeError(f"For {kind} input, {names} should also be {axes}-D but got ({got}) tensors")
        return parts

    def _check(self, input: Tensor, parts: list[Tensor] | None, sizes_T: Tensor | None) -> None:
        """torch's own checks of the input and of the state."""
        self.check_input(input, sizes_T)
        if parts is None:
            return
        expected = self.get_expected_hidden_size(input, sizes_T)
        for part, width in zip(parts, (expected[2], self.hidden_size), strict=False):
            self.check_hidden_size(part, (*expected[:2], width))

    def _hidden(self, parts: Sequence[Tensor]) -> Any:
        return tuple(parts) if self.mode == "LSTM" else parts[0]


def _checked(lengths: Any, x_TBI: Tensor) -> Tensor | None:
    """`lengths` as int64 on the CPU. Values are checked here, but under a compiler, which does not know them yet."""
    if lengths is None:
        return None
    lengths_B = torch.as_tensor(lengths, dtype=torch.int64, device="cpu")
    time, batch = x_TBI.shape[:2]
    if lengths_B.shape != (batch,) or (
        not torch.compiler.is_compiling() and batch and not 1 <= int(lengths_B.min()) <= int(lengths_B.max()) <= time
    ):
        raise DataError(
            f"lengths must be {batch} lengths from 1 to {time} for this input, got {lengths_B.tolist()}. "
            "Drop empty sequences before batching."
        )
    return lengths_B


class LSTM(_Recurrent):
    """`torch.nn.LSTM`, with the keywords of this module."""

    def __init__(
        self,
        *args: Any,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__("LSTM", *args, **kwargs)
        self._set(variational_dropout, weight_drop, zoneout)


class GRU(_Recurrent):
    """`torch.nn.GRU`, with the keywords of this module."""

    def __init__(
        self,
        *args: Any,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)
        self._set(variational_dropout, weight_drop, zoneout)


class RNN(_Recurrent):
    """`torch.nn.RNN`, with the keywords of this module."""

    def __init__(
        self,
        *args: Any,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:  # torch takes the nonlinearity fourth
            args, kwargs = args[:3] + args[4:], {**kwargs, "nonlinearity": args[3]}
        self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if self.nonlinearity not in modes:
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(modes[self.nonlinearity], *args, **kwargs)
        self._set(variational_dropout, weight_drop, zoneout)
