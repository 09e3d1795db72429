"""Tokens to the characters a language model reads."""

import numpy as np
import pytest

from gatework.core.errors import BundleError
from gatework.core.recipe import InputSection
from gatework.text.codec import TextCodec
from gatework.text.letters import ENTRIES, MOST, POSITIONS, LetterCutter, apart
from gatework.text.running import END, UNKNOWN, RunningCodec

TEXT = "the cat sat on a mat, don't: 一只猫在家 YES\n"


def running(**settings):
    values = {"unit": "char", "min_count": 1, "lowercase": False, "fold_width": False, **settings}
    return RunningCodec.fit(lambda: [TEXT], InputSection(**values))


def read(cutter, tokens, gaps=None):
    """The rows as text, and what each token is in them."""
    batch = cutter.collate([cutter.encode(tokens, gaps)])
    rows = [ids[:length] for ids, length in zip(batch.ids_RP, batch.lengths_R, strict=True)]
    assert all(row[0] == row[-1] == END and (row > 0).all() for row in rows)
    own = [
        cutter.codec.decode(rows[row][begin:end])
        for row, begin, end in zip(batch.row_N, batch.begin_N, batch.end_N, strict=True)
    ]
    return [cutter.codec.decode(row) for row in rows], own


@pytest.mark.parametrize(
    ("unit", "tokens", "text"),
    [
        ("word", ["the", "cat", ",", "sat"], "the cat , sat"),
        ("treebank", ["do", "n't"], "do n't"),
        ("zh-char", ["猫", "在", "YES", "the", "cat", "家"], "猫在YESthe cat家".replace("YESthe", "YES the")),
        ("zh-word", ["一只", "猫", "sat"], "一只猫sat"),
        ("glyph", ["猫", "Y", "E", "S", "在"], "猫YES在"),
        ("glyph", ["t", "▁", "c"], "t c"),
        ("char", ["t", " ", "c"], "t c"),
    ],
)
def test_tokens_are_put_together_as_their_unit_cuts_them(unit, tokens, text):
    rows, own = read(LetterCutter(running(), unit=unit), tokens)
    assert rows == [text]
    assert own == [" " if token == "▁" else token for token in tokens]


@pytest.mark.parametrize(
    ("unit", "text", "shown"),
    [
        ("word", "the cat, don't  sat", "the cat, don't sat"),
        ("char", "the cat", "the cat"),
        ("zh-char", "猫 在YES家", "猫 在YES家"),
        ("bpe", "the cat sat on", "the cat sat on"),
    ],
)
def test_blanks_stand_where_the_text_has_some(unit, text, shown):
    settings = InputSection(unit=unit, min_count=1, subwords=40)
    codec = TextCodec.fit(lambda: [TEXT] * 40, settings, pieces=LetterCutter(running(), unit=unit))
    batch = codec.pieces.collate([codec.encode(text).pieces])
    assert codec.pieces.codec.decode(batch.ids_RP[0]) == shown
    limited = codec.encode(text, 2)
    assert len(limited.pieces.starts_T) == 3


def test_apart():
    assert apart([(0, 3), (3, 4), (5, 6)]) == [False, False, True]
    assert apart([(2, 3)]) == [False]
    assert apart([]) == []


def test_every_token_has_something_and_none_too_much():
    cutter = LetterCutter(running(), unit="word")
    assert read(cutter, [""]) == ([" "], [" "])
    assert read(cutter, ["the", "", "cat"], [False, True, False])[0] == ["the cat"]
    assert cutter.encode(["é"]).ids_P.tolist() == [UNKNOWN]
    assert len(cutter.encode(["a" * 100_000]).ids_P) == MOST
    spelt = LetterCutter(running(byte_fallback=True), unit="word")
    assert len(spelt.encode(["é😀"]).ids_P) == 6
    assert UNKNOWN not in spelt.encode(["é😀"]).ids_P


def test_long_sequences_take_rows_that_overlap():
    tokens = ["cat", "sat", "on"] * 300
    cutter = LetterCutter(running(), unit="word")
    rows, own = read(cutter, tokens)
    assert own == tokens
    assert max(map(len, rows)) <= POSITIONS - 2
    assert 3 <= len(rows) <= 6
    batch = cutter.collate([cutter.encode(tokens)])
    inner = batch.begin_N[batch.row_N > 0]
    assert inner.min() > POSITIONS // 8  # a token is taken from the row in whose middle it stands


def test_entries_bring_it_back():
    cutter = LetterCutter(running(byte_fallback=True), unit="glyph")
    entries = cutter.to_entries()
    assert set(entries) == set(ENTRIES)
    back = LetterCutter.from_entries(entries, unit="glyph", source="m.gw")
    tokens = ["猫", "▁", "é"]
    np.testing.assert_array_equal(back.encode(tokens).ids_P, cutter.encode(tokens).ids_P)
    with pytest.raises(BundleError, match=r"m\.gw: tokenizer/language/: tokenizer/vocabulary\.json is missing"):
        LetterCutter.from_entries({"tokenizer/language/running.json": entries["tokenizer/language/running.json"]},
                                  unit="word", source="m.gw")  # fmt: skip
    words = RunningCodec.fit(lambda: [TEXT], InputSection(unit="word", min_count=1))
    other = {ours: words.to_entries()[name] for ours, name in ENTRIES.items()}
    with pytest.raises(BundleError, match="a language model of word, not of characters"):
        LetterCutter.from_entries(other, unit="word", source="m.gw")
