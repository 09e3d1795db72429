"""8-bit rows: the error bound, and values at the edges."""

import numpy as np
import pytest

from gatework.core.quantize import dequantize, quantize
from gatework.core.tensors import from_bfloat16, to_bfloat16


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (9, 1), (4, 3, 2), (3, 0)])
def test_error_is_at_most_half_a_step(shape):
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=shape) * np.exp(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1)) * 4)).astype("f4")
    levels, scales = quantize(weights)
    assert levels.dtype == np.int8
    assert levels.shape == weights.shape
    assert scales.shape == (shape[0],)
    error = np.abs(dequantize(levels, scales) - weights).reshape(shape[0], -1).max(axis=1, initial=0)
    assert (error <= scales * 0.5001).all()
    largest = np.abs(weights).reshape(shape[0], -1).max(axis=1, initial=0)
    assert (scales <= np.maximum(largest / 127 * (1 + 2.0**-7), 1.0)).all(), "no wider than need be"


def test_scales_fit_bfloat16():
    _, scales = quantize(np.random.default_rng(1).normal(size=(1000, 4)).astype("f4"))
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(scales)), scales)


def test_edges():
    weights = np.array([[0, 0], [1e-42, -1e-42], [3e38, -3e38], [1, 0]], dtype=np.float32)
    levels, scales = quantize(weights)
    assert (scales > 0).all()
    assert np.isfinite(dequantize(levels, scales)).all()
    assert levels[0].tolist() == [0, 0]
    assert np.abs(dequantize(levels, scales)[2] / weights[2] - 1).max() < 0.01
    assert levels.min() >= -127


def test_some_rows_of_a_table():
    weights = np.random.default_rng(2).normal(size=(6, 3)).astype("f4")
    levels, scales = quantize(weights)
    rows = np.array([4, 0, 4])
    np.testing.assert_array_equal(dequantize(levels[rows], scales[rows]), dequantize(levels, scales)[rows])
