"""Texts written token by token: step, head, masks, penalties and a draw in one loop without Python between tokens.

generator = Generator(layers, embedding_VE, head, pieces, ...)
state = generator.write(state, texts, order, steps=256)     # texts are changed in place, the state is returned

A text reads its newest id from its state and gets the next one. The loop is native/generate; where NumPy computes, it
is `_define` here. Everything a text needs to go on stands in its `Writing` and its row of the state.

V vocabulary, E embedding, P outputs of the layers, W width of the output table, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.automaton import Dfa
from gatework.kernels import dispatch
from gatework.kernels.automaton import Lifted, Pieces, native_table
from gatework.kernels.layer import Float32
from gatework.kernels.sampling import Sampling, choose, uniform
from gatework.kernels.sentence import WIDE_LEVELS, TableRows
from gatework.kernels.sequence import Packed
from gatework.kernels.state import RecurrentState
from gatework.kernels.step import fold

REASONS = ("", "end", "length", "stop", "constraint")
"""Why a text is at its end, by number: not yet; the end of a document was written; as long as allowed; a stop string
appeared; the constraint allows nothing further."""
GOING, END, LENGTH, STOP, CONSTRAINT = range(5)
REMEMBERED = 1024
"""Ids of a text that are kept: what penalties look back on."""
MOST_FOLDED = 64 << 20
"""Bytes of products with the embedding that are kept; beyond them each step multiplies."""


@dataclass(slots=True, eq=False)
class Writing:
    """One text."""

    recent: npt.NDArray[np.int32]
    """The text so far, at most as many ids as are remembered, at least one: the newest last."""
    position: int
    """Tokens of the whole text, which choose the random numbers, with the seed."""
    seed: int
    automaton: int = 0
    """State of the lifted automaton."""
    stop: int = 0
    """State of the automaton that finds stop strings."""
    written: int = 0
    """Tokens that count for the length."""
    log_p: float = 0.0
    """Of all tokens written, the end of a document included, before any mask or temperature."""
    reason: int = GOING
    ids: list[int] = field(default_factory=list)
    """What was written, without the end of a document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is asked of all texts of a call."""

    sampling: Sampling
    most: int
    """Tokens a text may have in all."""
    fewest: int = 0
    automaton: Lifted | None = None
    stop: Dfa | None = None
    """Accepts where a stop string has just ended, whatever stands before it; has a way on for every byte."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """From outputs of the layers to logits."""

    table_VW: Float32
    bias_V: Float32
    """-inf where a token never comes."""
    projection_WP: Float32 | None = None
    cluster_KW: Float32 | None = None
    cluster_bias_K: Float32 | None = None
    cutoffs: tuple[int, ...] = ()
    log_p: Callable[[Float32], Float32]
    """log p of all tokens, (N, V), of outputs (N, P): the definition."""


class Generator:
    """Weights, ready to write with; any threads may share it."""

    def __init__(
        self,
        layers: Sequence[Packed],
        embedding_VE: Float32,
        head: Head,
        pieces: Pieces,
        *,
        residual: bool,
        candidates: Sequence[int],
        end: int,
        precision: str = "float32",
        recurrent: Sequence[TableRows] = (),
    ) -> None:
        """
        Args:
            layers: bottom first.
            residual: what a layer reads is added to its outputs where the widths agree.
            candidates: rising ids that may come where no automaton says.
            end: id of the end of a document, below those of all tokens.
            precision: of the products with the output table.
            recurrent: of each layer the recurrent matrix as it is stored in 8 bits, with its scales, see `sentence`;
                used where the layers are packed in float32.
        """
        self._layers, self._embedding_VE, self._head = tuple(layers), np.ascontiguousarray(embedding_VE), head
        self._pieces, self._residual, self._end = pieces, residual, end
        self._candidates = np.array(candidates, dtype=np.int32)
        compiled = all(one.native is not None for one in layers)
        self._native: Any = self._compiled(precision, recurrent) if compiled else None

    def write(self, state: RecurrentState, texts: Sequence[Writing], order: Order, *, steps: int) -> RecurrentState:
        """Up to `steps` tokens of each text that goes on.

        Args:
            state: row k of text k, before its newest id is read; left as it was.
            texts: changed in place.
        Returns: the state afterwards, in the same sense.
        """
        state = state.copy()
        if self._native is None:
            for row, text in enumerate(texts):
                self._define(state, row, text, order, steps)
        else:
            self._run(state, texts, order, steps)
        return state

    def _compiled(self, precision: str, recurrent: Sequence[TableRows]) -> Any:
        level, first, head = self._layers[0].level, self._layers[0], self._head
        stored = list(recurrent) if first.precision == "float32" and level in WIDE_LEVELS else []
        folded = len(self._embedding_VE) * 4 * len(first.cell.gates) * first.units <= MOST_FOLDED
        table = fold(first, self._embedding_VE).rows_VS if folded else None
        adds = self._residual and self._embedding_VE.shape[1] == first.outputs

        def product(weight: Float32, bias: Float32 | None = None) -> Any:
            rows, width = weight.shape
            parts = {"w": weight, "b": np.zeros(rows) if bias is None else bias, "r": np.zeros((rows, 0))}
            arrays = {name: np.ascontiguousarray(part, dtype=np.float32) for name, part in parts.items()}
            return dispatch.extension().Packed(
                "rnn", level, precision, width, rows, 0, {**arrays, "rb": None, "extra": []}
            )

        return dispatch.extension().generate.Generator(
            [packed.native for packed in self._layers],
            table,
            self._embedding_VE if adds or not folded else None,
            self._residual,
            None if head.projection_WP is None else product(head.projection_WP),
            product(head.table_VW, head.bias_V),
            None if head.cluster_KW is None else product(head.cluster_KW, head.cluster_bias_K),
            list(head.cutoffs),
            self._pieces.native,
            self._candidates.tolist(),
            self._end,
            stored,
        )

    def _run(self, state: RecurrentState, texts: Sequence[Writing], order: Order, steps: int) -> None:
        count = len(texts)
        recent = np.zeros((count, REMEMBERED), dtype=np.int32)
        for place, text in enumerate(texts):
            recent[place, : len(text.recent)] = text.recent

        def column(values: list[Any], kind: Any) -> npt.NDArray[Any]:
            return np.array(values, dtype=kind)

        sampling = order.sampling
        arrays = {
            "recent": recent,
            "remembered": column([len(text.recent) for text in texts], np.int64),
            "position": column([text.position for text in texts], np.uint64),
            "seed": column([text.seed for text in texts], np.uint64),
            "state": column([text.automaton for text in texts], np.int32),
            "stop_state": column([text.stop for text in texts], np.int32),
            "written": column([text.written for text in texts], np.int64),
            "made": np.zeros(count, dtype=np.int64),
            "reason": column([text.reason for text in texts], np.int32),
            "log_p": column([text.log_p for text in texts], np.float64),
            "ids": np.zeros((count, steps), dtype=np.int32),
        }
        options = {name: getattr(sampling, name) for name in sampling.__dataclass_fields__}
        self._native.run(
            arrays
            | options
            | {
                "h": [np.ascontiguousarray(parts[0]) for parts in state.layers],
                "c": [parts[1] if len(parts) > 1 else None for parts in state.layers],
                "most": order.most,
                "fewest": order.fewest,
                "automaton": order.automaton,
                "stop": None if order.stop is None else native_table(order.stop),
            }
        )
        for row, text in enumerate(texts):
            text.recent = arrays["recent"][row, : int(arrays["remembered"][row])].copy()
            text.position, text.written = int(arrays["position"][row]), int(arrays["written"][row])
            text.automaton, text.stop = int(arrays["state"][row]), int(arrays["stop_state"][row])
            text.log_p, text.reason = float(arrays["log_p"][row]), int(arrays["reason"][row])
            text.ids += arrays["ids"][row, : int(arrays["made"][row])].tolist()

    def _define(self, state: RecurrentState, row: int, text: Writing, order: Order, steps: int) -> None:
        """What the compiled loop does, for one text."""
        layers = [type(parts)(*(part[row : row + 1] for part in parts)) for parts in state.layers]
        if text.reason == GOING:
            _finish(text, order)
        for _ in range(steps):
            if text.reason != GOING:
                break
            x = self._embedding_VE[text.recent[-1:]]
            for place, own in enumerate(self._layers):
                layers[place] = own.cell.step(np, x, layers[place], own.params)
                y = own.cell.output(layers[place])
                x = y + x if self._residual and y.shape == x.shape else y
            self._choose(text, self._head.log_p(x)[0], order)
        for parts, new in zip(state.layers, layers, strict=True):
            for part, values in zip(parts, new, strict=True):
                part[row] = values[0]

    def _choose(self, text: Writing, log_p_V: Float32, order: Order) -> None:
        candidates, targets = self._candidates, None
        if order.automaton is not None:
            tokens, targets = _allowed(text, order)
            if order.automaton.accepts(text.automaton) and text.written >= order.fewest:
                tokens, targets = [self._end, *tokens], [-1, *targets]
            candidates = np.array(tokens, dtype=np.int32)
        u = uniform(text.seed, text.position)
        place = choose(log_p_V[candidates], candidates, text.recent, order.sampling, u)
        token = int(candidates[place])
        text.log_p += float(log_p_V[token])
        text.position += 1
        text.recent = np.append(text.recent, np.int32(token))[-REMEMBERED:]
        if token == self._end:
            text.reason = END
            return
        text.ids.append(token)
        text.written += 1
        if targets is not None:
            text.automaton = targets[place]
        if order.stop is not None and self._stops(text, token, order.stop):
            text.reason = STOP
        else:
            _finish(text, order)

    def _stops(self, text: Writing, token: int, stop: Dfa) -> bool:
        raw = self._pieces.raw[token]
        fresh = text.written == 1 or self._pieces.raw[text.recent[-2]] == b"\n"
        for byte in raw.removeprefix(b" ") if self._pieces.spaced and fresh else raw:
            text.stop = int(stop.table[text.stop, stop.classes[byte]])
            if stop.accept[text.stop]:
                return True
        return False


def _allowed(text: Writing, order: Order) -> tuple[list[int], list[int]]:
    """Tokens after which the text can be completed within its length, and where each leads."""
    automaton = order.automaton
    assert automaton is not None  # the caller has looked
    tokens, targets = automaton.row(text.automaton)
    fewest, most = order.fewest - text.written - 1, order.most - text.written - 1
    good = [place for place, target in enumerate(targets) if automaton.within(target, fewest, most)]
    return [tokens[place] for place in good], [targets[place] for place in good]


def _finish(text: Writing, order: Order) -> None:
    """Say so where the text is at its end before anything is predicted."""
    if text.written >= order.most:
        text.reason = LENGTH
    elif order.automaton is None or not order.automaton.accepts(text.automaton) or text.written < order.fewest:
        return
    elif not _allowed(text, order)[0]:
        text.reason = CONSTRAINT
