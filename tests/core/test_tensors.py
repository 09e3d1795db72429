"""The safetensors reader and writer, against the format's own library and against damaged files."""

import json

import numpy as np
import pytest

from gatework.core.errors import BundleError
from gatework.core.tensors import (
    ALIGNMENT,
    DTYPES,
    from_bfloat16,
    load_tensors,
    parse_tensors,
    save_tensors,
    tensor_chunks,
    to_bfloat16,
)


def arrays():
    rng = np.random.default_rng(0)
    every = {
        f"a {kind}": (rng.normal(size=(3, 5)) * 50).astype(dtype) for kind, dtype in DTYPES.items() if kind != "BF16"
    }
    return every | {
        "scalar": np.array(7),
        "none": np.zeros((0, 4), np.float32),
        "turned": rng.normal(size=(4, 3)).T,
        "big end": np.arange(5, dtype=">i4"),
        "ünïcode": np.ones(1, np.uint8),
    }


def crafted(header, body=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + body


def one(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_round_trip(tmp_path):
    save_tensors(tmp_path / "t", arrays(), {"step": "7", "note": "ö"})
    got = load_tensors(tmp_path / "t")
    assert got.metadata == {"step": "7", "note": "ö"}
    assert set(got) == set(arrays())
    for name, want in arrays().items():
        np.testing.assert_array_equal(got[name], want)
        assert got[name].dtype == want.dtype.newbyteorder("<")
        assert got[name].shape == want.shape
        assert not got[name].flags.writeable
        assert got[name].size == 0 or got[name].flags.aligned


def test_no_arrays_at_all(tmp_path):
    save_tensors(tmp_path / "t", {})
    assert dict(load_tensors(tmp_path / "t")) == {}


def test_data_begins_aligned_and_is_not_copied(tmp_path):
    data = b"".join(tensor_chunks({"a": np.arange(6, dtype=np.float32), "b": np.arange(3, dtype=np.int8)}))
    assert (int.from_bytes(data[:8], "little") + 8) % ALIGNMENT == 0
    got = parse_tensors(data, source="t")["a"]
    assert np.shares_memory(got, np.frombuffer(data, dtype=np.uint8))


def test_the_official_library_reads_it_and_we_read_its_files(tmp_path):
    official = pytest.importorskip("safetensors.numpy")
    plain = {name: array for name, array in arrays().items() if name not in ("turned", "big end")}
    save_tensors(tmp_path / "ours", plain, {"a": "b"})
    for name, array in official.load_file(tmp_path / "ours").items():
        np.testing.assert_array_equal(array, plain[name])
    official.save_file(plain, tmp_path / "theirs", metadata={"a": "b"})
    got = load_tensors(tmp_path / "theirs")
    assert got.metadata == {"a": "b"}
    for name, array in plain.items():
        np.testing.assert_array_equal(got[name], array)


def test_bfloat16():
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [
            rng.normal(size=5000).astype(np.float32),
            np.array([0.0, -0.0, np.inf, -np.inf, 3.4e38, 1e-45, 1.00390625, 1.01171875], np.float32),
        ]
    )
    got = from_bfloat16(to_bfloat16(values))
    assert np.isinf(got[-4]), "3.4e38 rounds to infinity"
    assert got[-2] == 1.0, "a tie goes to the even neighbour, below"
    assert got[-1] == np.float32(1.015625), "a tie goes to the even neighbour, above"
    finite = np.isfinite(got)
    assert (np.abs(got[finite] - values[finite]) <= 2.0**-8 * np.abs(values[finite]) + 1e-40).all()
    assert np.isnan(from_bfloat16(to_bfloat16(np.array([np.nan, -np.nan], np.float32)))).all()
    stored = b"".join(tensor_chunks({"a": values.reshape(-1, 2)}, bfloat16=["a"]))
    np.testing.assert_array_equal(parse_tensors(stored, source="t")["a"], got.reshape(-1, 2))


def test_bfloat16_as_torch_rounds():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(2).normal(size=10_000).astype(np.float32)
    want = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(values)), want)


def test_a_type_the_format_lacks():
    with pytest.raises(TypeError, match="'a' is of type complex128"):
        list(tensor_chunks({"a": np.zeros(2, complex)}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "too few"),
        (b"\0" * 7, "too few"),
        (b"\xff" * 8 + b"{}", "at most"),
        ((3).to_bytes(8, "little") + b"{}", "cut short"),
        (crafted(b"[]"), "no object"),
        (crafted(b"{" + b" " * 10), "JSON"),
        (crafted(b'{"a":' * 50_000), "deeply"),
        (crafted({"__metadata__": {"a": 1}}), "metadata"),
        (crafted({"a": 1}), "needs dtype"),
        (crafted({"a": {**one(), "more": 1}}, b"\0" * 8), "needs dtype"),
        (crafted({"a": one("F8")}, b"\0" * 8), "unknown"),
        (crafted({"a": one(["F32"])}, b"\0" * 8), "unknown"),
        (crafted({"a": one(shape=(-2,))}, b"\0" * 8), "natural"),
        (crafted({"a": one(shape=(2.0,))}, b"\0" * 8), "natural"),
        (crafted({"a": one(shape=(True, 2))}, b"\0" * 8), "natural"),
        (crafted({"a": one(shape=(10**30, 0), offsets=(0, 0))}), "natural"),
        (crafted({"a": one(shape=(2**40, 2**40))}, b"\0" * 8), "takes"),
        (crafted({"a": one(shape=[1] * 9, offsets=(0, 4))}, b"\0" * 4), "natural"),
        (crafted({"a": one(offsets=(0, 4))}, b"\0" * 8), "takes"),
        (crafted({"a": one(offsets=(8, 0))}, b"\0" * 8), "takes"),
        (crafted({"a": one(offsets=(0, 8, 8))}, b"\0" * 8), "natural"),
        (crafted({"a": one(), "b": one(offsets=(4, 12))}, b"\0" * 12), "overlaps"),
        (crafted({"a": one(), "b": one()}, b"\0" * 8), "overlaps"),
        (crafted({"a": one(), "b": one(offsets=(12, 20))}, b"\0" * 20), "gap"),
        (crafted({"a": one(offsets=(8, 16))}, b"\0" * 16), "gap"),
        (crafted({"a": one()}, b"\0" * 7), "cut short"),
        (crafted({"a": one()}, b"\0" * 9), "followed"),
        (crafted(b'{"a":1,"a":1}'), "twice"),
    ],
)
def test_refused(data, said):
    with pytest.raises(BundleError, match=said) as caught:
        parse_tensors(data, source="there")
    assert str(caught.value).startswith("there")
    assert len(str(caught.value)) < 400


def test_a_long_header_is_refused_before_it_is_read():
    with pytest.raises(BundleError, match="at most 4"):
        parse_tensors(crafted({"a": one()}, b"\0" * 8), source="t", max_header=4)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for path, said in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "empty", "empty"),
    ):
        with pytest.raises(BundleError, match=said):
            load_tensors(path)
