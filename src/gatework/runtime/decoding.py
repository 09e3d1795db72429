"""From emissions to tag paths: Viterbi, the n best, and how probable they are, all on `kernels.crf`.

    p(path) = exp(score(path) - log Z)

A layer with a softmax is a chain whose moves all score 0, so that its tags too are the best among those that the tag
scheme allows, and its probabilities those given that.

T time, B sequences, C tags, N paths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gatework.core.paths import TagPaths
from gatework.core.tag_scheme import Constraints
from gatework.core.tensors import TensorFile
from gatework.kernels import crf
from gatework.runtime.shapes import layer_names
from gatework.runtime.tables import dense

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def layer_scores(weights: TensorFile, layer: int, tags: int, decoder: str, allowed: Constraints | None) -> crf.Scores:
    """What a tag layer's chain scores, -inf where the scheme forbids."""
    if decoder == "crf":
        name = layer_names(layer)[1]
        scores = crf.Scores(*(dense(weights, name + part) for part in ("transitions", "start", "end")))
    else:
        scores = crf.Scores(*(np.zeros(shape, dtype=np.float32) for shape in ((tags, tags), (tags,), (tags,))))
    return scores if allowed is None else crf.constrain(scores, allowed)


def paths_of(
    emissions_TBC: Float32,
    lengths_B: Int64,
    scores: crf.Scores,
    *,
    paths: int = 1,
    allowed: Sequence[Bools | None] | None = None,
) -> list[TagPaths]:
    """The best paths of each sequence, at most `paths` of them.

    Args:
        emissions_TBC: what lies past a length is not read.
        lengths_B: at least 1 each.
        scores: of the chain.
        paths: how many.
        allowed: for each sequence which tags its tokens may have, (T, C), or None for all.
    """
    if allowed is not None and any(mask is not None for mask in allowed):
        emissions_TBC = _held(emissions_TBC, allowed)
    if paths == 1:
        tags_TB, best_B, shares = crf.best_path(emissions_TBC, lengths_B, scores)
        if not (best_B > -np.inf).all():
            _clear(shares, best_B)
        tags_BT, p_BT, step_BT = tags_TB.T.astype(np.int32), shares.p.T, shares.step.T
        log_p_B1 = -shares.nll_B[:, None].astype(np.float64)
        return [
            TagPaths(tags_BT[b : b + 1, :length], log_p_B1[b], p_BT[b, :length], step_BT[b, :length])
            for b, length in enumerate(lengths_B.tolist())
        ]
    tags_NTB, score_BN = crf.n_best(emissions_TBC, lengths_B, scores, paths)
    shares = crf.path_marginals(emissions_TBC, tags_NTB[0], lengths_B, scores)
    possible_BN = score_BN > -np.inf
    if not possible_BN[:, 0].all():
        _clear(shares, score_BN[:, 0])
    first_B1 = np.where(possible_BN[:, :1], score_BN[:, :1], 0.0)
    log_p_BN = np.where(possible_BN, score_BN, first_B1).astype(np.float64) - first_B1 - shares.nll_B[:, None]
    tags_BNT = np.ascontiguousarray(tags_NTB.transpose(2, 0, 1), dtype=np.int32)
    counts_B = np.maximum(possible_BN.sum(axis=1), 1).tolist()
    return [
        TagPaths(tags_BNT[b, :count, :length], log_p_BN[b, :count], shares.p[:length, b], shares.step[:length, b])
        for b, (length, count) in enumerate(zip(lengths_B.tolist(), counts_B, strict=True))
    ]


def _clear(shares: crf.PathShares, best_B: Float32) -> None:
    """Zero probability for sequences of which no path is allowed."""
    none_B = ~(best_B > -np.inf)
    shares.p[:, none_B] = shares.step[:, none_B] = 0.0
    shares.nll_B[none_B] = np.inf


def _held(emissions_TBC: Float32, allowed: Sequence[Bools | None]) -> Float32:
    """The emissions with -inf for tags that are not allowed."""
    held_TBC = np.array(emissions_TBC, dtype=np.float32)
    for b, mask_TC in enumerate(allowed):
        if mask_TC is not None:
            held_TBC[: len(mask_TC), b][~mask_TC] = -np.inf
    return held_TBC
