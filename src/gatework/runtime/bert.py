"""The hidden layers of a BERT in NumPy: rows of pieces in, vectors of tokens out.

    x = norm(words[piece] + positions[place])                                  layer 0 (lifted where e is not H)
    a = norm(x + output(sum_k softmax_k(q . k / sqrt(d)) v));   x' = norm(a + outer(gelu(inner(a))))   layer i + 1
    token = gamma sum_l softmax(mix)_l x_l        over the chosen layers, of its first piece or the mean of its pieces

Rows are packed without padding, those of equal length together: the products are over all pieces at once, attention
goes length by length. Products are BLAS; what stands between them is done in blocks that stay in the cache.

R rows, P pieces of the longest, N tokens, L chosen layers, Q packed pieces, H width, A heads, d = H / A, I inner width.
Sources: Devlin et al., arXiv:1810.04805; the mix: Peters et al., arXiv:1802.05365.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.architecture import Bert
from gatework.core.batch import PieceBatch
from gatework.core.errors import BundleError

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]

GROUP_PIECES = 2048
"""Packed pieces that go through the layers at once; bounds the memory of an answer."""
BLOCK = 1 << 15
"""Numbers an activation works on at once."""


class _Layer(NamedTuple):
    """Weights of a layer; the query's are divided by sqrt(d)."""

    attention_w: Float32
    attention_b: Float32
    output_w: Float32
    output_b: Float32
    output_gain: Float32
    output_shift: Float32
    inner_w: Float32
    inner_b: Float32
    outer_w: Float32
    outer_b: Float32
    outer_gain: Float32
    outer_shift: Float32


class _Group(NamedTuple):
    """Rows that go through the layers together, packed."""

    ids_Q: IntArray
    places_Q: IntArray
    runs: list[tuple[int, int, int]]
    """Rows of equal length: where they begin, how many, how long."""
    tokens_n: IntArray
    """Which tokens of the batch stand in these rows."""
    begin_n: IntArray
    """Where their pieces begin, packed."""
    count_n: IntArray


