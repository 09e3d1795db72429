"""Word vectors in every format, and what is wrong with some."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from gatework.core.errors import DataError
from gatework.text import Vocabulary, read_vectors
from gatework.text.normalise import Normaliser

WORDS = ["film", "great", "电影", "absent"]
VECTORS = {"film": [0.5, -1.25, 3e-3], "The": [1, 2, 3], "电影": [7, 8, 9], "other": [4, 4, 4], "great": [0, 1, 0]}


def lines(header):
    head = [f"{len(VECTORS)} 3"] if header else []
    return head + [f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()]


def write(path, data):
    data = data if isinstance(data, bytes) else ("\n".join(data) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def binary(newline=b"\n"):
    parts = [word.encode() + b" " + np.array(vector, "<f4").tobytes() + newline for word, vector in VECTORS.items()]
    return f"{len(VECTORS)} 3\n".encode() + b"".join(parts)


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
@pytest.mark.parametrize(
    "data", [lines(True), lines(False), binary(), binary(b"")], ids=["word2vec", "glove", "bin", "bin0"]
)
def test_every_format(tmp_path, name, data):
    vectors = read_vectors(write(tmp_path / name, data), Vocabulary(WORDS))
    assert vectors.width == 3
    assert vectors.rows == 5
    assert vectors.found_V.tolist() == [False] * 3 + [True, True, True, False]
    np.testing.assert_array_equal(vectors.matrix_VE[3:6], np.float32([VECTORS[w] for w in WORDS[:3]]))
    assert not vectors.matrix_VE[[0, 1, 2, 6]].any()
    assert vectors.coverage == 0.75
    assert vectors.describe() == "5 vectors of width 3; 3 of 4 words have one (75.0%)"


def test_exact_words_come_before_folded_ones(tmp_path):
    path = write(tmp_path / "v", ["The 1 1", "the 2 2", "THE 3 3", "FILM 4 4", "Film 5 5"])
    normalise = Normaliser(lowercase=True, fold_width=True)
    vectors = read_vectors(path, Vocabulary(["the", "film"]), normalise=normalise)
    assert vectors.matrix_VE[3:].tolist() == [[2, 2], [4, 4]]
    assert read_vectors(path, Vocabulary(["the", "film"])).found_V.tolist() == [False] * 3 + [True, False]


def test_words_with_spaces(tmp_path):
    path = write(tmp_path / "v", ["a 1 2", "at name@x.org 3 4", ". . . 5 6", "of the 7 8"])
    vectors = read_vectors(path, Vocabulary(["at name@x.org", ". . .", "of the"]))
    assert vectors.matrix_VE[3:].tolist() == [[3, 4], [5, 6], [7, 8]]


def test_long_binary_with_real_widths(tmp_path):
    rng = np.random.default_rng(2)
    words = [f"w{number}" for number in range(2000)]
    matrix = rng.normal(size=(2000, 100)).astype("<f4")
    data = b"2000 100\n" + b"".join(
        w.encode() + b" " + row.tobytes() + b"\n" for w, row in zip(words, matrix, strict=True)
    )
    vectors = read_vectors(write(tmp_path / "v.bin", data), Vocabulary(words))
    np.testing.assert_array_equal(vectors.matrix_VE[3:], matrix)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["a 1 2", "b 1 nan"], r"v:2: the vector of 'b' holds NaN or infinity"),
        (["a 1 2", "b inf 1"], r"v:2: the vector of 'b' holds NaN or infinity"),
        (["a 1 2", "b 1"], r"v:2: 1 numbers where 2 are expected"),
        (["a 1 2", "b 1 2 3.5", "c 1.5 2 3"], r"v:2: 3 numbers where 2 are expected"),
        (["a 1 2", "b 1 x"], r"v:2: 'x' is not a number"),
        (["3 2", "a 1 2", "b 1 2"], r"v:3: the file ends after 2 vectors; its first line says 3"),
        (["2 2", "a 1 2", "b 1 2 3.0 4.0"], r"v:3: 4 numbers where 2 are expected"),
        ([""], r"v:1: no vectors"),
        (["word"], r"v:1: a word and its numbers are needed"),
        (b"", r"v:1: the file is empty"),
        (b"5 0\nx", r"v:1: the width 0 is not in"),
        (b"a 1 2\nb \xff 3\n", r"v:2: not utf-8"),
        (binary()[:-9], r"v: vector 5: the file is cut off; it should hold 5"),
        (binary()[:30], r"v: vector \d: the file is cut off"),
        (b"2 3\na " + np.float32([1, np.nan, 2]).tobytes() + b"\n", r"v: vector 1: the vector of 'a' holds NaN"),
        (b"9 3\n" + bytes(range(1, 32)) * 2000, r"v: vector \d+: "),
    ],
)
def test_faults_have_a_place(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        read_vectors(write(tmp_path / "v", data), Vocabulary(["a", "b"]))


def test_the_width_must_fit(tmp_path):
    path = write(tmp_path / "v.vec", lines(True))
    with pytest.raises(DataError, match=r"v\.vec:2: vectors of width 3, but model\.embedding is 128\. Set model"):
        read_vectors(path, Vocabulary(WORDS), width=128)
    assert read_vectors(path, Vocabulary(WORDS), width=3).width == 3


def test_missing_file(tmp_path):
    (tmp_path / "glove.txt").touch()
    with pytest.raises(DataError, match=r"no such file\. Did you mean 'glove\.txt'\?"):
        read_vectors(tmp_path / "glov.txt", Vocabulary(WORDS))
