"""The forward pass of an architecture with the head next_token: how likely a text is, token by token.

Agrees with `nn`'s language model on the same weights. Texts of any length run in chunks of bounded memory, their state
carried on. Every token counts: the first is predicted from the end of the document before it.

T time, B texts, E embedding, P outputs of the encoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core import interrupt
from gatework.core.architecture import Architecture
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.tensors import TensorFile
from gatework.kernels import Packed, RecurrentState
from gatework.kernels.automaton import Pieces
from gatework.kernels.generation import Generator, Head
from gatework.runtime.encoder import GROUP_TOKENS, stored_recurrent
from gatework.runtime.language_state import LanguageState
from gatework.runtime.next_token import NextToken
from gatework.runtime.shapes import check_shapes
from gatework.runtime.tables import Table, dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

MAX_BATCH = 64
"""Most texts run together."""


class LanguageModel:
    """An architecture with its weights, ready to run. Nothing changes after it is made: any threads may share it."""

    def __init__(
        self, architecture: Architecture, weights: TensorFile, *, source: str, precision: str = "float32"
    ) -> None:
        """Raises: BundleError: `weights` are not those of the architecture. ConfigError: `precision` is unknown."""
        if architecture.language is None:
            raise BundleError(f"{source}: the network has no head next_token. Export the model again.")
        check_shapes(architecture, weights, source=source)
        self.architecture, self.language = architecture, architecture.language
        self._source, self._precision = source, precision
        self._embedding = Table(weights, "embedding.weight", source=source)
        self.head = NextToken(architecture, weights)
        self._stacks = {
            direction: _packed(architecture, weights, direction, precision) for direction in self.language.directions
        }
        self._stored = {
            direction: stored_recurrent(architecture, weights, (direction,)) for direction in self.language.directions
        }

    def start(self, direction: str | None = None) -> LanguageState:
        """The state before a text's first token. `direction` as in `nll`."""
        way = self._direction(direction)
        shapes = [(packed.cell.name, packed.units, packed.outputs) for packed in self._stacks[way]]
        return LanguageState(way, RecurrentState.zeros(shapes, 1), np.zeros(0, dtype=np.int32))

    def nll(
        self, ids_T: IntArray, state: LanguageState | None = None, *, direction: str | None = None
    ) -> tuple[Float32, LanguageState]:
        """-log p of each token of a text, given those before it.

        Args:
            ids_T: ids in the order the direction reads them: the last of the text first for backward.
            state: from an earlier call, to go on; None for the start of a document.
            direction: "forward" or "backward"; None for the state's, or the only or first one of the model.
        Returns: nats (T,), and the state after the last token.
        Raises: DataError: an id is padding or not in the vocabulary, or the state is of another model. ConfigError: the
            model has no such direction.
        """
        nats, states = self.nlls([ids_T], None if state is None else [state], direction=direction)
        return nats[0], states[0]

    def nlls(
        self,
        texts: Sequence[IntArray],
        states: Sequence[LanguageState] | None = None,
        *,
        direction: str | None = None,
    ) -> tuple[list[Float32], list[LanguageState]]:
        """`nll` of several texts, those of like length run together; the same numbers, in the order of the texts."""
        nats: list[Float32] = [np.empty(len(text), dtype=np.float32) for text in texts]
        return nats, self._all(texts, states, direction, nats)

    def advance(
        self,
        texts: Sequence[IntArray],
        states: Sequence[LanguageState] | None = None,
        *,
        direction: str = "forward",
    ) -> list[LanguageState]:
        """The states after texts; as `nlls`, without the work of the head."""
        return self._all(texts, states, direction, None)

    def _all(
        self,
        texts: Sequence[IntArray],
        states: Sequence[LanguageState] | None,
        direction: str | None,
        nats: list[Float32] | None,
    ) -> list[LanguageState]:
        way = self._direction(states[0].direction if states and direction is None else direction)
        starts = list(states) if states is not None else [self.start(way)] * len(texts)
        ids = [self._checked(text) for text in texts]
        for state in starts:
            self.check_state(state, way)
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        for first in range(0, len(order), MAX_BATCH):
            chosen = [index for index in order[first : first + MAX_BATCH] if len(ids[index])]
            if chosen:
                own = None if nats is None else [nats[place] for place in chosen]
                self._group([ids[place] for place in chosen], own, chosen, starts)
        return starts

    def vectors(self, ids_T: IntArray) -> Float32:
        """What the encoder reads of a text, x_TI."""
        return self._embedding[ids_T]

    def generator(self, pieces: Pieces, candidates: Sequence[int], end: int) -> Generator:
        """What writes texts forward. Raises ConfigError: the model reads backwards alone."""
        way = self._direction("forward")
        head = Head(
            table_VW=self.head.table_VW,
            bias_V=self.head.bias_V,
            projection_WP=self.head.projections.get(way),
            cluster_KW=self.head.cluster_KW if self.language.cutoffs else None,
            cluster_bias_K=self.head.cluster_bias_K if self.language.cutoffs else None,
            cutoffs=self.language.cutoffs,
            log_p=lambda y_NP: self.head.log_p(y_NP, way),
        )
        return Generator(
            self._stacks[way],
            self._embedding[np.arange(self.architecture.vocabulary)],
            head,
            pieces,
            residual=self.architecture.encoder.residual,
            candidates=candidates,
            end=end,
            precision=self._precision,
            recurrent=self._stored[way],
        )

    def check_state(self, state: LanguageState, direction: str) -> None:
        """Raise DataError unless `state` is one of this model and direction."""
        want = tuple((packed.cell.name, packed.units, packed.outputs) for packed in self._stacks[direction])
        vocabulary = self.architecture.vocabulary
        if state.direction != direction or state.recurrent.shapes != want or len(state.recurrent) != 1:
            raise DataError(f"The state is not one of this model's {direction} layers. Start without it.")
        if len(state.recent) and not 0 < state.recent.min() <= state.recent.max() < vocabulary:
            raise DataError(f"The state holds ids outside the vocabulary of {vocabulary}. Start without it.")

    def _direction(self, direction: str | None) -> str:
        way = self.language.directions[0] if direction is None else direction
        if way not in self._stacks:
            raise ConfigError(f"The model reads {' and '.join(self._stacks)}, not {way!r:.40}. Train one that does.")
        return way

    def _checked(self, ids_T: Any) -> npt.NDArray[np.int64]:
        ids = np.asarray(ids_T)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise DataError(f"A text must be a row of ids, got an array of {ids.dtype} of shape {ids.shape}.")
        if ids.size and not 0 < ids.min() <= ids.max() < self.architecture.vocabulary:
            raise DataError(
                f"Ids span {ids.min()} to {ids.max()}, but the model knows 1 to {self.architecture.vocabulary - 1}."
            )
        return ids.astype(np.int64)

    def _group(
        self,
        ids: list[npt.NDArray[np.int64]],
        nats: list[Float32] | None,
        places: list[int],
        states: list[LanguageState],
    ) -> None:
        """Texts of falling length, none empty: their nats are written into `nats`, their states to their places."""
        starts = [states[place] for place in places]
        way, lengths_B = starts[0].direction, np.array([len(text) for text in ids])
        recurrent = RecurrentState.stack([state.recurrent for state in starts])
        last = np.array([state.last for state in starts])
        first = 0
        while len(lengths_B):
            interrupt.check()
            time = min(int(lengths_B[0]) - first, max(1, GROUP_TOKENS // len(lengths_B)))
            steps_B = np.minimum(lengths_B - first, time)
            wanted_TB = np.ones((time, len(lengths_B)), dtype=np.int64)
            for b, steps in enumerate(steps_B.tolist()):
                wanted_TB[:steps, b] = ids[b][first : first + steps]
            read_TB = np.concatenate([last[None], wanted_TB[:-1]])
            y_TBP, recurrent = self.read(read_TB, steps_B, recurrent, way)
            if nats is not None:
                real_TB = np.arange(time)[:, None] < steps_B
                some = np.empty(real_TB.shape, dtype=np.float32)
                some[real_TB] = self.head.nats(y_TBP[real_TB], wanted_TB[real_TB], way)
                for b, steps in enumerate(steps_B.tolist()):
                    nats[b][first : first + steps] = some[:steps, b]
            first += time
            for b in np.flatnonzero(lengths_B <= first).tolist():
                states[places[b]] = starts[b].after(recurrent.select([b]), ids[b])
            going = int((lengths_B > first).sum())
            recurrent, last, lengths_B = recurrent.select(range(going)), wanted_TB[-1, :going], lengths_B[:going]

    def outputs(self, codec: Any, encoded: Any, options: Any) -> Any:
        """Refuse, as the codec does: there are no labels to predict. Raises ConfigError."""
        return codec.decode(None, encoded, **options)

    def read(
        self, ids_TB: IntArray, lengths_B: IntArray, state: RecurrentState, direction: str
    ) -> tuple[Float32, RecurrentState]:
        """Outputs of the encoder at each token, y_TBP, of no meaning past each length, and the layers' states then."""
        x_TBI = self._embedding[ids_TB]
        ends = []
        for packed, parts in zip(self._stacks[direction], state.layers, strict=True):
            y_TBP, end = kernels.sequence(packed.cell.name, x_TBI, lengths_B, packed, parts)
            if self.architecture.encoder.residual and y_TBP.shape == x_TBI.shape:
                y_TBP += x_TBI
            ends.append(end)
            x_TBI = y_TBP
        return x_TBI, RecurrentState(state.cells, tuple(ends), state.units)


def _packed(architecture: Architecture, weights: TensorFile, direction: str, precision: str) -> tuple[Packed, ...]:
    cell = architecture.encoder.cell
    return tuple(
        kernels.pack(
            cell,
            {name: dense(weights, f"encoder.{n}.{direction}.{name}") for name in CELLS[cell].Params._fields},
            precision=precision,
        )
        for n in range(architecture.encoder.layers)
    )
