"""JSON from anyone: what is odd is a BundleError and nothing else."""

import pytest

from gatework.core.errors import BundleError
from gatework.core.strict_json import dump, parse


def test_round_trip():
    value = {"b": [1, 2.5, None, True, "中文 ö \U0001f600"], "a": {"x": -0.0}}
    assert parse(dump(value), source="x") == value
    assert dump(value).startswith(b'{"b":[1,2.5,null,true,"\xe4\xb8\xad')
    assert parse(memoryview(b'"\\ud83d\\ude00"'), source="x") == "\U0001f600"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[1] 2", "Extra data"),
        (b'"\xff"', "utf-8"),
        (b'{"a":1,"a":2}', "given twice"),
        (b'[{"a":{"b":1,"b":1}}]', "given twice"),
        (b"NaN", "NaN is not"),
        (b"[-Infinity]", "Infinity is not"),
        (b'"\\ud800"', "surrogates"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 10_000, "digits"),
        (b"\xef\xbb\xbf1", "BOM"),
        ("[1]".encode("utf-16"), "utf-8"),
    ],
)
def test_refused(raw, said):
    with pytest.raises(BundleError, match=said) as caught:
        parse(raw, source="there")
    assert str(caught.value).startswith("there: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_does_not_write_what_it_refuses():
    with pytest.raises(ValueError, match="JSON"):
        dump(float("nan"))