class BertEncoder:
    """A BERT with its weights in memory."""

    def __init__(
        self,
        settings: Bert,
        words: Callable[[IntArray], Float32],
        weights: Callable[[str], Float32],
        *,
        source: str,
    ) -> None:
        """
        Args:
            settings: sizes.
            words: vectors of pieces by id, (..., e); a table that stays in a mapped file, say.
            weights: float32 weights by name, see `core.bert_folder`.
            source: where they come from, for errors.
        """
        self.settings = settings
        self._words = words
        self._source = source
        self._positions = weights("bert.positions.weight")
        self._norm = weights("bert.words.norm.gain"), weights("bert.words.norm.shift")
        self._lift = None
        if settings.embedding != settings.width:
            self._lift = weights("bert.lift.weight"), weights("bert.lift.bias")
        self._layers = [self._layer(index, weights) for index in range(settings.layers)]

    @classmethod
    def of(cls, settings: Bert, weights: Mapping[str, Any], *, source: str) -> BertEncoder:
        """From arrays by name."""
        words: Float32 = weights["bert.words.weight"]
        return cls(settings, lambda ids: words[ids], lambda name: weights[name], source=source)

    def hidden(self, batch: PieceBatch) -> Float32:
        """Vectors of the chosen layers of every token, (N, L, H)."""
        chosen = self.settings.chosen
        found_NLH = np.empty((len(batch.row_N), len(chosen), self.settings.width), dtype=np.float32)
        for tokens_n, layer, vectors_nH in self._run(batch):
            found_NLH[tokens_n, layer] = vectors_nH
        return found_NLH

    def mixed(self, batch: PieceBatch, weights_L: Float32) -> Float32:
        """The chosen layers of every token, summed with these weights, (N, H)."""
        found_NH = np.zeros((len(batch.row_N), self.settings.width), dtype=np.float32)
        for tokens_n, layer, vectors_nH in self._run(batch):
            vectors_nH *= weights_L[layer]
            found_NH[tokens_n] += vectors_nH
        return found_NH

    def _run(self, batch: PieceBatch) -> Iterator[tuple[IntArray, int, Float32]]:
        """Tokens, the place of a chosen layer, and their vectors in it; all layers of a group of rows in turn."""
        chosen = {layer: place for place, layer in enumerate(self.settings.chosen)}
        for group in _groups(batch):
            x_QH = self._read(group)
            for depth in range(self.settings.layers + 1):
                if depth:
                    x_QH = self._through(self._layers[depth - 1], x_QH, group.runs)
                if depth in chosen:
                    yield group.tokens_n, chosen[depth], self._pooled(x_QH, group)

    def _read(self, group: _Group) -> Float32:
        """Layer 0."""
        try:
            x_Qe = self._words(group.ids_Q) + self._positions[group.places_Q]
        except IndexError:
            raise BundleError(
                f"{self._source}: a piece or a position beyond the BERT's tables. Tokenizer and weights are of "
                "different models: export the model again."
            ) from None
        x_Qe = _normed(x_Qe, *self._norm, self.settings.epsilon)
        if self._lift is None:
            return x_Qe
        x_QH: Float32 = x_Qe @ self._lift[0].T
        x_QH += self._lift[1]
        return x_QH

    def _through(self, p: _Layer, x_QH: Float32, runs: list[tuple[int, int, int]]) -> Float32:
        """One layer."""
        qkv_Q3H = x_QH @ p.attention_w.T
        qkv_Q3H += p.attention_b
        a_QH: Float32 = self._attend(qkv_Q3H, runs) @ p.output_w.T
        a_QH += p.output_b
        a_QH += x_QH
        a_QH = _normed(a_QH, p.output_gain, p.output_shift, self.settings.epsilon)
        inner_QI: Float32 = a_QH @ p.inner_w.T
        inner_QI += p.inner_b
        ACTIVATIONS[self.settings.activation](inner_QI)
        y_QH: Float32 = inner_QI @ p.outer_w.T
        y_QH += p.outer_b
        y_QH += a_QH
        return _normed(y_QH, p.outer_gain, p.outer_shift, self.settings.epsilon)

    def _attend(self, qkv_Q3H: Float32, runs: list[tuple[int, int, int]]) -> Float32:
        """What each piece gathers from the pieces of its row."""
        heads = self.settings.heads
        out_QH = np.empty((len(qkv_Q3H), self.settings.width), dtype=np.float32)
        for start, rows, length in runs:
            stop = start + rows * length
            q, k, v = qkv_Q3H[start:stop].reshape(rows, length, 3, heads, -1).transpose(2, 0, 3, 1, 4)
            scores_RAPP = q @ k.swapaxes(2, 3)
            scores_RAPP -= scores_RAPP.max(axis=3, keepdims=True)
            np.exp(scores_RAPP, out=scores_RAPP)
            sums_RAP1 = scores_RAPP.sum(axis=3, keepdims=True)
            y_RAPd = scores_RAPP @ v
            y_RAPd /= sums_RAP1
            out_QH[start:stop].reshape(rows, length, heads, -1)[...] = y_RAPd.swapaxes(1, 2)
        return out_QH

    def _pooled(self, x_QH: Float32, group: _Group) -> Float32:
        """A vector for each token: of its first piece, or the mean of its pieces."""
        found_nH = x_QH[group.begin_n]
        if self.settings.pieces == "mean":
            count_n = group.count_n
            for piece in range(1, int(count_n.max(initial=1))):
                longer = (count_n > piece).nonzero()[0]
                found_nH[longer] += x_QH[group.begin_n[longer] + piece]
            found_nH /= count_n[:, None].astype(np.float32)
        return found_nH

    def _layer(self, index: int, weights: Callable[[str], Float32]) -> _Layer:
        def pair(name: str, ends: tuple[str, str] = ("weight", "bias")) -> list[Float32]:
            return [weights(f"bert.{index}.{name}.{end}") for end in ends]

        attention_w, attention_b = pair("attention")
        scale = np.ones(3 * self.settings.width, dtype=np.float32)
        scale[: self.settings.width] = 1.0 / math.sqrt(self.settings.width // self.settings.heads)
        return _Layer(
            attention_w * scale[:, None],
            attention_b * scale,
            *pair("output"),
            *pair("output.norm", ("gain", "shift")),
            *pair("inner"),
            *pair("outer"),
            *pair("outer.norm", ("gain", "shift")),
        )


def mix_weights(scores_L: Float32, gamma_1: Float32) -> Float32:
    """gamma softmax(scores), (L,)."""
    powers_L = np.exp(scores_L - scores_L.max())
    weights_L: Float32 = (gamma_1 * powers_L / powers_L.sum()).astype(np.float32)
    return weights_L


def _groups(batch: PieceBatch) -> Iterator[_Group]:
    """Rows in the order of their lengths, GROUP_PIECES or one row at a time."""
    order_R = np.argsort(batch.lengths_R, kind="stable")
    ends_R = np.cumsum(batch.lengths_R[order_R])
    tokens_N = np.argsort(batch.row_N, kind="stable")
    begins_R = np.searchsorted(batch.row_N[tokens_N], np.arange(len(order_R) + 1))
    start = 0
    while start < len(order_R):
        before = int(ends_R[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends_R, before + GROUP_PIECES, side="right")))
        yield _group(batch, order_R[start:stop], tokens_N, begins_R)
        start = stop


