"""The most likely texts, by keeping the best beginnings at each length.

At each step every kept beginning is tried with every token that may come; the best ones are kept, and every text that
ends here joins the finished ones. log p only falls as a text grows, so the search ends where no beginning can still
beat the finished ones. With as many beams as there are beginnings the answer is exact.

Texts of different length are ranked by log p / n^a, n their tokens with the end, a the length penalty: 0 for log p, 1
for its mean. (Wu et al., arXiv:1609.08144, divide by ((5 + n) / 6)^a, which tells short texts less apart.) A beginning
of log p can come to no more than log p / most^a.

B beginnings, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    rank: float
    log_p: float
    ids: tuple[int, ...]
    reason: str
    state: LanguageState


def search(
    model: LanguageModel,
    start: LanguageState,
    order: Order,
    beams: int,
    *,
    candidates: Any,
    end: int,
    length_penalty: float = 0.0,
) -> list[Found]:
    """The best texts found, best first, at most `beams`.

    Args:
        start: of the text, read up to its prompt.
        candidates: rising ids that may come where no automaton says.
        end: id of the end of a document, below those of tokens.
        length_penalty: see the module.
    """
    recurrent, found = start.recurrent, list[Found]()
    live = [Beginning(0.0, (), order.automaton.start if order.automaton is not None else 0, 0)]
    if reason := _finished(live[0], order):
        return [Found(0.0, 0.0, (), reason, start)]
    ways = Ways(order, candidates, end)
    while live:
        longer, recurrent = extended(model, start, live, recurrent, ways, beams)
        live = []
        for one in longer:
            reason = END if one.ids[-1] == end else _finished(one, order)
            if reason:
                found.append(_found(one, reason, start, recurrent, end, length_penalty))
            elif len(live) < beams:
                live.append(one)
        found = sorted(found, key=lambda text: -text.rank)[:beams]
        if len(found) == beams and live and live[0].log_p / order.most**length_penalty <= found[-1].rank:
            break
    return found


def beginnings(
    model: LanguageModel, start: LanguageState, order: Order, beams: int, *, candidates: Any
) -> list[list[Beginning]]:
    """The best `beams` beginnings of each number of tokens from none to the most, none of them ended."""
    live, recurrent = (
        [Beginning(0.0, (), order.automaton.start if order.automaton is not None else 0, 0)],
        start.recurrent,
    )
    found, ways = [live], Ways(order, candidates, None)
    while len(found) <= order.most:
        longer, recurrent = extended(model, start, live, recurrent, ways, beams)
        if not (live := longer[:beams]):
            break
        found.append(live)
    return found


class Ways:
    """Tokens that may follow a beginning; those of one state of the automaton and one length are found once."""

    def __init__(self, order: Order, candidates: Any, end: int | None) -> None:
        """`end`, where there is one, may follow where the automaton accepts."""
        self.order, self.end, self._candidates = order, end, np.asarray(candidates)
        self._kept: dict[tuple[int, int], tuple[Any, list[int] | None]] = {}

    def after(self, one: Beginning) -> tuple[Any, list[int] | None]:
        """The tokens, and the state that each leads to where there is an automaton."""
        if self.order.automaton is None:
            return self._candidates, None
        key = (one.automaton, len(one.ids))
        if key not in self._kept:
            if self._kept and next(iter(self._kept))[1] < len(one.ids):
                self._kept.clear()  # shorter beginnings do not come back
            self._kept[key] = self._find(*key)
        return self._kept[key]

    def _find(self, state: int, length: int) -> tuple[Any, list[int]]:
        automaton, order = self.order.automaton, self.order
        assert automaton is not None  # `after` has looked
        fewest, most = order.fewest - length - 1, order.most - length - 1
        pairs = [pair for pair in zip(*automaton.row(state), strict=True) if automaton.within(pair[1], fewest, most)]
        if self.end is not None and automaton.accepts(state) and length >= order.fewest:
            pairs = [(self.end, -1), *pairs]
        return np.array([token for token, _ in pairs], dtype=np.int64), [target for _, target in pairs]


def extended(
    model: LanguageModel,
    start: LanguageState,
    live: Sequence[Beginning],
    recurrent: RecurrentState,
    ways: Ways,
    beams: int,
) -> tuple[list[Beginning], RecurrentState]:
    """The best ways on of each beginning, the best first, and the state their rows are of: the newest id unread."""
    read = np.array([one.ids[-1] if one.ids else start.last for one in live])
    rows = recurrent.select([one.row for one in live])
    y_TBP, recurrent = model.read(read[None], np.ones(len(live), dtype=np.int64), rows, start.direction)
    log_p_BV = model.head.log_p(y_TBP[0], start.direction).astype(np.float64)
    longer: list[Beginning] = []
    for row, one in enumerate(live):
        longer += _extended(one, row, log_p_BV[row], start, ways, beams)
    return sorted(longer, key=lambda one: -one.log_p), recurrent


def _extended(one: Beginning, row: int, log_p_V: Any, start: LanguageState, ways: Ways, beams: int) -> list[Beginning]:
    """The best ways on of a beginning, and its end."""
    tokens, targets = ways.after(one)
    if not len(tokens):
        return []
    scores_N = log_p_V[tokens]
    if ways.order.sampling.no_repeat:
        recent = np.concatenate([start.recent, one.ids]).astype(np.int64)
        scores_N = adjusted(scores_N, tokens, recent, ways.order.sampling)
    wanted = beams + 1  # one more, for an end takes no place
    some = np.arange(len(scores_N))
    if len(scores_N) > 4 * wanted:
        some = np.flatnonzero(scores_N >= np.partition(scores_N, -wanted)[-wanted])
    best = some[np.argsort(-scores_N[some], kind="stable")][:wanted].tolist()
    if int(tokens[0]) == ways.end and 0 not in best:
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


def _found(
    one: Beginning, reason: str, start: LanguageState, recurrent: RecurrentState, end: int, length_penalty: float
) -> Found:
    state = start.after(recurrent.select([one.row]), np.array(one.ids, dtype=np.int64))
    rank = one.log_p / len(one.ids) ** length_penalty
    return Found(rank, one.log_p, one.ids[:-1] if one.ids[-1] == end else one.ids, reason, state)
