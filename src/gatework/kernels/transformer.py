"""Transformer layers with NumPy, by the equations of `core.transformer`.

N rows of tokens, T tokens of a row, U of all, S places they look at, d units, A heads, k = d / A, I inner width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.transformer import EPSILON
from gatework.kernels import dispatch
from gatework.kernels.layer import Float32
from gatework.kernels.product import plain, product

LARGE = 1 << 22
"""Weights of attention made at once, about: what bounds the memory of long rows, 16 MB."""


class Affine(NamedTuple):
    """W x + b, or gain x + shift."""

    weight: Float32
    bias: Float32

    def __call__(self, x_NTI: Float32) -> Float32:
        y: Float32 = x_NTI @ self.weight.T
        y += self.bias
        return y

    def norm(self, x_NTd: Float32) -> Float32:
        """With a mean of 0 and a variance of 1 before."""
        y_NTd: Float32 = x_NTd - x_NTd.mean(axis=-1, keepdims=True)
        y_NTd /= np.sqrt((y_NTd * y_NTd).mean(axis=-1, keepdims=True) + np.float32(EPSILON))
        y_NTd *= self.weight
        y_NTd += self.bias
        return y_NTd


class Layer(NamedTuple):
    """Weights of a layer, in the order in which they are used; see `core.transformer`."""

    self_norm: Affine
    self_: Affine
    self_output: Affine
    source_norm: Affine | None
    """None of an encoder, as all of the source."""
    source_query: Affine | None
    source_output: Affine | None
    inner_norm: Affine
    inner: Affine
    inner_output: Affine

    @classmethod
    def of(cls, weights: Callable[[str], Float32], name: str, *, looks: bool) -> Layer:
        """Of a bundle's weights by their names, which begin with `name`."""

        def affine(own: str) -> Affine:
            return Affine(weights(f"{name}.{own}.weight"), weights(f"{name}.{own}.bias"))

        def norm(own: str) -> Affine:
            return norm_of(weights, f"{name}.{own}.norm")

        return cls(
            self_norm=norm("self"),
            self_=affine("self"),
            self_output=affine("self.output"),
            source_norm=norm("source") if looks else None,
            source_query=affine("source.query") if looks else None,
            source_output=affine("source.output") if looks else None,
            inner_norm=norm("inner"),
            inner=affine("inner"),
            inner_output=affine("inner.output"),
        )

    def think(self, x_NTd: Float32) -> Float32:
        """x and what the two products beside attention make of it."""
        z_NTI = self.inner(self.inner_norm.norm(x_NTd))
        np.maximum(z_NTI, 0.0, out=z_NTI)
        return x_NTd + self.inner_output(z_NTI)


def norm_of(weights: Callable[[str], Float32], name: str) -> Affine:
    """Gain and shift."""
    return Affine(weights(f"{name}.gain"), weights(f"{name}.shift"))


