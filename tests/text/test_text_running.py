"""Running text as ids and back: nothing is lost but what is unknown; hostile entries are one kind of error."""

import json

import numpy as np
import pytest

from gatework.core.errors import BundleError, ConfigError
from gatework.core.recipe import InputSection
from gatework.text.running import END, PADDING, SETTINGS, UNKNOWN, VOCABULARY, RunningCodec
from gatework.text.subwords import MARK

TEXT = "The cat sat.\n\nThe  cat's mat, 天地玄黄 the cat_mat: 1234 cats\tsat!\r\n" * 3
ODD = f"Zebra {MARK}x{MARK} \u3000\u00a0 \U0001f600 e\u0301 \x00 \ufffd <unk> q"
CASES = {
    "word": {"unit": "word"},
    "char": {"unit": "char"},
    "char and bytes": {"unit": "char", "byte_fallback": True},
    "bpe": {"unit": "bpe"},
    "unigram": {"unit": "unigram"},
}


def fitted(case, text=TEXT, **options):
    values = {"min_count": 1, "lowercase": False, "fold_width": False, "subwords": 60, **CASES[case], **options}
    return RunningCodec.fit(lambda: [text], InputSection(**values))


@pytest.mark.parametrize("case", CASES)
def test_a_text_comes_back(case):
    codec = fitted(case)
    ids = codec.encode(TEXT)
    assert ids.dtype == np.int32
    assert not {PADDING, UNKNOWN, END} & set(ids.tolist())
    want = " ".join(TEXT.replace("\n", " \n ").split(" ")) if codec.spaced else TEXT
    want = "\n".join(" ".join(line.split()) for line in want.split("\n")) if codec.spaced else want
    assert codec.decode(ids) == want
    assert codec.decode([END, *ids, END, PADDING]) == want


@pytest.mark.parametrize("case", CASES)
def test_the_first_tokens_are_cut_alone(case, monkeypatch):
    codec = fitted(case)
    for text in (TEXT, ODD, "thecat" * 40 + " " + ODD, ""):
        whole = codec.surfaces(text)
        assert len(whole) == len(codec.encode(text))
        for most in (0, 1, 5, 48, 50, 10**6):
            assert codec.surfaces(text, most) == whole[:most]
    if codec.subwords is None:
        return
    runs: list[str] = []
    split = codec.subwords.split
    monkeypatch.setattr(codec.subwords, "split", lambda run: runs.append(run) or split(run))
    for text in ("xylophone" * 999, " unseen words" * 999):
        runs.clear()
        codec.surfaces(text, 7)
        assert len(runs) <= 7


@pytest.mark.parametrize("case", CASES)
def test_any_text_can_be_read(case):
    codec = fitted(case)
    ids = codec.encode(ODD)
    assert (UNKNOWN in ids) == (not codec.byte_fallback)
    if codec.byte_fallback:
        assert codec.decode(ids) == ODD
    assert codec.decode(codec.encode("\ud800 x\udfff")) is not None
    assert len(codec.encode("")) == 0
    assert codec.decode([]) == ""


def test_pieces_are_what_ids_add():
    codec = fitted("bpe")
    ids = codec.encode(TEXT)
    assert "".join(codec.pieces[index] for index in ids) == TEXT
    assert len(codec.pieces) == len(codec) == codec.vocabulary
    assert codec.pieces[PADDING] == codec.pieces[END] == ""


def test_unknown_words_and_characters_have_a_sign():
    codec = fitted("word")
    assert codec.encode("<unk> zebra cat").tolist()[:2] == [UNKNOWN, UNKNOWN]
    assert codec.decode(codec.encode("zebra cat")) == "<unk> cat"
    assert fitted("char").decode([UNKNOWN]) == "\ufffd"


def test_tokens_fall_by_frequency_and_min_count_and_size_do_something():
    codec = fitted("word", "a a a b b c")
    assert codec.tokens == ("a", "b", "c")
    assert fitted("word", "a a a b b c", min_count=2).tokens == ("a", "b")
    assert fitted("char", "a a a b b c", max_vocabulary=2).tokens == (" ", "a")


def test_folding():
    assert (
        fitted("char", lowercase=True).encode("THE").tolist() == fitted("char", lowercase=True).encode("the").tolist()
    )
    codec = fitted("word", "a! b", fold_width=True)
    assert codec.decode(codec.encode("a！ ｂ")) == "a! b"
    assert fitted("word", "The the").encode("The").tolist() != fitted("word", "The the").encode("the").tolist()


@pytest.mark.parametrize("case", CASES)
def test_read_back_from_entries(case):
    codec = fitted(case)
    again = RunningCodec.from_entries(codec.to_entries())
    for text in (TEXT, ODD):
        np.testing.assert_array_equal(again.encode(text), codec.encode(text))
    assert again.to_entries() == codec.to_entries()


def test_units_of_running_text_alone():
    with pytest.raises(ConfigError, match="none of running text"):
        RunningCodec.fit(lambda: [TEXT], InputSection(unit="treebank"))
    with pytest.raises(ConfigError, match="where words end"):
        RunningCodec.fit(lambda: [TEXT], InputSection(unit="word", byte_fallback=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (SETTINGS, None),
        (SETTINGS, []),
        (SETTINGS, {"format": 1, "unit": "glyph", "lowercase": False, "fold_width": False}),
        (SETTINGS, {"format": 2, "unit": "char", "lowercase": False, "fold_width": False}),
        (SETTINGS, {"format": 1, "unit": "char", "lowercase": 0, "fold_width": False}),
        (SETTINGS, {"format": 1, "unit": "bpe", "lowercase": False, "fold_width": False}),
        (VOCABULARY, {}),
        (VOCABULARY, ["a", "a"]),
        (VOCABULARY, ["a", ""]),
        (VOCABULARY, ["ab"]),
        (VOCABULARY, ["a", 7]),
        (VOCABULARY, ["a", 256]),
        (VOCABULARY, ["a", True]),
        (VOCABULARY, ["a", ["b"]]),
    ],
)
def test_entries_may_come_from_anyone(name, value):
    entries = fitted("char").to_entries()
    entries[name] = b"\xff" if value is None else json.dumps(value).encode()
    with pytest.raises(BundleError, match=r"Export the model again|export it again"):
        RunningCodec.from_entries(entries)
    del entries[name]
    with pytest.raises(BundleError, match="missing"):
        RunningCodec.from_entries(entries)


@pytest.mark.parametrize(
    ("unit", "before", "after", "want"),
    [
        ("word", "the cat", "sat", " "),
        ("word", "the cat ", "sat", ""),
        ("word", "the cat", "\nsat", ""),
        ("word", "", "sat", ""),
        ("word", "the cat", "", ""),
        ("char", "the cat", "sat", ""),
    ],
)
def test_what_parts_a_text_from_what_follows(unit, before, after, want):
    assert RunningCodec(unit=unit, tokens=["a"]).between(before, after) == want
