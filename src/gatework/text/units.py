"""Where a text is cut into tokens: words, characters, Chinese characters, Chinese words.

Every unit reads the caller's own string and gives pieces of it, so a token's offsets are offsets into that string. What
lies between tokens is white space and control characters, and nothing else: no text is lost in silence. A line-break
tag `<br>` or `<br />`, the one piece of HTML that review collections are full of, counts as white space in every unit.

    word      a run of letters with their combining marks, inner apostrophes kept ("don't"); a run of digits;
              a symbol with what joins it (an emoji family is one token); a CJK character alone
    zh-char   the same without the apostrophe: Chinese characters one by one, Latin and digit runs whole
    char      one character with its marks; white space inside the text is one token
    glyph     one character with its marks; white space is left out
    treebank  English words as treebanks cut them, see `treebank`
    zh-word   words of a Chinese segmenter (extra `zh`)
    bpe, unigram   runs as for `word`, CJK runs whole, each cut further by `subwords`

Patterns run in time linear in the text: no two alternatives begin alike, and no repetition holds another that could
match the same characters.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from gatework.core.errors import MissingExtraError
from gatework.core.registry import Registry
from gatework.text.marks import MARKS

Span = tuple[int, int]

CJK = (
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Han, kana and bopomofo: scripts written without spaces."""

_CONTROL = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb"
_LETTER = rf"[^\W\d_{CJK}]"
_RUN = rf"{_LETTER}+(?:[{MARKS}]+{_LETTER}*)*"
_WORD = rf"{_RUN}(?:['’＇]{_RUN})*"
_DIGITS = "\\d+[\ufe0f\u20e3]*"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
# After a zero-width joiner the next symbol belongs to the same emoji; skin tones and tags always do.
_SYMBOL = rf"(?:[^\w\s{_CONTROL}]|_)(?:[{MARKS}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|(?<=\u200d)[^\w\s])*"
_ANY_CJK = rf"[{CJK}][{MARKS}]*"

_BREAK_TAG = re.compile(r"<br\s{0,8}/?>", re.IGNORECASE)


def blank_break_tags(text: str) -> str:
    """`text` with every `<br>` tag turned into as many spaces: offsets stay what they were."""
    if "<" not in text:
        return text
    return _BREAK_TAG.sub(lambda tag: " " * len(tag[0]), text)


class Unit(ABC):
    """Cuts a text whose break tags are blanked."""

    @abstractmethod
    def surfaces(self, text: str) -> list[str]:
        """The pieces, in order."""

    @abstractmethod
    def spans(self, text: str) -> list[Span]:
        """Where the pieces of `surfaces` begin and end."""


class PatternUnit(Unit):
    """Pieces are the matches of a regular expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self.surfaces = self._pattern.findall  # type: ignore[method-assign,assignment]

    def surfaces(self, text: str) -> list[str]:
        return self._pattern.findall(text)

    def spans(self, text: str) -> list[Span]:
        return [match.span() for match in self._pattern.finditer(text)]


class SegmenterUnit(Unit):
    """Chinese words by `rjieba` or `jieba`; what is only white space or control characters is no word."""

    LONGEST = 20_000
    """Characters given to the segmenter at once: its work space grows with them."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._words = _SEGMENTERS[package]()
        self._visible = re.compile(rf"[^\s{_CONTROL}]")
        self._stop = re.compile(r"[\s。！？!?；;，,]")

    def surfaces(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.spans(text)]

    def spans(self, text: str) -> list[Span]:
        found: list[Span] = []
        for start, end in self._parts(text):
            at = start
            for word in self._words(text[start:end]):
                if self._visible.search(word):
                    found.append((at, at + len(word)))
                at += len(word)
        return found

    def _parts(self, text: str) -> list[Span]:
        """`text` in parts of at most LONGEST characters, cut after a stop where there is one."""
        parts: list[Span] = []
        start = 0
        while len(text) - start > self.LONGEST:
            end = start + self.LONGEST
            stops = [match.end() for match in self._stop.finditer(text, end - 1000, end)]
            parts.append((start, stops[-1] if stops else end))
            start = parts[-1][1]
        parts.append((start, len(text)))
        return parts


