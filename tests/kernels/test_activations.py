"""The approximations of sigmoid and tanh over the whole float range, at every compiled level."""

from __future__ import annotations

import numpy as np
import pytest

from gatework import kernels
from gatework.kernels import dispatch

pytestmark = pytest.mark.skipif(not kernels.available(), reason="built without the extension")

EVERY_LEVEL = pytest.mark.parametrize("level", kernels.levels()[1:])


def every_kind_of_float() -> np.ndarray:
    """A million floats: dense near zero, both signs, from the smallest to the largest."""
    rng = np.random.default_rng(5)
    spread = rng.integers(0, 0x7F800000, 1 << 18, dtype=np.uint32).view(np.float32)
    usual = np.concatenate([np.linspace(-20, 20, 1 << 18), np.linspace(-100, 100, 1 << 17)]).astype(np.float32)
    return np.concatenate([spread, -spread, usual])


def apply(level: str, function: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    dispatch.extension().activate(level, function, x, y)
    return y


def worst_ulp(got: np.ndarray, want: np.ndarray) -> float:
    """Largest error in units in the last place of the result; errors below 1e-34 are let be."""
    error = np.abs(got.astype(np.float64) - want)
    unit = np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)
    return float(np.max(np.where(error < 1e-34, 0, error / unit)))


@EVERY_LEVEL
def test_sigmoid_within_3_ulp(level):
    x = every_kind_of_float()
    wide = np.clip(x.astype(np.float64), -700, 700)
    assert worst_ulp(apply(level, "sigmoid", x), 1 / (1 + np.exp(-wide))) <= 3


@EVERY_LEVEL
def test_tanh_within_4_ulp(level):
    x = every_kind_of_float()
    assert worst_ulp(apply(level, "tanh", x), np.tanh(x.astype(np.float64))) <= 4


@EVERY_LEVEL
def test_special_values(level):
    x = np.zeros(16, np.float32)
    x[:5] = [np.nan, np.inf, -np.inf, 0.0, -0.0]
    sigmoid, tanh, relu = (apply(level, name, x) for name in ("sigmoid", "tanh", "relu"))
    np.testing.assert_array_equal(tanh[:5], [np.nan, 1, -1, 0, 0])
    np.testing.assert_array_equal(relu[:5], [np.nan, np.inf, 0, 0, 0])
    np.testing.assert_allclose(sigmoid[:5], [np.nan, 1, 0, 0.5, 0.5], rtol=0, atol=1e-34)
    assert np.signbit(tanh[4])
