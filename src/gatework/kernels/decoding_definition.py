"""The search of `kernels.decoding`, plainly, one source at a time: what native/decode does.

N beginnings, V outputs, S places of the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.kernels.decoding import END, Hypothesis, Memory, Plan, Search
from gatework.kernels.decoding_network import Network, Places
from gatework.kernels.layer import Float32
from gatework.kernels.sampling import Sampling, adjusted, choose, row_seed, uniform

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """Tokens written so far."""

    log_p: float
    ids: tuple[int, ...]
    row: int
    """Of the step that made it."""
    automaton: int
    looked: tuple[Float32, ...]
    """Attention at each token."""
    ended: bool = False


def decode_one(network: Network, memory: Memory, b: int, search: Search, plan: Plan) -> list[Hypothesis]:
    """Hypotheses of source `b`, best first; none where the automaton allows none."""
    looks = network.looks
    network = network if plan.only is None else network.limited(plan.only)
    if search.sampling is not None:
        seeds = [row_seed(plan.seed, row) for row in range(search.count)]
        return _ranked([_drawn(network, memory, b, search, search.sampling, plan, own) for own in seeds], search, looks)
    places, rows = Places.of(memory, [b]), network.begin(memory, [b])
    live, ended = [_first(plan)], list[Beginning]()
    while live and len(live[0].ids) < plan.limit and not _settled(live, ended, search, plan, looks):
        rows = rows.select([one.row for one in live])
        read_N = np.array([one.ids[-1] if one.ids else END for one in live])
        log_p_NV, a_NS, rows = network.step(places, read_N, rows)
        scores_NV = np.stack([_scores(search, plan, one, row) for one, row in zip(live, log_p_NV, strict=True)])
        scores_NV += np.array([one.log_p for one in live])[:, None]
        longer = list[Beginning]()
        for place_M in _banks(search, plan, live, scores_NV):
            kept = len(longer)
            for rank, place in enumerate(place_M.tolist()):
                row, token = divmod(place, scores_NV.shape[1])
                if scores_NV[row, token] == -np.inf or len(longer) - kept == search.beams:
                    break
                one = _extended(search, plan, live[row], row, token, log_p_NV[row, token], a_NS[row])
                if not one.ended:
                    longer.append(one)
                elif rank < search.beams:
                    ended.append(one)
        live = longer
    return _ranked(ended + (live if len(ended) < search.count else []), search, looks)


def _banks(search: Search, plan: Plan, live: list[Beginning], scores_NV: Float64) -> Iterator[npt.NDArray[np.int64]]:
    """The best ways on of each bank, as places of the flat scores; without a grid there is one bank."""
    wanted = 2 * search.beams
    if not search.grid or search.automaton is None:
        yield np.argsort(-scores_NV, axis=None, kind="stable")[:wanted]
        return
    bank_NV = np.zeros(scores_NV.shape, dtype=np.int64)  # that of the end is 0
    for row, one in enumerate(live):
        if len(one.ids) < len(plan.prefix):
            bank_NV[row] = search.bank(plan, one.automaton)
            continue
        tokens, targets = search.automaton.row(one.automaton)
        bank_of = {target: search.bank(plan, target) for target in set(targets)}
        bank_NV[row, tokens] = [bank_of[target] for target in targets]
    for bank in range(search.banks(plan)):
        yield np.argsort(np.where(bank_NV == bank, -scores_NV, np.inf), axis=None, kind="stable")[:wanted]


def _first(plan: Plan) -> Beginning:
    return Beginning(0.0, (), 0, plan.automaton, ())


def _extended(search: Search, plan: Plan, one: Beginning, row: int, token: int, log_p: Any, a_S: Float32) -> Beginning:
    """A beginning with a token more."""
    total, looked = one.log_p + float(log_p), (*one.looked, a_S)
    if token == END:
        return replace(one, log_p=total, looked=looked, ended=True)
    automaton = one.automaton
    if search.automaton is not None and len(one.ids) >= len(plan.prefix):
        tokens, targets = search.automaton.row(one.automaton)
        automaton = targets[tokens.index(token)]
    return Beginning(total, (*one.ids, token), row, automaton, looked)


def _scores(search: Search, plan: Plan, one: Beginning, log_p_V: Float32) -> Float64:
    """log p of each token that may come after a beginning; -inf of others."""
    scores_V, length = log_p_V.astype(np.float64), len(one.ids)
    if length < len(plan.prefix):
        return _only(scores_V, [plan.prefix[length]])
    scores_V[list(search.never)] = -np.inf
    if length < search.min_tokens:
        scores_V[END] = -np.inf
    if search.automaton is not None:
        fewest, most = search.min_tokens - length - 1, plan.limit - length - 1
        pairs = zip(*search.automaton.row(one.automaton), strict=True)
        tokens = [token for token, target in pairs if search.automaton.within(target, fewest, most)]
        scores_V = _only(scores_V, [END, *tokens] if search.automaton.accepts(one.automaton) else tokens)
    if search.no_repeat:
        asked = Sampling(no_repeat=search.no_repeat, exempt=END)
        possible = np.flatnonzero(scores_V > -np.inf)
        scores_V[possible] = adjusted(scores_V[possible], possible, one.ids, asked)
    return scores_V


def _only(scores_V: Float64, tokens: list[int]) -> Float64:
    """The scores with -inf of all tokens but some."""
    only_V = np.full_like(scores_V, -np.inf)
    only_V[tokens] = scores_V[tokens]
    return only_V


def _settled(live: list[Beginning], ended: list[Beginning], search: Search, plan: Plan, looks: bool) -> bool:
    """Whether no beginning can change the answer: log p only falls, and the penalty of no length is beyond that of the
    limit. In a grid those that are finished first are often bad: there none may be better as it stands."""
    if len(ended) >= search.beams and not search.grid:
        return True
    if len(ended) < search.count:
        return False
    scores = sorted((one.score for one in _ranked(ended, search, looks)), reverse=True)
    if search.grid:
        best = max(one.log_p for one in live) / search.penalty(plan.limit)
        if len(ended) >= search.beams:
            best = max(one.log_p / search.penalty(len(one.ids)) for one in live)
        return best <= scores[search.count - 1]
    return live[0].log_p / search.penalty(plan.limit) <= scores[search.count - 1]


def _ranked(found: list[Beginning], search: Search, looks: bool) -> list[Hypothesis]:
    """Those that said their end first, then by score; at most `search.count`."""
    made = [
        Hypothesis(
            ids=one.ids,
            log_p=one.log_p,
            score=search.score(one.log_p, len(one.looked), _looked(one) if looks else None),
            attention_TS=_looked(one) if looks else None,
            reason="end" if one.ended else "length",
        )
        for one in found
    ]
    return sorted(made, key=lambda one: (one.reason != "end", -one.score))[: search.count]


def _looked(one: Beginning) -> Float32:
    return np.array(one.looked, dtype=np.float32)


def _drawn(
    network: Network, memory: Memory, b: int, search: Search, sampling: Sampling, plan: Plan, seed: int
) -> Beginning:
    """A target drawn token by token."""
    places, rows = Places.of(memory, [b]), network.begin(memory, [b])
    one = _first(plan)
    while not one.ended and len(one.ids) < plan.limit:
        log_p_1V, a_1S, rows = network.step(places, np.array([one.ids[-1] if one.ids else END]), rows)
        scores_V = _scores(search, plan, one, log_p_1V[0])
        candidates = np.flatnonzero(scores_V > -np.inf)
        u = uniform(seed, len(one.ids))
        token = int(candidates[choose(scores_V[candidates], candidates, one.ids, sampling, u)])
        one = _extended(search, plan, one, 0, token, log_p_1V[0, token], a_1S[0])
    return one
