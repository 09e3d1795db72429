"""Linear-chain conditional random fields over ragged batches: the compiled kernels, or the definition with NumPy.

    scores = Scores(transitions_KK, start_K, end_K)
    tags, best_B = viterbi(emissions, lengths_B, scores)
    nll_B, gradients = nll_and_gradients(emissions, tags, lengths_B, scores)

`crf_definition` has the equations and their sources. Everything is float32. Emissions are (T, B, K), any strides, or
(N, K): the data of a torch PackedSequence (time-major rows, lengths falling, N their sum). What lies past a length is
not read. Tags, and results that go by token, have the same leading dimensions, zero past each length.

T time, B sequences, K tags, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import Constraints
from gatework.kernels import crf_definition as definition
from gatework.kernels import dispatch
from gatework.kernels.crf_definition import Scores

__all__ = [
    "BestPath",
    "Constraints",
    "Gradients",
    "PathShares",
    "Scores",
    "best_path",
    "constrain",
    "log_partition",
    "marginals",
    "n_best",
    "nll",
    "nll_and_gradients",
    "path_marginals",
    "viterbi",
]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


class Gradients(NamedTuple):
    """Derivatives of the weighted sum of nll over the batch."""

    emissions: Float32
    """Placed as the emissions are."""
    transitions_KK: Float32
    start_K: Float32
    end_K: Float32


def constrain(scores: Scores, allowed: Constraints) -> Scores:
    """The scores with -inf for whatever is not allowed."""
    parts = (np.where(mask, part, np.float32(-np.inf)) for part, mask in zip(scores, allowed, strict=True))
    return Scores(*(part.astype(np.float32) for part in parts))


def nll(emissions: Any, tags: Any, lengths_B: Any, scores: Scores, *, level: str | None = None) -> Float32:
    """log Z minus the score of each sequence's path `tags`: (B,).

    A tag of -1 is unknown: then it is log Z minus the log of what all paths that agree with the known tags weigh.
    A forbidden path has nll inf. Where no path at all is allowed, or a score is NaN or +inf, nll is NaN.
    Raises: DataError: shapes, lengths or tags do not fit.
    """
    call = _Call(emissions, lengths_B, scores, level)
    gold, held = _known(call, tags)
    if held is None:
        return _forward(call, gold)
    return _minus(_forward(call, None), _forward(held, None))


def log_partition(emissions: Any, lengths_B: Any, scores: Scores, *, level: str | None = None) -> Float32:
    """log Z of each sequence: (B,); 0 for a sequence without tokens, -inf where no path is allowed."""
    return _forward(_Call(emissions, lengths_B, scores, level), None)


def nll_and_gradients(
    emissions: Any,
    tags: Any,
    lengths_B: Any,
    scores: Scores,
    *,
    weights_B: Any = None,
    level: str | None = None,
) -> tuple[Float32, Gradients]:
    """`nll` of each sequence, unweighted, and the gradients of sum(weights_B * nll_B), weights 1 unless given.

    The same bits whatever the number of threads; a sequence's own rows have the same bits alone as in any batch, at one
    level. A score of -inf has gradient 0 in the transitions, in start and in end.
    Raises: DataError: shapes, lengths or tags do not fit.
    """
    call = _Call(emissions, lengths_B, scores, level)
    gold, held = _known(call, tags)
    if held is None:
        return _forward_backward(call, gold, weights_B)
    all_B, gradients = _forward_backward(call, None, weights_B)
    held_B, fewer = _forward_backward(held, None, weights_B)
    for part, less in zip(gradients, fewer, strict=True):
        part -= less
    return _minus(all_B, held_B), gradients


class PathShares(NamedTuple):
    """What `path_marginals` says of a path for each sequence."""

    nll_B: Float32
    """Minus its log-probability."""
    p: Float32
    """P(its tag) at each token, placed like the tags, zero past each length."""
    step: Float32
    """P(its tag | its tag before), and at the first token P(its tag)."""


def path_marginals(
    emissions: Any, tags: Any, lengths_B: Any, scores: Scores, *, level: str | None = None
) -> PathShares:
    """How probable paths are, token by token: P(y_s..y_e) = p[s] * step[s + 1] * ... * step[e], exactly.

    A step from a tag of probability 0 is 0. NaN where no path is allowed.
    Raises: DataError: shapes, lengths or tags do not fit.
    """
    call = _Call(emissions, lengths_B, scores, level)
    path = call.tags(tags)
    shares = PathShares(np.empty(call.batch, dtype=np.float32), *(np.empty(path.shape, np.float32) for _ in range(2)))
    if call.native is not None:
        call.compiled(call.native.path_marginals, call.level, *call.arrays, path, *shares)
        return shares
    shares.p[:], shares.step[:] = 0.0, 0.0
    for b, rows in call.sequences():
        e_LK, tags_L = call.emissions[rows], path[rows]
        shares.nll_B[b] = _minus_gold(call, definition.log_partition(e_LK, call.scores), rows, tags_L)
        shares.p[rows], shares.step[rows] = definition.path_shares(e_LK, call.scores, tags_L)
    return shares


class BestPath(NamedTuple):
    """What `best_path` finds: `viterbi` and `path_marginals` of it. By token, batch-first in memory."""

    tags: Int64
    scores_B: Float32
    shares: PathShares


def best_path(emissions: Any, lengths_B: Any, scores: Scores, *, level: str | None = None) -> BestPath:
    """The best path of each sequence and how probable it is, in one call. See `viterbi` and `path_marginals`."""
    call = _Call(emissions, lengths_B, scores, level)
    if call.native is None:
        tags, best_B = viterbi(emissions, lengths_B, scores, level=level)
        return BestPath(tags, best_B, path_marginals(emissions, tags, lengths_B, scores, level=level))
    shape, batch = call.emissions.shape[-2::-1], call.batch  # (B, T), or (N,)
    tags, best_B, nll_B = np.empty(shape, np.int64).T, np.empty(batch, np.float32), np.empty(batch, np.float32)
    p, step = np.empty(shape, np.float32).T, np.empty(shape, np.float32).T
    call.compiled(call.native.best_path, call.level, *call.arrays, tags, best_B, nll_B, p, step)
    return BestPath(tags, best_B, PathShares(nll_B, p, step))


def marginals(emissions: Any, lengths_B: Any, scores: Scores, *, level: str | None = None) -> Float32:
    """P(tag of each token = k), shaped like the emissions; NaN where no path is allowed."""
    return _forward_backward(_Call(emissions, lengths_B, scores, level), None, None)[1].emissions


def viterbi(emissions: Any, lengths_B: Any, scores: Scores, *, level: str | None = None) -> tuple[Int64, Float32]:
    """The best path of each sequence and its score, (B,).

    Of paths of equal score the one whose last tag is lowest, then the one before, and so on. All levels agree in every
    bit. Where no path is allowed the score is -inf; with NaN or +inf among a sequence's scores it is NaN, tags 0.
    """
    call = _Call(emissions, lengths_B, scores, level)
    tags = np.empty(call.emissions.shape[:-1], dtype=np.int64)
    best_B = np.empty(call.batch, dtype=np.float32)
    if call.native is not None:
        call.compiled(call.native.viterbi, call.level, *call.arrays, tags, best_B)
        return tags, best_B
    tags[:] = 0
    for b, rows in call.sequences():
        tags[rows], best = definition.viterbi(call.emissions[rows], call.scores)
        with np.errstate(over="ignore"):
            best_B[b] = best
    return tags, best_B


def n_best(
    emissions: Any, lengths_B: Any, scores: Scores, n: int, *, level: str | None = None
) -> tuple[Int64, Float32]:
    """The n paths of highest score, best first: tags (n, T, B) or (n, N), and scores (B, n).

    Ties as in `viterbi`. A sequence with fewer than n paths that are allowed has score -inf and tags 0 for the rest.
    """
    if n < 1:
        raise ConfigError(f"n must be at least 1, got {n}.")
    call = _Call(emissions, lengths_B, scores, level)
    best_Bn = np.full((call.batch, n), -np.inf, dtype=np.float32)
    tags = np.zeros((n, *call.emissions.shape[:-1]), dtype=np.int64)
    if call.native is not None:
        call.compiled(call.native.n_best, *call.arrays, tags, best_Bn)
        return tags, best_Bn
    for b, rows in call.sequences():
        for place, (score, path) in enumerate(definition.n_best(call.emissions[rows], call.scores, n)):
            best_Bn[b, place], tags[place][rows] = score, path
    return tags, best_Bn


class _Call:
    """The arrays of a call, checked and as float32, and the engine."""

    def __init__(self, emissions: Any, lengths_B: Any, scores: Scores, level: str | None) -> None:
        self.level = dispatch.level() if level is None else dispatch.check_level(level)
        self.native = None if self.level == dispatch.NUMPY else dispatch.extension().crf
        array = np.asarray(emissions, dtype=np.float32)
        if array.ndim and array.strides[-1] != 4:
            array = np.ascontiguousarray(array)
        self.emissions = array
        self.lengths = np.ascontiguousarray(lengths_B, dtype=np.int64)
        self.scores = Scores(*(np.ascontiguousarray(part, dtype=np.float32) for part in scores))
        self.arrays = (self.emissions, self.lengths, *self.scores)
        self.batch = len(self.lengths) if self.lengths.ndim == 1 else 0
        if self.native is None or array.ndim not in (2, 3):
            self.check()

    def compiled(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Call a kernel, which checks everything itself, and say in our words what it did not like."""
        try:
            kernel(*arguments)
        except (ValueError, TypeError) as error:
            self.check()
            raise _cannot(self, error) from None

    def check(self) -> None:
        """Raises: DataError: shapes or lengths do not fit."""
        lengths, shape = self.lengths, self.emissions.shape
        if len(shape) not in (2, 3):
            raise DataError(f"emissions have shape {shape}, expected (T, B, K) or (N, K).")
        tags, packed = shape[-1], len(shape) == 2
        for name, part, want in zip(Scores._fields, self.scores, [(tags, tags), (tags,), (tags,)], strict=True):
            if part.shape != want or not tags:
                raise DataError(f"{name} has shape {part.shape}, but the emissions have {tags} tags: expected {want}.")
        good = lengths.ndim == 1 and (packed or self.batch == shape[1])
        good = good and not (lengths < 0).any() and not (lengths > shape[0]).any()
        if good and packed:
            good = int(lengths.sum()) == shape[0] and not (lengths[1:] > lengths[:-1]).any()
        if not good:
            rule = "falling lengths that add up to N" if packed else "one length a sequence, each from 0 to T"
            raise DataError(f"lengths_B {lengths.tolist()[:8]} do not fit emissions of shape {shape}: expected {rule}.")

    def tags(self, tags: Any) -> Int64:
        """Gold tags as int64, checked."""
        array = np.asarray(tags)
        if array.shape != self.emissions.shape[:-1] or array.dtype.kind not in "iu":
            raise DataError(
                f"tags have shape {array.shape} and type {array.dtype}, expected integers {self.emissions.shape[:-1]}."
            )
        return array.astype(np.int64, copy=False)

    def sequences(self) -> Iterator[tuple[int, Any]]:
        """Each sequence and the index of its rows."""
        running = [int((self.lengths > t).sum()) for t in range(self.lengths.max(initial=0))]
        starts = np.cumsum([0, *running])
        for b, length in enumerate(self.lengths.tolist()):
            yield b, (starts[:length] + b if self.emissions.ndim == 2 else (slice(length), b))


