"""Classifiers that read forward, asked piece by piece: at every place the answer of the text so far."""

import json
import zlib

import numpy as np
import pytest

from bundles import write_small
from gatework.core.errors import ConfigError, DataError
from gatework.runtime import load
from gatework.runtime.classifier_stream import LONGEST, OPEN

ONE_WAY = {"bidirectional": False}
TEXT = "A great film, don't you think?<br />The acting was dull — 一只猫 and the plot was dull too; great!! acting 12"
UNITS = ("word", "zh-char", "char", "glyph", "treebank", "bpe", "unigram")
MODELS = {
    "windows": {"input": {"window": 8, "ngrams": 2}},
    **{unit: {"input": {"unit": unit, "window": 512, "ngrams": 3, "subwords": 30}} for unit in UNITS},
    "plain": {"input": {"window": 512, "ngrams": 0}},
    "attention": {"input": {"window": 512}, "pooling": ("attention", "last"), "attention": 5},
    "last": {"input": {"window": 512, "characters": "cnn"}, "pooling": ("last",)},
    "gru, residual": {"input": {"window": 512}, "encoder": {"cell": "gru", "layers": 2, "residual": True}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, models = tmp_path_factory.mktemp("streams"), {}

    def get(name):
        if name not in models:
            case = MODELS[name]
            write_small(folder / f"{name}.gw", **{**case, "encoder": {**case.get("encoder", {}), **ONE_WAY}})
            models[name] = load(folder / f"{name}.gw")
        return models[name]

    return get


def same(got, want):
    assert got.empty == want.empty
    assert got.scores == pytest.approx(want.scores, abs=2e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "windows"])
def test_every_answer_is_that_of_the_text_so_far(made, name):
    model, rng = made(name), np.random.default_rng(3)
    whole = f"{TEXT} {TEXT}"
    for longest in (1, 7, 40):
        stream, at = model.stream(), 0
        while at < len(whole):
            end = at + int(rng.integers(1, longest + 1))
            [answer] = stream.feed(whole[at:end])
            at = end
            if longest == 40 or at % 7 == 0:
                same(answer, model.predict(whole[:at]))
        assert stream.end() == []


def test_a_text_longer_than_the_window_is_read_on(made):
    model, text = made("windows"), TEXT * 4
    whole = model.stream().feed(text)[0]
    assert whole.scores != pytest.approx(model.predict(text).scores, abs=1e-4), "predict begins anew at each window"
    stream = model.stream()
    for piece in (text[:50], text[50:51], text[51:]):
        [answer] = stream.feed(piece)
    same(answer, whole)


@pytest.mark.parametrize("name", ["word", "unigram"])
def test_memory_does_not_grow(made, name):
    model = made(name)
    stream = model.stream()
    sizes = []
    for _ in range(60):
        stream.feed(TEXT + " ")
        sizes.append(stream.nbytes)
    assert max(sizes[30:]) <= 1.2 * max(sizes[5:15])
    stream.feed("x" * 3 * LONGEST)
    assert len(stream._text) <= LONGEST + 100 * OPEN


def test_a_state_goes_on_elsewhere(made):
    for name in ("word", "attention", "gru, residual"):
        model = made(name)
        for before in ("", "a gre", TEXT):
            stream = model.stream(threshold=0.4)
            stream.feed(before)
            data = stream.to_bytes()
            again = model.state_of(data)
            assert again.to_bytes() == data
            [got], [want] = again.feed("at plot"), stream.feed("at plot")
            assert got.to_dict() == want.to_dict()
            same(got, model.predict(before + "at plot"))
            assert got.uncertain is not None


def test_states_that_are_none_are_told(made):
    model, other = made("word"), made("attention")
    stream = model.stream()
    stream.feed(TEXT)
    good = stream.to_bytes()
    for bad in (
        b"",
        good[:20],
        good[:-9],
        good[:40] + b"x" + good[41:],
        b"GWTS" + good[4:],
        good[:4] + b"\2" + good[5:],
    ):
        with pytest.raises(DataError):
            model.state_of(bad)
    with pytest.raises(DataError, match="not one of this model"):
        other.state_of(good)
    length = int.from_bytes(good[8:12], "little")
    values, tail = json.loads(good[12 : 12 + length]), good[12 + length + 4 :]

    def changed(**parts):
        body = json.dumps(values | parts).encode()
        head = good[:8] + len(body).to_bytes(4, "little") + body
        return head + zlib.crc32(head).to_bytes(4, "little") + tail

    read = values["read"]
    same(model.state_of(changed()).feed("")[0], model.predict(TEXT))
    for odd in (
        {"context": 99},
        {"context": -1},
        {"text": 3},
        {"options": {"beams": 3}},
        {"options": {"threshold": "x"}},
        {"read": 3},
        {"read": {**read, "tokens": -1}},
        {"read": {**read, "rows": [5, 4]}},
        {"read": {**read, "rows": [10**9]}},
        {"read": {**read, "rows": [0.5]}},
        {"read": {**read, "wide": [1.0]}},
        {"read": {**read, "pools": []}},
        {"read": {**read, "pools": read["pools"][::-1]}},
        {"read": {**read, "pools": [{**read["pools"][0], "_tokens_B": [1e300]}, read["pools"][1]]}},
        {"read": {**read, "pools": [{**read["pools"][0], "_result_BP": [[None]]}, read["pools"][1]]}},
    ):
        with pytest.raises(DataError):
            model.state_of(changed(**odd))


def test_models_that_read_ahead_say_so(made, tmp_path):
    write_small(tmp_path / "both.gw")
    both = load(tmp_path / "both.gw")
    assert "both directions" in both.whole_texts
    assert made("word").whole_texts == ""
    with pytest.raises(ConfigError, match="reads in both directions, so it answers whole texts"):
        both.stream()
    with pytest.raises(ConfigError, match="both directions"):
        both.state_of(b"")
    stream = made("word").stream()
    with pytest.raises(DataError, match="takes a string"):
        stream.feed(3)
    with stream, pytest.raises(ConfigError, match="no option 'beams'"):
        made("word").stream(beams=3)
    for call in (lambda: stream.feed("x"), stream.end, stream.to_bytes):
        with pytest.raises(DataError, match="has ended"):
            call()
