"""The states of a character language model at each token: rows of characters in, vectors of tokens out.

    token = [forward state after its last character, backward state after its first]

Rows of like length run together; both directions of one layer on two threads where there are two.

R rows, P characters of the longest, N tokens, S width of a direction, H of all of them.
Source: Akbik, Blythe and Vollgraf, Contextual string embeddings for sequence labeling, COLING 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.architecture import States
from gatework.core.batch import PieceBatch

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

GROUP_PIECES = 8192
"""Characters that go through the layers at once, padding counted: bounds the memory of an answer."""


class StateEncoder:
    """A language model's layers with their weights in memory."""

    def __init__(
        self,
        settings: States,
        letters: Callable[[IntArray], Float32],
        weights: Callable[[str], Float32],
        *,
        precision: str = "float32",
    ) -> None:
        """
        Args:
            settings: sizes.
            letters: vectors of characters by id, (..., e); a table that stays in a mapped file, say.
            weights: float32 weights by name, see `core.states_bundle`.
            precision: of the products, as `kernels.pack` has it.
        """
        self.settings = settings
        self._letters = letters
        cell = settings.encoder.cell
        self._stacks = {
            way: [
                kernels.pack(
                    cell,
                    {name: weights(f"states.{layer}.{way}.{name}") for name in CELLS[cell].Params._fields},
                    precision=precision,
                )
                for layer in range(settings.encoder.layers)
            ]
            for way in settings.directions
        }

    @classmethod
    def of(cls, settings: States, weights: Mapping[str, Any]) -> StateEncoder:
        """From arrays by name."""
        letters: Float32 = weights["states.embedding.weight"]
        return cls(settings, lambda ids: letters[ids], lambda name: weights[name])

    def hidden(self, batch: PieceBatch) -> Float32:
        """The states at every token as its one hidden layer, (N, 1, H)."""
        return self.states(batch)[:, None]

    def states(self, batch: PieceBatch) -> Float32:
        """The states at every token, (N, H)."""
        states_NH = np.empty((len(batch.row_N), self.settings.width), dtype=np.float32)
        place_R = np.empty(len(batch.lengths_R), dtype=np.int64)
        for rows in _groups(batch.lengths_R):
            place_R.fill(-1)
            place_R[rows] = np.arange(len(rows))
            own_n = np.flatnonzero(place_R[batch.row_N] >= 0)
            place_n, begin_n, end_n = place_R[batch.row_N[own_n]], batch.begin_N[own_n], batch.end_N[own_n]
            lengths_r = batch.lengths_R[rows]
            outputs = self._outputs(batch.ids_RP[rows, : int(lengths_r.max())].T, lengths_r)
            places = {"forward": end_n - 1, "backward": begin_n}
            states_NH[own_n] = np.concatenate([y_PrS[places[way], place_n] for way, y_PrS in outputs.items()], axis=1)
        return states_NH

    def _outputs(self, ids_Pr: IntArray, lengths_r: IntArray) -> dict[str, Float32]:
        """Outputs of each direction's last layer at each character, (P, r, S)."""
        encoder = self.settings.encoder
        x_PrI = self._letters(ids_Pr)
        plain = encoder.layers == 1 and not encoder.residual
        if plain and len(self._stacks) == 2:
            forwards, backwards = (stack[0] for stack in self._stacks.values())
            y_PrH, _ = kernels.both_ways(encoder.cell, x_PrI, lengths_r, forwards, backwards)
            return {"forward": y_PrH[..., : encoder.outputs], "backward": y_PrH[..., encoder.outputs :]}
        found = {}
        for way, stack in self._stacks.items():
            y = x_PrI
            for packed in stack:
                x = y
                y, _ = kernels.sequence(encoder.cell, x, lengths_r, packed, reverse=way == "backward")
                if encoder.residual and y.shape == x.shape:
                    y += x
            found[way] = y
        return found


def _groups(lengths_R: IntArray) -> Iterator[IntArray]:
    """Rows in the order of their lengths, GROUP_PIECES with padding or one row at a time."""
    order_R = np.argsort(lengths_R, kind="stable")
    start = 0
    for index, row in enumerate(order_R.tolist()):
        if index > start and int(lengths_R[row]) * (index + 1 - start) > GROUP_PIECES:
            yield order_R[start:index]
            start = index
    if start < len(order_R):
        yield order_R[start:]
