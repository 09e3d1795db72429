"""Encoded examples on disk."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from gatework.core.errors import DataError, OutputError
from gatework.core.recipe import InputSection
from gatework.text import ExampleStore, TextCodec

TEXTS = ["a b c", "", "b", "a " * 40, "c b a c b a"]


def examples(characters="none", targets=range(5), limit=None):
    section = InputSection(unit="word", min_count=1, ngram_min_count=1, characters=characters)
    codec = TextCodec.fit(lambda: TEXTS, section)
    return [(codec.encode(text, limit=limit), target) for text, target in zip(TEXTS, targets, strict=True)]


@pytest.mark.parametrize("characters", ["none", "cnn"])
@pytest.mark.parametrize("targets", [[0, 2, 1, 1, 0], [np.float32([1, 0]), [0, 1], [1, 1], [0, 0], (0, 1)]])
def test_what_was_written_is_read(tmp_path, characters, targets):
    pairs = examples(characters, targets, limit=30)
    ExampleStore.write(tmp_path, "train", iter(pairs))
    store = ExampleStore.open(tmp_path, "train")
    assert len(store) == 5
    assert store.lengths_N.tolist() == [3, 1, 1, 30, 6]
    assert store.lengths_N.dtype == np.int64
    assert store.left_out == 10
    assert store.targets.tolist() == [np.asarray(target).tolist() for target in targets]
    assert store.targets.dtype == (np.int64 if isinstance(targets[0], int) else np.float32)
    for index, (want, _) in enumerate(pairs):
        got = store.encoded(index)
        assert got.tokens.tolist() == want.tokens.tolist()
        assert got.ngram_rows.tolist() == want.ngram_rows.tolist()
        assert got.local.tolist() == want.local.tolist()
        assert got.local.shape == want.local.shape
        assert got.empty == want.empty
        if characters == "none":
            assert got.characters is None
        else:
            assert got.characters.tolist() == want.characters.tolist()
    for index in (-1, 5):
        with pytest.raises(IndexError):
            store.encoded(index)


def test_without_ngrams(tmp_path):
    codec = TextCodec.fit(lambda: TEXTS, InputSection(unit="word", ngrams=0))
    store = ExampleStore.write(tmp_path, "x", [(codec.encode(text), 0) for text in TEXTS])
    assert store.encoded(0).local.shape == (3, 0)
    assert len(store.encoded(0).ngram_rows) == 0


def test_examples_stay_on_disk(tmp_path):
    """Reading one example maps the file; it does not load it."""
    store = ExampleStore.write(tmp_path, "train", examples())
    assert isinstance(store.encoded(3).tokens.base.base, np.memmap) or store.encoded(3).tokens.base is not None
    assert not store.encoded(3).tokens.flags.writeable


def test_an_empty_store(tmp_path):
    assert len(ExampleStore.write(tmp_path, "none", [])) == 0
    store = ExampleStore.open(tmp_path, "none")
    assert store.lengths_N.tolist() == store.targets.tolist() == []


def test_writing_again_replaces(tmp_path):
    ExampleStore.write(tmp_path, "train", examples())
    ExampleStore.write(tmp_path, "train", examples()[:2])
    assert len(ExampleStore.open(tmp_path, "train")) == 2


def test_a_store_cut_short_is_no_store(tmp_path):
    def breaking():
        yield from examples()
        raise KeyboardInterrupt

    ExampleStore.write(tmp_path, "train", examples())
    with pytest.raises(KeyboardInterrupt):
        ExampleStore.write(tmp_path, "train", breaking())
    with pytest.raises(DataError, match=r"train\.json: no whole store of examples"):
        ExampleStore.open(tmp_path, "train")


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b"{", b"null"])
def test_a_damaged_head(tmp_path, damage):
    ExampleStore.write(tmp_path, "train", examples())
    (tmp_path / "train.json").write_bytes(damage)
    with pytest.raises(DataError, match=r"train\.json.*Delete the folder"):
        ExampleStore.open(tmp_path, "train")


def test_files_that_do_not_fit(tmp_path):
    ExampleStore.write(tmp_path, "train", examples())
    head = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "train.json").write_text(json.dumps({**head, "examples": 4}))
    with pytest.raises(DataError, match="do not fit together"):
        ExampleStore.open(tmp_path, "train")


def test_no_place_to_write(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write encoded examples.*choose another output folder"):
        ExampleStore.write(tmp_path / "missing", "train", examples())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to stand for a full disk")
def test_disk_full(tmp_path):
    (tmp_path / "train.tokens.i32").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        ExampleStore.write(tmp_path, "train", examples() * 2000)
    assert not (tmp_path / "train.json").exists()
