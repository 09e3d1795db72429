"""The most likely texts, by keeping the best beginnings at each length.

At each step every kept beginning is tried with every token that may come; the best ones are kept, and every text that
ends here joins the finished ones. log p only falls as a text grows, so the search ends where no beginning can still
beat the finished ones. With as many beams as there are beginnings the answer is exact.

B beginnings, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatework.kernels import RecurrentState
from gatework.kernels.generation import REASONS, Order
from gatework.kernels.sampling import adjusted
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.language_state import LanguageState

_, END, LENGTH, _, CONSTRAINT = REASONS


@dataclass(frozen=True, slots=True)
class Beginning:
    """Tokens written so far."""

    log_p: float
    ids: tuple[int, ...]
    automaton: int
    row: int
    """In the recurrent state of its step."""


@dataclass(frozen=True, slots=True)
class Found:
    """A text that ended."""

    log_p: float
    ids: tuple[int, ...]
    reason: str
    state: LanguageState


def search(
    model: LanguageModel, start: LanguageState, order: Order, beams: int, *, candidates: Any, end: int
) -> list[Found]:
    """The best texts found, best first, at most `beams`.

    Args:
        start: of the text, read up to its prompt.
        candidates: rising ids that may come where no automaton says.
        end: id of the end of a document, below those of tokens.
    """
    recurrent, found = start.recurrent, list[Found]()
    live = [Beginning(0.0, (), order.automaton.start if order.automaton is not None else 0, 0)]
    if reason := _finished(live[0], order):
        return [Found(0.0, (), reason, start)]
    while live:
        read = np.array([one.ids[-1] if one.ids else start.last for one in live])
        rows = recurrent.select([one.row for one in live])
        y_TBP, recurrent = model.read(read[None], np.ones(len(live), dtype=np.int64), rows, start.direction)
        log_p_BV = model.head.log_p(y_TBP[0], start.direction).astype(np.float64)
        longer: list[Beginning] = []
        for row, one in enumerate(live):
            longer += _extended(one, row, log_p_BV[row], start, order, candidates, end, beams)
        longer.sort(key=lambda one: -one.log_p)
        live = []
        for one in longer:
            reason = END if one.ids[-1] == end else _finished(one, order)
            if reason:
                found.append(_found(one, reason, start, recurrent, end))
            elif len(live) < beams:
                live.append(one)
        found = sorted(found, key=lambda text: -text.log_p)[:beams]
        if len(found) == beams and live and live[0].log_p <= found[-1].log_p:
            break
    return found


def _extended(
    one: Beginning, row: int, log_p_V: Any, start: LanguageState, order: Order, candidates: Any, end: int, beams: int
) -> list[Beginning]:
    """The best ways on of a beginning, and its end."""
    tokens, targets = np.asarray(candidates), None
    if order.automaton is not None:
        fewest, most = order.fewest - len(one.ids) - 1, order.most - len(one.ids) - 1
        pairs = [
            pair
            for pair in zip(*order.automaton.row(one.automaton), strict=True)
            if order.automaton.within(pair[1], fewest, most)
        ]
        if order.automaton.accepts(one.automaton) and len(one.ids) >= order.fewest:
            pairs = [(end, -1), *pairs]
        tokens, targets = np.array([token for token, _ in pairs]), [target for _, target in pairs]
    scores_N = log_p_V[tokens]
    if order.sampling.no_repeat:
        recent = np.concatenate([start.recent, one.ids]).astype(np.int64)
        scores_N = adjusted(scores_N, tokens, recent, order.sampling)
    best = np.argsort(-scores_N, kind="stable")[: beams + 1].tolist()  # one more, for an end takes no place
    if int(tokens[0]) == end and 0 not in best:
        best.append(0)
    return [
        Beginning(
            one.log_p + float(log_p_V[tokens[place]]),
            (*one.ids, int(tokens[place])),
            0 if targets is None else targets[place],
            row,
        )
        for place in best
        if scores_N[place] > -np.inf
    ]


def _finished(one: Beginning, order: Order) -> str:
    """Why a beginning is a whole text without an end, or nothing."""
    if len(one.ids) >= order.most:
        return LENGTH
    automaton = order.automaton
    if automaton is None or not automaton.accepts(one.automaton) or len(one.ids) < order.fewest:
        return ""
    fewest, most = order.fewest - len(one.ids) - 1, order.most - len(one.ids) - 1
    goes_on = any(automaton.within(target, fewest, most) for target in automaton.row(one.automaton)[1])
    return "" if goes_on else CONSTRAINT


def _found(one: Beginning, reason: str, start: LanguageState, recurrent: RecurrentState, end: int) -> Found:
    state = start.after(recurrent.select([one.row]), np.array(one.ids, dtype=np.int64))
    return Found(one.log_p, one.ids[:-1] if one.ids[-1] == end else one.ids, reason, state)
