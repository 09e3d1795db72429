"""Whether a model knows the reply that was given from others: recall at k among candidates.

For each dialogue the reply that was given stands among replies drawn from the same data, all different. They are ranked
by the mean log p of their tokens, the end counted, given the dialogue; of equal ones the given reply comes last.

    recall@k   share of dialogues whose given reply is among the first k

Source: Lowe et al., arXiv:1506.08909 (recall at k of a next utterance among candidates).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gatework.text.pairs import Pair

CANDIDATES = 20
"""Replies to choose from, the given one among them."""
DIALOGUES = 500
"""Most dialogues that are looked at: drawn where there are more."""
TOP = (1, 2, 5, 10)
TOGETHER = 64
"""Dialogues scored at once."""


def recall(model: Any, pairs: Sequence[Pair], candidates: int | None = None, *, seed: int = 0) -> dict[str, Any]:
    """{"recall": {"recall@1", ..., "candidates", "n"}}, with those k that are below the number of candidates.

    Args:
        model: a loaded model.
        pairs: dialogues and the replies that were given.
        candidates: replies to choose from, at least 2. None: CANDIDATES, or nothing at all where there are not as many.
        seed: of the draws.
    Raises: ConfigError: fewer than two candidates. DataError: there are not as many different replies.
    """
    replies = list(dict.fromkeys(pair.target for pair in pairs))
    if candidates is None:
        if len(replies) < CANDIDATES:
            return {}
        candidates = CANDIDATES
    if type(candidates) is not int or candidates < 2:
        raise ConfigError(f"candidates must be a whole number from 2 on, or 0 for no choice, got {candidates!r:.40}.")
    if len(replies) < candidates:
        raise DataError(f"{len(replies)} different replies are too few for {candidates} candidates. Ask for fewer.")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(pairs))[:DIALOGUES]).tolist()
    ranks: list[int] = []
    for first in range(0, len(chosen), TOGETHER):
        some = [pairs[place] for place in chosen[first : first + TOGETHER]]
        asked = [
            (pair.source, reply) for pair in some for reply in (pair.target, *_others(pair, replies, candidates, rng))
        ]
        scored = model.score(asked)
        means = np.array([one.log_p / one.tokens for one in scored]).reshape(len(some), candidates)
        ranks += (means[:, 1:] >= means[:, :1]).sum(axis=1).tolist()
    found: dict[str, Any] = {f"recall@{k}": float(np.mean(np.array(ranks) < k)) for k in TOP if k < candidates}
    return {"recall": {**found, "candidates": candidates, "n": len(ranks)}}


def _others(pair: Pair, replies: Sequence[str], candidates: int, rng: np.random.Generator) -> list[str]:
    """Replies that were not given here, all different."""
    drawn = rng.choice(len(replies), size=candidates, replace=False).tolist()
    return [replies[one] for one in drawn if replies[one] != pair.target][: candidates - 1]
