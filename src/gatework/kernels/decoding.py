"""Targets written from sources: what is read of them, what a writer is asked for, and what comes of it.

    best = Decoder(network).decode(memory, Search(beams=5))     # `kernels.decoder`; of each source its hypotheses

A step reads the newest token of each beginning and gives the probabilities of the next one (`decoding_network`). The
search goes over steps, for every source on its own:

    each kept beginning is tried with each token that may come; what comes of it is ranked by log p
    those of the first `beams` that say the end are finished; the first `beams` that do not are kept
    it stops when `beams` are finished, when no beginning can still beat the `count` best, or at the length limit,
    where what is kept is finished without its end

With one beam that is the most likely token each time, with more beams than there are beginnings it is exact. Finished
ones are ranked by their score, those that were cut at the limit after those that said their end:

    score = log p / penalty(T) + coverage_penalty x sum over s of log min(sum over t of a_ts, 1)
    penalty(T) = T ** length_penalty ((5 + T) / 6) ** gnmt        T tokens, the end counted

In a `grid` each number of tokens that the automaton still needs, its distance from an end, has beams of its own: so
beginnings that have said a word that must come are compared with one another alone, and are not lost to those that put
it off. It goes on until `beams` are finished and no beginning is better so far.

With `sampling` nothing is searched: each of `count` hypotheses is drawn token by token.

A source may have a list of the tokens that may come (`Plan.only`): only their rows of the output table are multiplied,
and the softmax is over them alone.

Sources: Wu et al., arXiv:1609.08144 (both penalties of the score); Paulus et al., arXiv:1705.04304 (n-grams); Hokamp
and Liu, arXiv:1704.07138, and Post and Vilar, arXiv:1804.06609 (grid and banks, there by words met); Jean et al.,
arXiv:1412.2007 (lists of tokens).

B sources, N tokens of all of them, S tokens of one, T tokens written, P memory, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError
from gatework.kernels.automaton import Lifted
from gatework.kernels.layer import Float32
from gatework.kernels.sampling import Sampling
from gatework.kernels.state import RecurrentState

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

END = 2
"""Id of the end of a target, which is read before its first token."""
SLACK = 10
"""Tokens that a target may have beyond `max_ratio` times its source."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What an encoder made of B sources, one after the other, without padding."""

    m_NP: Float32
    keys_NK: Float32
    """What the writer's queries are compared with, see its network."""
    summary_BP: Float32
    """e: what a writer without attention reads."""
    ids_N: Int32
    """Tokens of the sources, for copying."""
    offsets: Int64
    """Source b has rows offsets[b] to offsets[b + 1], at least one, (B + 1,)."""
    start: RecurrentState | None
    """Of a recurrent writer's layers, before the first step, of B rows."""
    others: tuple[Memory, ...] = ()
    """Of an ensemble: what the other members made of the same sources."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def source(self, b: int) -> slice:
        """The rows of a source."""
        return slice(int(self.offsets[b]), int(self.offsets[b + 1]))


class Plan(NamedTuple):
    """What is asked of one source."""

    limit: int
    """Most tokens: beyond what `Search` says where its prefix or the shortest text of the automaton are longer."""
    prefix: tuple[int, ...]
    automaton: int
    """State after the prefix."""
    seed: int
    """Of its draws."""
    only: Int32 | None = None
    """Rising ids of tokens that may come, the end among them; None for all. Probabilities are those among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is asked of all sources of a call. Values out of range are up to the caller."""

    beams: int = 1
    count: int = 1
    """Hypotheses wanted of each source; at most `beams`, but for draws."""
    length_penalty: float = 1.0
    """0: the sum of log p decides; 1: their mean."""
    gnmt: float = 0.0
    coverage_penalty: float = 0.0
    max_ratio: float = 2.0
    """A target has at most this many times the tokens of its source, and SLACK more."""
    max_tokens: int | None = None
    """At most this many too."""
    min_tokens: int = 0
    """No end before."""
    no_repeat: int = 0
    """No sequence of that many tokens comes twice, unless nothing else is allowed; 0 for any."""
    never: tuple[int, ...] = ()
    """Rising ids that do not come."""
    automaton: Lifted | None = None
    """What may come, and where the end may."""
    grid: bool = False
    """Beams for each distance from an end of the automaton."""
    sampling: Sampling | None = None
    """Draw, with one beam; None for the most likely."""

    def plan(self, source: int, prefix: Sequence[int] = (), seed: int = 0, only: Int32 | None = None) -> Plan:
        """What is asked of a source of so many tokens.

        Raises: ConfigError: the automaton does not allow the prefix.
        """
        most = int(self.max_ratio * source) + SLACK
        most = most if self.max_tokens is None else min(most, self.max_tokens)
        state, needed = 0, len(prefix)
        if self.automaton is not None:
            state = self.automaton.start
            for token in prefix:
                tokens, targets = self.automaton.row(state)
                if token not in tokens:
                    raise ConfigError("The prefix and the constraint contradict each other. Drop one.")
                state = targets[tokens.index(token)]
            needed += self.automaton.distance(state)
        return Plan(max(most, needed, self.min_tokens, 1), tuple(prefix), state, seed, only)

    def banks(self, plan: Plan) -> int:
        """How many banks a grid has: one for each distance up to one beyond that at the start, or MOST_BANKS."""
        if not self.grid or self.automaton is None:
            return 1
        return min(self.automaton.distance(plan.automaton) + 2, MOST_BANKS)

    def bank(self, plan: Plan, state: int) -> int:
        """The bank of a state: its distance from an end, scaled where there are more distances than banks."""
        assert self.automaton is not None  # a grid has one
        farthest = self.automaton.distance(plan.automaton) + 1
        return min(self.automaton.distance(state), farthest) * (self.banks(plan) - 1) // farthest

    def penalty(self, tokens: int) -> float:
        """What log p of so many tokens, the end counted, is divided by."""
        return float(max(tokens, 1) ** self.length_penalty * ((5 + tokens) / 6) ** self.gnmt)

    def score(self, log_p: float, tokens: int, attention_TS: Float32 | None) -> float:
        """What hypotheses are ranked by."""
        score = log_p / self.penalty(tokens)
        if self.coverage_penalty and attention_TS is not None:
            seen_S = np.minimum(attention_TS.sum(axis=0, dtype=np.float64), 1.0)
            score += self.coverage_penalty * float(np.log(np.maximum(seen_S, LEAST)).sum())
        return score


MOST_BANKS = 16
LEAST = 1e-10
"""A place that was looked at less counts as looked at so much in the coverage penalty."""


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """A target that was found."""

    ids: tuple[int, ...]
    """Without the end."""
    log_p: float
    """Nats of its tokens, the end included, before any mask."""
    score: float
    attention_TS: Float32 | None
    """Weights of the source's places at each token, the end included; None without attention."""
    reason: str
    """Why it ended: "end" (it was said) or "length" (the limit)."""