def _group(batch: PieceBatch, rows_r: IntArray, tokens_N: IntArray, begins_R: IntArray) -> _Group:
    lengths_r = batch.lengths_R[rows_r]
    starts_r = np.cumsum(lengths_r) - lengths_r
    places_Q = np.arange(int(lengths_r.sum())) - np.repeat(starts_r, lengths_r)
    kinds, firsts, counts = np.unique(lengths_r, return_index=True, return_counts=True)
    runs = [(int(starts_r[first]), int(count), int(length))
            for length, first, count in zip(kinds, firsts, counts, strict=True)]  # fmt: skip
    own = [tokens_N[begins_R[row] : begins_R[row + 1]] for row in rows_r.tolist()]
    tokens_n = np.concatenate([*own, np.empty(0, dtype=np.int64)])
    shift_n = np.repeat(starts_r, list(map(len, own)))
    begin_n = batch.begin_N[tokens_n]
    return _Group(
        batch.ids_RP[np.repeat(rows_r, lengths_r), places_Q],
        places_Q,
        runs,
        tokens_n,
        begin_n + shift_n,
        batch.end_N[tokens_n] - begin_n,
    )


def _normed(x_QH: Float32, gain_H: Float32, shift_H: Float32, epsilon: float) -> Float32:
    """Layer norm, in place."""
    width = np.float32(x_QH.shape[1])
    x_QH -= (x_QH.sum(axis=1) / width)[:, None]
    variance_Q = np.einsum("qh,qh->q", x_QH, x_QH) / width
    x_QH *= (1.0 / np.sqrt(variance_Q + np.float32(epsilon)))[:, None]
    x_QH *= gain_H
    x_QH += shift_H
    return x_QH


def _in_blocks(function: Callable[[Float32], None]) -> Callable[[Float32], None]:
    """`function`, which changes an array in place, on parts of it that stay in the cache."""

    def whole(x: Float32) -> None:
        flat = x.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            function(flat[start : start + BLOCK])

    return whole


_P = np.float32(0.3275911 / math.sqrt(2.0))
_POWERS = tuple(
    map(np.float32, (1.061405429 / 2, -1.453152027 / 2, 1.421413741 / 2, -0.284496736 / 2, 0.254829592 / 2))
)


@_in_blocks
def _gelu(x: Float32) -> None:
    """x Phi(x), Phi the normal distribution, within 2e-7 of |x|.

    Phi(-|x|) = exp(-x^2 / 2) (a1 t + ... + a5 t^5) / 2,  t = 1 / (1 + p |x| / sqrt 2)
    (Abramowitz and Stegun, 7.1.26). As x Phi(x) = max(x, 0) - |x| Phi(-|x|), no sign is needed.
    """
    size = np.abs(x)
    t = size * _P
    t += np.float32(1.0)
    np.reciprocal(t, out=t)
    tail = t * _POWERS[0]
    for power in _POWERS[1:]:
        tail += power
        tail *= t
    np.multiply(size, size, out=t)
    t *= np.float32(-0.5)
    np.exp(t, out=t)
    tail *= t
    tail *= size
    np.maximum(x, np.float32(0.0), out=x)
    x -= tail


@_in_blocks
def _gelu_tanh(x: Float32) -> None:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    y = x * x
    y *= np.float32(0.044715 * math.sqrt(2.0 / math.pi))
    y += np.float32(math.sqrt(2.0 / math.pi))
    y *= x
    np.tanh(y, out=y)
    y += np.float32(1.0)
    y *= np.float32(0.5)
    x *= y


@_in_blocks
def _relu(x: Float32) -> None:
    np.maximum(x, np.float32(0.0), out=x)


ACTIVATIONS: Mapping[str, Callable[[Float32], None]] = {"gelu": _gelu, "gelu_tanh": _gelu_tanh, "relu": _relu}
"""In place."""