def _placed_like(emissions: Float32) -> Float32:
    """An array for gradients, batch-first where the emissions are, of memory used before: fresh pages cost a lot."""
    array: Float32 = dispatch.extension().buffer(emissions.size)
    if emissions.ndim == 3 and emissions.strides[1] > emissions.strides[0]:
        return array.reshape(emissions.shape[1], emissions.shape[0], -1).swapaxes(0, 1)
    return array.reshape(emissions.shape)


def _cannot(call: _Call, error: Exception) -> DataError:
    return DataError(f"a CRF of {call.emissions.shape[-1]} tags cannot take this: {error}.")


def _known(call: _Call, tags: Any) -> tuple[Int64, _Call | None]:
    """The gold tags; and, where some are unknown, the same call with emissions that allow nothing but the known."""
    gold = call.tags(tags)
    if not gold.size or gold.min() >= 0:
        return gold, None
    call.check()
    live = np.zeros(gold.shape, dtype=bool)
    for _, rows in call.sequences():
        live[rows] = True
    gold, count = np.where(live, gold, 0), call.emissions.shape[-1]
    if (gold < -1).any() or (gold >= count).any():
        raise _cannot(call, ValueError("a tag is below -1 or not below the number of tags"))
    unknown = gold[..., None] == -1
    if not unknown.any():
        return gold, None
    allowed = unknown | (gold[..., None] == np.arange(count))
    held = np.where(allowed, call.emissions, np.float32(-np.inf))
    return gold, _Call(held, call.lengths, call.scores, call.level)


