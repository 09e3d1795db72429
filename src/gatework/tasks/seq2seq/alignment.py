"""What tokens are translated to, learnt from pairs alone: IBM model 1.

    p(target | source) = prod over j of  mean over i of t(target_j | source_i)        source_0 is none

EM: each token of a target is shared out among those of its source as t says, and t is what the shares add up to. Three
or four rounds suffice to tell a translation from what merely stands beside it; nothing of the order is learnt.

L links, one for each pair of a source's and a target's token; U different ones.

Source: Brown et al., "The mathematics of statistical machine translation", Computational Linguistics 19(2), 1993.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.tasks.seq2seq.shortlist import Shortlist

IntArray = npt.NDArray[np.integer]
ROUNDS = 4
MOST_LINKS = 1 << 23
"""Links that are learnt from: about 40,000 pairs of sentences. What comes after them is counted, not aligned."""
LEAST = 1e-3
"""A translation that is less likely is none."""


def shortlist(
    pairs: Iterable[tuple[IntArray, IntArray]], vocabulary: int, outputs: int, *, frequent: int, each: int
) -> Shortlist:
    """The list of training pairs.

    Args:
        pairs: ids of sources and targets, ends and all.
        vocabulary, outputs: ids of either side.
        frequent, each: F and K.
    """
    counts_V = np.zeros(outputs, dtype=np.int64)
    links: list[Any] = []  # source x outputs + target
    targets: list[Any] = []  # which target token a link is of, counted through
    total = tokens = 0
    for source, target in pairs:
        counts_V += np.bincount(target, minlength=outputs)
        if total >= MOST_LINKS or not len(target):
            continue
        from_S = np.append(source.astype(np.int64), 0)
        links.append((from_S[:, None] * outputs + target).ravel())
        targets.append(np.tile(np.arange(tokens, tokens + len(target)), len(from_S)))
        tokens += len(target)
        total += len(links[-1])
    frequent_F = np.argsort(-counts_V, kind="stable")[:frequent]
    table_VK = np.zeros((vocabulary, each), dtype=np.int64)
    if links:
        _fill(table_VK, *_translations(np.concatenate(links), np.concatenate(targets), vocabulary, outputs))
    return Shortlist(np.sort(frequent_F[counts_V[frequent_F] > 0]), table_VK)


def _translations(links_L: Any, target_L: Any, vocabulary: int, outputs: int) -> tuple[Any, Any, Any]:
    """Source, target and t of each different link."""
    keys_U, place_L = np.unique(links_L, return_inverse=True)
    source_U = keys_U // outputs
    t_U: Any = np.ones(len(keys_U))
    for _ in range(ROUNDS):
        share_L = t_U[place_L]
        share_L /= np.bincount(target_L, share_L)[target_L]
        t_U = np.bincount(place_L, share_L, minlength=len(keys_U))
        t_U /= np.bincount(source_U, t_U, minlength=vocabulary)[source_U]
    return source_U, keys_U % outputs, t_U


def _fill(table_VK: Any, source_U: Any, target_U: Any, t_U: Any) -> None:
    """The likeliest targets of each source, the first best."""
    good_U = (t_U >= LEAST) & (source_U > 0)
    source_U, target_U, t_U = source_U[good_U], target_U[good_U], t_U[good_U]
    order_U = np.lexsort((target_U, -t_U, source_U))
    source_U, target_U = source_U[order_U], target_U[order_U]
    first_U = np.searchsorted(source_U, source_U)  # where its source begins
    rank_U = np.arange(len(source_U)) - first_U
    kept_U = rank_U < table_VK.shape[1]
    table_VK[source_U[kept_U], rank_U[kept_U]] = target_U[kept_U]
