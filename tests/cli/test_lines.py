"""Lines in: none dropped, none merged, whatever they hold and however the bytes arrive."""

import gzip
import io

import pytest

from gatework.cli.lines import file_batches, line_batches
from gatework.core.errors import DataError


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a pipe does."""

    def __init__(self, data, step):
        self._data, self._step = data, step

    def read1(self, size):
        chunk, self._data = self._data[: self._step], self._data[self._step :]
        return chunk


def _lines(data, step=1 << 16, **options):
    return [line for batch in line_batches(Trickle(data, step), "input", **options) for line in batch]


CASES = [
    (b"", []),
    (b"\n", [""]),
    (b"\n\n", ["", ""]),
    (b"a", ["a"]),
    (b"a\n", ["a"]),
    (b"a\n\nb\n", ["a", "", "b"]),
    (b"a\n\n", ["a", ""]),
    (b"a\r\nb\r\n", ["a", "b"]),
    (b"a\rb\n", ["a\rb"]),
    (b"\r\n", [""]),
    ("a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n".encode(), ["a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"]),
    ("很好\n不好 😀\n".encode(), ["很好", "不好 😀"]),
    (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
    (b" a \t\n", [" a \t"]),
    (b"a\x00b\n", ["a\x00b"]),
]


@pytest.mark.parametrize(("data", "want"), CASES)
@pytest.mark.parametrize("step", [1, 2, 3, 1 << 16])
def test_lines(data, want, step):
    assert _lines(data, step) == want


def test_batches_are_bounded_and_in_order():
    data = b"".join(b"%d\n" % index for index in range(1000))
    batches = list(line_batches(Trickle(data, 100), "input", most=7))
    assert max(map(len, batches)) == 7
    assert [int(line) for batch in batches for line in batch] == list(range(1000))


def test_a_line_is_answered_before_the_next_one_comes():
    stream = Trickle(b"first\nsecond\n", 6)
    batches = line_batches(stream, "input")
    assert next(batches) == ["first"]
    assert stream._data == b"second\n"


def test_a_long_line_is_one_line():
    data = b"x" * 10_000_000 + b"\ny\n"
    assert [len(line) for line in _lines(data)] == [10_000_000, 1]


@pytest.mark.parametrize(("data", "place"), [(b"a\nb\n\xff\n", "input:3"), (b"ab\xe4\xbd", "input:1")])
def test_what_is_not_utf8_names_its_line(data, place):
    with pytest.raises(DataError, match=rf"^{place}: not UTF-8 at byte \d"):
        _lines(data)


def test_the_lines_before_a_bad_one_are_counted_across_batches():
    with pytest.raises(DataError, match=r"input:1001: "):
        _lines(b"a\n" * 1000 + b"\xff\n", 64, most=3)


def test_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("一\n二\n".encode()))
    assert [line for batch in file_batches(path) for line in batch] == ["一", "二"]


def test_damaged_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"abc\n" * 1000)[:-20])
    with pytest.raises(DataError, match="damaged gzip"):
        list(file_batches(path))
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="damaged gzip"):
        list(file_batches(path))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(file_batches(tmp_path / "none.txt"))
