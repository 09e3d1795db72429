"""The order in which gates are packed, once for the whole project.

LSTM: i f g o (input, forget, cell candidate, output), as in `torch.nn.LSTM`.
GRU: r z n (reset, update, candidate), as in `torch.nn.GRU`.
Weights of other origin are converted at the border, with `reorder`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LSTM_GATES = ("i", "f", "g", "o")
GRU_GATES = ("r", "z", "n")


def reorder(packed_G: npt.NDArray[np.floating], have: Sequence[str], want: Sequence[str]) -> npt.NDArray[np.floating]:
    """Rows packed gate by gate in the order `have`, repacked in the order `want`. First dimension G = gates x units."""
    parts = dict(zip(have, np.split(packed_G, len(have)), strict=True))
    return np.concatenate([parts[gate] for gate in want])
