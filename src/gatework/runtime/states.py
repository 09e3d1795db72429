"""The states of a character language model at each token: rows of characters in, vectors of tokens out.

    token = [forward state after its last character, backward state after its first]

Rows of like length run together; both directions of one layer on two threads where there are two. A row alone goes
through `kernels.sentence`, which reads recurrent matrices of 8 bits as they lie: a quarter of the memory for the same
numbers.

R rows, P characters of the longest, N tokens, S width of a direction, H of all of them.
Source: Akbik, Blythe and Vollgraf, Contextual string embeddings for sequence labeling, COLING 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core import interrupt
from gatework.core.architecture import States
from gatework.core.batch import PieceBatch

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

_NO_ROWS = np.empty(0, dtype=np.int32)

GROUP_PIECES = 8192
"""Characters that go through the layers at once, padding counted: bounds the memory of an answer."""


class Letters(Protocol):
    """Vectors of characters: `runtime.tables.Table`, say, which stays in the mapped file."""

    def __getitem__(self, ids: IntArray) -> Float32: ...

    @property
    def stored(self) -> kernels.TableRows: ...


class StateEncoder:
    """A language model's layers with their weights in memory."""

    def __init__(
        self,
        settings: States,
        letters: Letters,
        weights: Callable[[str], Float32],
        stored: Callable[[str], kernels.TableRows | None] = lambda name: None,
        *,
        precision: str = "float32",
    ) -> None:
        """
        Args:
            settings: sizes.
            letters: vectors of characters, (V, e).
            weights: float32 weights by name, see `core.states_bundle`.
            stored: a matrix as it lies, of 8 bits with the scale of each row; None where it is another.
            precision: of the products, as `kernels.pack` has it.
        """
        self.settings = settings
        self._letters = letters
        encoder = settings.encoder
        self._stacks = {
            way: [
                kernels.pack(encoder.cell, _params(settings, weights, layer, way), precision=precision)
                for layer in range(encoder.layers)
            ]
            for way in settings.directions
        }
        self._plain = encoder.layers == 1 and not encoder.residual and len(settings.directions) == 2
        self._sources: tuple[Any, Any] | None = weights, stored  # until a row first comes alone
        self._sentence: kernels.Sentence | None = None

    @classmethod
    def of(cls, settings: States, weights: Mapping[str, Any]) -> StateEncoder:
        """From arrays by name."""
        return cls(settings, _Array(weights["states.embedding.weight"]), lambda name: weights[name])

    def hidden(self, batch: PieceBatch) -> Float32:
        """The states at every token as its one hidden layer, (N, 1, H)."""
        return self.states(batch)[:, None]

    def states(self, batch: PieceBatch) -> Float32:
        """The states at every token, (N, H)."""
        states_NH = np.empty((len(batch.row_N), self.settings.width), dtype=np.float32)
        place_R = np.empty(len(batch.lengths_R), dtype=np.int64)
        for rows in _groups(batch.lengths_R):
            interrupt.check()
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
        if self._plain:
            y_PrH = self._both(ids_Pr, lengths_r)
            return {"forward": y_PrH[..., : encoder.outputs], "backward": y_PrH[..., encoder.outputs :]}
        x_PrI = self._letters[ids_Pr]
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

    def _both(self, ids_Pr: IntArray, lengths_r: IntArray) -> Float32:
        """Outputs of the one layer that reads both ways, (P, r, H)."""
        if len(lengths_r) == 1 and (sentence := self._alone()) is not None:
            y_PH = np.empty((len(ids_Pr), self.settings.width), dtype=np.float32)
            ids_P, local_PM = ids_Pr[:, 0].astype(np.int32), np.empty((len(ids_Pr), 0), dtype=np.int32)
            if sentence.run(ids_P, local_PM, _NO_ROWS, y_PH):
                return y_PH[:, None]
        forwards, backwards = (stack[0] for stack in self._stacks.values())
        x_PrI = self._letters[ids_Pr]
        return kernels.both_ways(self.settings.encoder.cell, x_PrI, lengths_r, forwards, backwards)[0]

    def _alone(self) -> kernels.Sentence | None:
        """What reads one row, made when it is first asked for; None where there is no code for it."""
        if (sources := self._sources) is not None:
            self._sentence = self._make_sentence(*sources)
            self._sources = None
        return self._sentence

    def _make_sentence(
        self, weights: Callable[[str], Float32], stored: Callable[[str], kernels.TableRows | None]
    ) -> kernels.Sentence | None:
        cell = self.settings.encoder.cell
        names = [f"states.0.{way}.{CELLS[cell].Params._fields[1]}" for way in self.settings.directions]
        recurrent = [rows for name in names if (rows := stored(name)) is not None]
        return kernels.sentence(
            cell,
            [[stack[0] for stack in self._stacks.values()]],
            [_params(self.settings, weights, 0, way) for way in self.settings.directions],
            tokens=self._letters.stored,
            locals_=None,
            ngrams=None,
            head_CP=None,
            bias_C=None,
            pooling=(),
            residual=False,
            recurrent=recurrent if len(recurrent) == len(names) else (),
        )


class _Array:
    """An array as a table."""

    def __init__(self, rows: Float32) -> None:
        self._rows = np.ascontiguousarray(rows, dtype=np.float32)

    def __getitem__(self, ids: IntArray) -> Float32:
        found: Float32 = self._rows[ids]
        return found

    @property
    def stored(self) -> kernels.TableRows:
        return self._rows, None


def _params(settings: States, weights: Callable[[str], Float32], layer: int, way: str) -> dict[str, Float32]:
    return {name: weights(f"states.{layer}.{way}.{name}") for name in CELLS[settings.encoder.cell].Params._fields}


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