def positions(first: int, count: int, units: int) -> Float32:
    """P of so many places from `first` on, (T, d)."""
    rates_i = 10000.0 ** (-np.arange(units // 2) / (units // 2))
    angles_Ti = np.arange(first, first + count)[:, None] * rates_i
    return np.concatenate([np.sin(angles_Ti), np.cos(angles_Ti)], axis=1).astype(np.float32)


def placed(x_NTd: Float32, first: int = 0) -> Float32:
    """What layer 0 reads of vectors of tokens, the first one at a place."""
    units = x_NTd.shape[-1]
    return x_NTd * np.float32(units**0.5) + positions(first, x_NTd.shape[-2], units)


def attend(
    q_NTd: Float32, k_NSd: Float32, v_NSd: Float32, heads: int, allowed: npt.NDArray[np.bool_]
) -> tuple[Float32, Float32]:
    """What is seen, (N, T, d), and with which weights, the mean over heads, (N, T, S).

    Args:
        k_NSd, v_NSd: with one row, N = 1, all look at it.
        allowed: (N or 1, T or 1, S), at least one place of each token's.
    """

    def cut(x_NTd: Float32) -> Float32:
        return x_NTd.reshape(*x_NTd.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    rows, tokens, units = q_NTd.shape
    k_NAkS, v_NASk = cut(k_NSd).swapaxes(2, 3), cut(v_NSd)
    scaled_NTd = q_NTd * np.float32((units // heads) ** -0.5)
    y_NTd, a_NTS = np.empty_like(q_NTd), np.empty((rows, tokens, k_NSd.shape[1]), dtype=np.float32)
    some = max(1, LARGE // (rows * heads * k_NSd.shape[1]))
    for first in range(0, tokens, some):
        at = slice(first, first + some)
        own = allowed if allowed.shape[1] == 1 else allowed[:, at]
        scores_NATS = np.where(own[:, None], cut(scaled_NTd[:, at]) @ k_NAkS, np.float32(-np.inf))
        scores_NATS -= scores_NATS.max(axis=3, keepdims=True)
        np.exp(scores_NATS, out=scores_NATS)
        scores_NATS /= scores_NATS.sum(axis=3, keepdims=True)
        y_NTd[:, at] = (scores_NATS @ v_NASk).swapaxes(1, 2).reshape(rows, -1, units)
        a_NTS[:, at] = scores_NATS.mean(axis=1)
    return y_NTd, a_NTS


class Encoder:
    """Layers and the norm of the last one's output as one call: compiled where there is an extension, else `encode`.
    Any threads may share it."""

    def __init__(self, layers: Sequence[Layer], last: Affine, *, heads: int, precision: str = "float32") -> None:
        """`precision` is that of the products."""
        self._layers, self._last, self._heads, self._native = list(layers), last, heads, None
        level = dispatch.level()
        if level == dispatch.NUMPY:
            return

        def packed(affine: Affine) -> Any:
            return product(affine.weight, affine.bias, level=level, precision=precision)

        def norm(affine: Affine) -> tuple[Any, Any]:
            return plain(affine.weight), plain(affine.bias)

        self._native = dispatch.extension().decode.Encoder(
            {
                "width": len(last.weight),
                "heads": heads,
                "epsilon": EPSILON,
                "norm": norm(last),
                "layers": [
                    {
                        "self_norm": norm(layer.self_norm),
                        "self_": packed(layer.self_),
                        "self_output": packed(layer.self_output),
                        "inner_norm": norm(layer.inner_norm),
                        "inner": packed(layer.inner),
                        "inner_output": packed(layer.inner_output),
                    }
                    for layer in layers
                ],
            }
        )

    def __call__(self, x_NTd: Float32, lengths_N: npt.NDArray[np.integer]) -> Float32:
        """The memory of vectors of tokens, (N, T, d); past a length anything."""
        if self._native is None:
            return encode(self._layers, self._last, x_NTd, lengths_N, self._heads)
        real_NT = np.arange(x_NTd.shape[1]) < lengths_N[:, None]
        y_NTd = np.zeros_like(x_NTd, order="C")
        x_Ud = np.ascontiguousarray(x_NTd[real_NT])
        y_Ud = np.empty_like(x_Ud)
        self._native.run(x_Ud, np.cumsum([0, *lengths_N.tolist()], dtype=np.int64), y_Ud)
        y_NTd[real_NT] = y_Ud
        return y_NTd


def encode(
    layers: list[Layer], last: Affine, x_NTd: Float32, lengths_N: npt.NDArray[np.integer], heads: int
) -> Float32:
    """An encoder's memory of vectors of tokens, (N, T, d); past a length anything."""
    real_N1T = (np.arange(x_NTd.shape[1]) < lengths_N[:, None])[:, None]
    x_NTd = placed(x_NTd)
    for layer in layers:
        q_NTd, k_NTd, v_NTd = np.split(layer.self_(layer.self_norm.norm(x_NTd)), 3, axis=2)
        x_NTd = x_NTd + layer.self_output(attend(q_NTd, k_NTd, v_NTd, heads, real_N1T)[0])
        x_NTd = layer.think(x_NTd)
    return last.norm(x_NTd)
