"""The equations of each recurrent cell, once, for NumPy and torch arrays alike.

Adding a cell: one file here with `look`, its state and its parameter shapes, and one line in `CELLS`.
"""

from __future__ import annotations

from gatework.cells.cell import Cell
from gatework.cells.gru import GRU
from gatework.cells.gru_reset_before import GRU_RESET_BEFORE
from gatework.cells.lstm import LSTM
from gatework.cells.lstm_coupled import LSTM_COUPLED
from gatework.cells.lstm_layernorm import LSTM_LAYERNORM
from gatework.cells.lstm_peephole import LSTM_PEEPHOLE
from gatework.cells.lstm_projection import LSTM_PROJECTION
from gatework.cells.rnn import RNN, RNN_RELU
from gatework.cells.scan import scan
from gatework.core.registry import Registry

CELLS: Registry[Cell] = Registry(
    "model.cell",
    {
        cell.name: cell
        for cell in (
            RNN,
            RNN_RELU,
            GRU,
            GRU_RESET_BEFORE,
            LSTM,
            LSTM_PEEPHOLE,
            LSTM_COUPLED,
            LSTM_LAYERNORM,
            LSTM_PROJECTION,
        )
    },
)

__all__ = ["CELLS", "Cell", "scan"]