def _minus(all_B: Float32, held_B: Float32) -> Float32:
    """log Z less its part; NaN where nothing is allowed at all."""
    with np.errstate(invalid="ignore"):
        return all_B - held_B


def _forward(call: _Call, gold: Int64 | None) -> Float32:
    nll_B = np.empty(call.batch, dtype=np.float32)
    if call.native is not None:
        none = (None,) * 4
        call.compiled(call.native.forward_backward, call.level, *call.arrays, gold, None, nll_B, *none)
        return nll_B
    for b, rows in call.sequences():
        log_z = definition.log_partition(call.emissions[rows], call.scores)
        nll_B[b] = log_z if gold is None else _minus_gold(call, log_z, rows, gold[rows])
    return nll_B


def _forward_backward(call: _Call, gold: Int64 | None, weights_B: Any) -> tuple[Float32, Gradients]:
    weights = None if weights_B is None else np.ascontiguousarray(weights_B, dtype=np.float32)
    if weights is not None and weights.shape != (call.batch,):
        raise DataError(f"weights_B has shape {weights.shape}, expected {(call.batch,)}: one weight a sequence.")
    nll_B = np.empty(call.batch, dtype=np.float32)
    if call.native is not None:
        gradients = Gradients(_placed_like(call.emissions), *(np.empty_like(part) for part in call.scores))
        call.compiled(call.native.forward_backward, call.level, *call.arrays, gold, weights, nll_B, *gradients)
        return nll_B, gradients
    sums = [np.zeros(part.shape) for part in (call.emissions, *call.scores)]
    for b, rows in call.sequences():
        log_z, p_LK, moves_KK = definition.expectations(call.emissions[rows], call.scores)
        nll_B[b] = log_z
        if gold is not None:
            tags_L = gold[rows]
            nll_B[b] = _minus_gold(call, log_z, rows, tags_L)
            p_LK[np.arange(len(p_LK)), tags_L] -= 1.0
            np.subtract.at(moves_KK, (tags_L[:-1], tags_L[1:]), 1.0)
        weight = 1.0 if weights is None else float(weights[b])
        sums[0][rows] = weight * p_LK
        sums[1] += weight * moves_KK
        if len(p_LK):
            sums[2] += weight * p_LK[0]
            sums[3] += weight * p_LK[-1]
    for total, part in zip(sums[1:], call.scores, strict=True):
        total[part == -np.inf] = 0.0
    return nll_B, Gradients(*(total.astype(np.float32) for total in sums))


def _minus_gold(call: _Call, log_z: float, rows: Any, tags_L: Int64) -> float:
    if (tags_L < 0).any() or (tags_L >= call.emissions.shape[-1]).any():
        raise _cannot(call, ValueError("a tag is below 0 or not below the number of tags"))
    gold = definition.score(call.emissions[rows], call.scores, tags_L)
    return log_z - gold if log_z > -np.inf else np.nan
