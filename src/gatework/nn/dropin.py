"""`LSTM`, `GRU` and `RNN` as in `torch.nn`, with the regularisers torch lacks.

Same arguments, same `state_dict` keys, same results, `PackedSequence` too. Three keywords more, each 0 (off) unless
given, each active in training alone:

    variational_dropout   one mask a sequence on the h that meets the recurrent matrix (Gal and Ghahramani 2016)
    weight_drop           DropConnect on the recurrent matrices (Merity et al. 2018); keeps torch's fast kernels
    zoneout               chance that a unit keeps its previous state (Krueger et al. 2017)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatework.cells import CELLS, Cell, scan
from gatework.nn.dropout import check_chance, dropout, keep_mask
from gatework.nn.variants import regularised


class _Regularised(nn.RNNBase):
    """What the three classes share: the keywords, and the way through `cells.scan` where a step is changed."""

    variational_dropout: float
    weight_drop: float
    zoneout: float

    def _set(self, variational_dropout: float, weight_drop: float, zoneout: float) -> None:
        self.variational_dropout = check_chance("variational_dropout", variational_dropout)
        self.weight_drop = check_chance("weight_drop", weight_drop)
        self.zoneout = check_chance("zoneout", zoneout)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As the class of the same name in `torch.nn`."""
        if not self.training or not (self.variational_dropout or self.weight_drop or self.zoneout):
            return super().forward(input, hx)
        with self._dropped_weights():
            if self.variational_dropout or self.zoneout:
                return self._forward_by_steps(input, hx)
            return super().forward(input, hx)

    @contextmanager
    def _dropped_weights(self) -> Iterator[None]:
        """Recurrent matrices with entries dropped, for one call."""
        whole = self._flat_weights
        if self.weight_drop:
            self._flat_weights = [
                weight * keep_mask(weight.shape, self.weight_drop, weight) if name.startswith("weight_hh") else weight
                for name, weight in zip(self._flat_weights_names, whole, strict=True)
                if weight is not None
            ]
        try:
            yield
        finally:
            self._flat_weights = whole

    def _forward_by_steps(self, input: Any, hx: Any) -> Any:
        if isinstance(input, PackedSequence):
            x_TBI, lengths_B = pad_packed_sequence(input)
            y_TBH, last = self._stack(x_TBI, lengths_B, self._states(hx, len(lengths_B), x_TBI))
            packed = pack_padded_sequence(y_TBH, lengths_B, enforce_sorted=False)
            # Packed again in the order the input came in, so that its own indices undo it.
            order = (input.sorted_indices, input.unsorted_indices)
            return PackedSequence(packed.data, packed.batch_sizes, *order), last
        unbatched = input.dim() == 2
        if unbatched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            hx = _map(hx, lambda part: part.unsqueeze(1))
        x_TBI = input.transpose(0, 1) if self.batch_first else input
        lengths_B = torch.full((x_TBI.shape[1],), x_TBI.shape[0])
        y_TBH, last = self._stack(x_TBI, lengths_B, self._states(hx, x_TBI.shape[1], x_TBI))
        y = y_TBH.transpose(0, 1) if self.batch_first else y_TBH
        if unbatched:
            return y.squeeze(0 if self.batch_first else 1), _map(last, lambda part: part.squeeze(1))
        return y, last

    def _stack(self, x_TBI: Tensor, lengths_B: Tensor, states: list[Any]) -> tuple[Tensor, Any]:
        cell, directions = self._cell(), 2 if self.bidirectional else 1
        last: list[Any] = []
        for layer in range(self.num_layers):
            inputs = dropout(x_TBI, self.dropout, self.training) if layer else x_TBI
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                varied = regularised(
                    cell,
                    batch=len(lengths_B),
                    width=self.proj_size or self.hidden_size,
                    like=x_TBI,
                    variational=self.variational_dropout,
                    zoneout=self.zoneout,
                )
                params = self._params(cell, layer, direction)
                y_TBH, end = scan(varied, torch, inputs, lengths_B, states[place], params, reverse=direction == 1)
                outputs.append(y_TBH)
                last.append(end)
            x_TBI = torch.cat(outputs, 2)
        parts = [torch.stack([state[field] for state in last]) for field in range(len(cell.State._fields))]
        return x_TBI, tuple(parts) if len(parts) > 1 else parts[0]

    def _cell(self) -> Cell:
        names = {"RNN_TANH": "rnn", "RNN_RELU": "rnn-relu", "GRU": "gru", "LSTM": "lstm"}
        return CELLS["lstm-projection" if self.proj_size else names[self.mode]]

    def _params(self, cell: Cell, layer: int, direction: int) -> Any:
        weights = dict(zip(self._flat_weights_names, self._flat_weights, strict=True))
        suffix = f"l{layer}{'_reverse' if direction else ''}"
        w_GI, r_GH = weights[f"weight_ih_{suffix}"], weights[f"weight_hh_{suffix}"]
        # torch registers all four for every layer.
        assert w_GI is not None
        assert r_GH is not None
        own = weights[f"bias_ih_{suffix}"] if self.bias else w_GI.new_zeros(len(w_GI))
        recurrent = weights[f"bias_hh_{suffix}"] if self.bias else w_GI.new_zeros(len(w_GI))
        assert own is not None
        assert recurrent is not None
        if self.mode == "GRU":
            return cell.Params(w_GI, r_GH, own, recurrent)
        extra = [weights[f"weight_hr_{suffix}"]] if self.proj_size else []
        return cell.Params(w_GI, r_GH, own + recurrent, *extra)

    def _states(self, hx: Any, batch: int, like: Tensor) -> list[Any]:
        """The initial state of each layer and direction, in torch's order."""
        cell, count = self._cell(), self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            zero = cell.initial_state(
                torch, batch, self.hidden_size, self.proj_size, dtype=like.dtype, device=like.device
            )
            return [zero] * count
        parts = hx if isinstance(hx, tuple | list) else (hx,)
        return [cell.State(*(part[place] for part in parts)) for place in range(count)]


def _map(state: Any, change: Any) -> Any:
    if state is None or isinstance(state, Tensor):
        return None if state is None else change(state)
    return tuple(change(part) for part in state)


class LSTM(_Regularised, nn.LSTM):
    """`torch.nn.LSTM`, with the keywords of this module."""

    def __init__(
        self,
        *args: Any,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        nn.LSTM.__init__(self, *args, **kwargs)
        self._set(variational_dropout, weight_drop, zoneout)


class GRU(_Regularised, nn.GRU):
    """`torch.nn.GRU`, with the keywords of this module."""

    def __init__(
        self,
        *args: Any,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        nn.GRU.__init__(self, *args, **kwargs)
        self._set(variational_dropout, weight_drop, zoneout)


class RNN(_Regularised, nn.RNN):
    """`torch.nn.RNN`, with the keywords of this module."""

    def __init__(
        self,
        *args: Any,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        nn.RNN.__init__(self, *args, **kwargs)
        self._set(variational_dropout, weight_drop, zoneout)