def segmenter() -> str:
    """The package that cuts Chinese words here. Raises MissingExtraError: there is none."""
    from importlib.util import find_spec

    for package in _SEGMENTERS:
        if find_spec(package) is not None:
            return package
    raise MissingExtraError("input.unit 'zh-word'", "zh")


def _rjieba() -> Callable[[str], list[str]]:
    try:
        import rjieba
    except ImportError:
        raise MissingExtraError("A model of Chinese words, cut by rjieba,", "zh") from None
    return _without_surrogates(rjieba.cut)


def _jieba() -> Callable[[str], list[str]]:
    try:
        import logging
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is not ours to mend
            import jieba
        jieba.setLogLevel(logging.WARNING)
    except ImportError:
        raise MissingExtraError("A model of Chinese words, cut by jieba,", "zh") from None
    return _without_surrogates(jieba.lcut)


_SURROGATE = re.compile("[\ud800-\udfff]")


def _without_surrogates(cut: Any) -> Callable[[str], list[str]]:
    """`cut` for any string: half of a surrogate pair, which UTF-8 cannot hold, is shown to it as U+FFFD."""
    return lambda text: cut(_SURROGATE.sub("\ufffd", text))


_SEGMENTERS: dict[str, Callable[[], Callable[[str], list[str]]]] = {"rjieba": _rjieba, "jieba": _jieba}

PATTERNS: Registry[str] = Registry(
    "input.unit",
    {
        "word": rf"{_WORD}|{_DIGITS}|{_ANY_CJK}|{_FLAG}|{_SYMBOL}",
        "zh-char": rf"{_RUN}|{_DIGITS}|{_ANY_CJK}|{_FLAG}|{_SYMBOL}",
        "char": rf"[^\s{_CONTROL}][{MARKS}]*|(?<=\S)\s+(?=\S)",
        "glyph": rf"[^\s{_CONTROL}][{MARKS}]*",
    },
)

SUBWORD_RUNS = rf"\s?(?:{_WORD}|{_DIGITS})|(?:{_ANY_CJK})+|{_FLAG}|{_SYMBOL}"
"""What a subword model cuts further. A space before a Latin word or a number is part of its run."""


_CHUNK = re.compile(rf"[^\s{_CONTROL}]+")


def chunks(text: str) -> list[Span]:
    """Where what white space and control characters separate begins and ends."""
    return [match.span() for match in _CHUNK.finditer(text)]


def best_unit(tokens: Iterable[str]) -> tuple[str, float]:
    """The unit that leaves most of `tokens` whole, and their share; the earlier of MEASURED where two are as good."""
    counts = Counter(tokens)
    total = max(1, counts.total())

    def share(unit: str) -> float:
        return sum(count for token, count in counts.items() if len(pieces(unit, token)) == 1) / total

    shares = {unit: share(unit) for unit in MEASURED}
    best = max(shares, key=lambda unit: shares[unit])
    return best, shares[best]


MEASURED = ("glyph", "zh-char", "word", "treebank")
"""Units that `best_unit` chooses from, the one that cuts finest first."""


def pieces(unit: str, text: str) -> list[Span]:
    """Where the tokens of a text begin and end, for a unit that is learnt from nothing."""
    return learnt_from_nothing(unit).spans(blank_break_tags(text))


@cache
def learnt_from_nothing(unit: str) -> Unit:
    """A unit that needs no training."""
    if unit == "treebank":
        from gatework.text.treebank import TreebankUnit

        return TreebankUnit()
    return PatternUnit(PATTERNS[unit])


def resolve_unit(unit: str, language: str) -> str:
    """The unit that `auto` stands for in a language."""
    if unit != "auto":
        return unit
    return "zh-char" if language == "zh" else "word"
