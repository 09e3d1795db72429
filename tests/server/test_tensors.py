"""Tensors as bytes and as JSON: every type there and back, and what fits no type."""

import numpy as np
import pytest

from services import need_extra

need_extra()

from gatework.server.refusal import Refusal  # noqa: E402
from gatework.server.tensors import DTYPES, Tensor, from_bytes, from_json, numbers, to_bytes, to_json  # noqa: E402


@pytest.mark.parametrize("datatype", DTYPES)
def test_numbers_there_and_back(datatype):
    dtype = np.dtype(DTYPES[datatype])
    values = np.array([[0, 1, 1], [1, 0, 1]] if datatype == "BOOL" else [[0, 1, 2], [3, 4, 127]]).astype(dtype)
    tensor = numbers(datatype, values)
    assert (tensor.shape, tensor.values.dtype) == ((2, 3), dtype)
    raw = to_bytes(tensor)
    assert raw == values.tobytes()
    for found in (
        from_bytes("x", datatype, [2, 3], raw),
        from_json("x", datatype, [2, 3], to_json(tensor)),
        from_json("x", datatype, [2, 3], values.tolist()),
    ):
        assert found.datatype == datatype
        np.testing.assert_array_equal(found.values, values)
        assert found.values.dtype == dtype


def test_bytes_there_and_back():
    tensor = Tensor("BYTES", (2, 2), [b"", "一".encode(), b"ab", b"c" * 300])
    raw = to_bytes(tensor)
    assert raw[:11] == b"\0\0\0\0\3\0\0\0\xe4\xb8\x80"
    assert from_bytes("x", "BYTES", [2, 2], raw) == tensor
    assert from_json("x", "BYTES", [2, 2], to_json(tensor)) == tensor


def test_numbers_that_are_none_are_null():
    assert to_json(numbers("FP32", [1.0, np.nan, np.inf])) == [1.0, None, None]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "words"),
    [
        ("INT8", [1], [128], "out of the range"),
        ("UINT8", [1], [-1], "out of the range"),
        ("INT64", [1], [2**63], "out of the range"),
        ("FP16", [1], [1e6], "out of the range"),
        ("INT64", [1], [1.0], "no INT64"),
        ("INT64", [1], [True], "no INT64"),
        ("BOOL", [1], [1], "no BOOL"),
        ("FP32", [1], ["1"], "no FP32"),
        ("FP32", [1], [None], "no FP32"),
        ("FP32", [2], [[1.0, 2.0]], "takes 2 values"),
        ("FP32", [1, 1], [[[1.0]]], "no FP32"),
        ("FP32", [0], 1.0, "takes 0 values"),
        ("BYTES", [1], [b"x"], "strings"),
    ],
)
def test_values_that_do_not_fit(datatype, shape, data, words):
    with pytest.raises(Refusal, match=words) as caught:
        from_json("x", datatype, shape, data)
    assert caught.value.status == 400


@pytest.mark.parametrize("size", [0, 3, 5, 8])
def test_bytes_that_do_not_fit(size):
    with pytest.raises(Refusal, match="takes 4 bytes"):
        from_bytes("x", "FP32", [1], b"x" * size)
