"""Where texts are cut, and how tokens are written."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.core.errors import ConfigError, MissingExtraError
from gatework.text.language import guess
from gatework.text.marks import MARKS
from gatework.text.normalise import Normaliser
from gatework.text.units import PATTERNS, PatternUnit, SegmenterUnit, blank_break_tags, resolve_unit, segmenter

CASES = [
    # text, word, zh-char
    ("It's n't 3.50!", ["It's", "n't", "3", ".", "50", "!"], ["It", "'", "s", "n", "'", "t", "3", ".", "50", "!"]),
    ("rock'n'roll ’tis o’clock", ["rock'n'roll", "’", "tis", "o’clock"], None),
    (
        "我爱BERT模型2024年",
        ["我", "爱", "BERT", "模", "型", "2024", "年"],
        ["我", "爱", "BERT", "模", "型", "2024", "年"],
    ),
    ("ＡＢＣ１２３，全角", ["ＡＢＣ", "１２３", "，", "全", "角"], ["ＡＢＣ", "１２３", "，", "全", "角"]),
    ("café cafe\u0301 naïve", ["café", "cafe\u0301", "naïve"], ["café", "cafe\u0301", "naïve"]),
    ("हिन्दी भाषा", ["हिन्दी", "भाषा"], ["हिन्दी", "भाषा"]),
    ("ok👍🏽 👨‍👩‍👧 🇨🇳🇩🇪 ❤️", ["ok", "👍🏽", "👨‍👩‍👧", "🇨🇳", "🇩🇪", "❤️"], None),
    ("1️⃣ first", ["1️⃣", "first"], None),
    ("snake_case a...b", ["snake", "_", "case", "a", ".", ".", ".", "b"], None),
    ("𠀀𠮷 カタ ひら 한국어", ["𠀀", "𠮷", "カ", "タ", "ひ", "ら", "한국어"], None),
    ("a\x00b\u200bc\ufeffd", ["a", "b", "c", "d"], ["a", "b", "c", "d"]),
    ("  \t\r\n \u3000", [], []),
    ("", [], []),
]


@pytest.mark.parametrize(("text", "words", "chinese"), CASES)
def test_words_and_chinese_characters(text, words, chinese):
    assert PatternUnit(PATTERNS["word"]).surfaces(text) == words
    assert chinese is None or PatternUnit(PATTERNS["zh-char"]).surfaces(text) == chinese


def test_characters_keep_inner_space_as_one_token():
    assert PatternUnit(PATTERNS["char"]).surfaces("  a b\n\n é\u0301 ") == ["a", " ", "b", "\n\n ", "é\u0301"]


@pytest.mark.parametrize("unit", PATTERNS)
@given(text=st.text())
def test_nothing_visible_is_lost(unit, text):
    """What lies between the pieces is white space, control and format characters."""
    spans = PatternUnit(PATTERNS[unit]).spans(text)
    assert PatternUnit(PATTERNS[unit]).surfaces(text) == [text[start:end] for start, end in spans]
    at = 0
    for start, end in [*spans, (len(text), len(text))]:
        assert at <= start <= end
        for character in text[at:start]:
            assert character.isspace() or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
        at = end


@pytest.mark.parametrize("unit", PATTERNS)
@pytest.mark.parametrize(
    "piece", ["a", "a'", "e\u0301", "\u0301", "👨\u200d", "🇨", "<", "<br ", "１", "a1", "我", "\ufe0f", " "]
)
def test_time_is_linear(unit, piece):
    """A pattern that tries a repetition again from every place takes hours here, not a second."""
    text = blank_break_tags(piece * (200_000 // len(piece)))
    began = time.perf_counter()
    PatternUnit(PATTERNS[unit]).surfaces(text)
    assert time.perf_counter() - began < 3


def test_break_tags_keep_offsets():
    text = "good<br />bad<BR>x < br <brx <br    /> end"
    blanked = blank_break_tags(text)
    assert len(blanked) == len(text)
    assert PatternUnit(PATTERNS["word"]).surfaces(blanked) == ["good", "bad", "x", "<", "br", "<", "brx", "end"]


def test_marks_are_those_of_unicode():
    """Every mark of the basic plane that this Python knows, but for those newer than the table."""
    import re

    table = re.compile(f"[{MARKS}]")
    marks = [chr(code) for code in range(0x10000) if unicodedata.category(chr(code)).startswith("M")]
    missing = [mark for mark in marks if not table.match(mark)]
    assert len(missing) <= 0 if unicodedata.unidata_version == "14.0.0" else len(missing) < 60
    others = [chr(code) for code in range(0x10000) if table.match(chr(code)) and chr(code) not in marks]
    assert others == ["\u200c", "\u200d"]


@pytest.mark.parametrize(
    ("surface", "want"),
    [
        ("Don’T", "don't"),
        ("ＡＢｃ！", "abc!"),
        ("cafe\u0301", "café"),
        ("İ", "i̇"),
        ("ΟΔΟΣ", "οδος"),
        ("\t \n", " "),
        ("繁體", "繁體"),
        ("\ud800", "\ufffd"),
    ],
)
def test_normalised(surface, want):
    assert Normaliser(lowercase=True, fold_width=True)(surface) == want


def test_normalising_choices_do_something():
    assert Normaliser(lowercase=False, fold_width=True)("ＡＢ") == "AB"
    assert Normaliser(lowercase=True, fold_width=False)("ＡＢ") == "ａｂ"
    assert Normaliser(lowercase=False, fold_width=False)("ＡＢ") == "ＡＢ"


@given(st.text(min_size=1))
def test_normalising_is_settled(text):
    normalise = Normaliser(lowercase=True, fold_width=True)
    once = normalise(text)
    assert normalise(once) == once or unicodedata.normalize("NFC", once) != once  # lower() may undo NFC
    once.encode()


@pytest.mark.parametrize("package", ["rjieba", "jieba"])
def test_chinese_words(package):
    pytest.importorskip(package, reason=f"{package} (extra zh) is not installed")
    unit = SegmenterUnit(package)
    text = "我来到北京清华大学， hello world\u3000完了。"
    words = unit.surfaces(text)
    assert words == [text[start:end] for start, end in unit.spans(text)]
    assert {"北京", "清华大学", "hello", "world", "。"} <= set(words)
    assert not any(word.isspace() for word in words)
    assert unit.surfaces("") == []
    assert unit.surfaces("a\ud800b")  # half of a pair


def test_chinese_words_of_a_long_text_are_those_of_its_parts():
    pytest.importorskip("rjieba", reason="rjieba (extra zh) is not installed")
    unit = SegmenterUnit("rjieba")
    sentence = "他来到了网易杭研大厦。"
    repeated = unit.surfaces(sentence * 5000)
    assert repeated == unit.surfaces(sentence) * 5000
    spans = unit.spans("字" * 45_000)
    assert spans[0][0] == 0
    assert spans[-1][1] == 45_000


def test_no_segmenter_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'zh-word' needs the extra 'zh'.*pip install 'gatework\[zh\]'"):
        segmenter()
    monkeypatch.setitem(sys.modules, "rjieba", None)
    with pytest.raises(MissingExtraError, match="cut by rjieba, needs the extra 'zh'"):
        SegmenterUnit("rjieba")


def test_unit_by_language():
    assert resolve_unit("auto", "zh") == "zh-char"
    assert resolve_unit("auto", "en") == "word"
    assert resolve_unit("bpe", "zh") == "bpe"
    assert guess(["今天天气很好", "ok"]) == "zh"
    assert guess(["a film about 北京 and its people"]) == "en"
    assert guess([]) == "en"
    with pytest.raises(ConfigError, match=r"'wrd' is unknown.*Did you mean 'word'"):
        PATTERNS["wrd"]
