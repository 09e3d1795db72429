"""Where the sentences of running text begin and end: by their marks, for English, German, Chinese and the like.

A sentence ends with a line, after a full-width mark, and after a mark that abbreviations and numbers have too where
white space follows and then no small letter. A full stop ends none after an initial, a short number or one of
ABBREVIATIONS, nor before a number after one of NUMBERED.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

STOPS = frozenset("。！？!?．…‼⁇⁈⁉؟।.")
CLOSING = frozenset("\"'”’」』）)】》〉]}")
WIDE = frozenset("。！？．")
ABBREVIATIONS = frozenset(
    """mr mrs ms dr prof st vs e.g i.e cf al jr sr gen col lt sgt rev hon approx dept z.b d.h u.a u.ä o.ä v.a s.o s.u
    bzw ca vgl str bspw evtl ggf hr fr abs jh jhd sog inkl zzgl mio mrd""".split()  # noqa: SIM905
)
NUMBERED = frozenset(
    """no nr vol pp p fig art bd kap jan feb mar apr jun jul aug sep sept okt oct nov dez dec""".split()  # noqa: SIM905
)
"""Before a number they are abbreviations."""
NEAR = 40
"""Characters that are looked at beside a mark."""
_CLOSERS = "".join(CLOSING) + "“‘«"
"""What is opening in English and Chinese closes in German; after full-width marks it opens."""
_WIDE, _ANY, _CLOSING, _ALL = (
    "".join(map(re.escape, sorted(signs))) for signs in (WIDE, STOPS, CLOSING, frozenset(_CLOSERS))
)
_END = re.compile(rf"[{_ANY}]+(?:(?<=[{_WIDE}])[{_CLOSING}]*|(?<![{_WIDE}])[{_ALL}]*)")
_OPENING = "\"'“‘„‚«»‹›「『（(【《〈[{¿¡—–-"
_WORD = re.compile(r"\S*$")
_LINE = re.compile(r"[\n\r\u2028\u2029]")


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends, without the white space around; none of a blank text."""
    found: list[tuple[int, int]] = []
    start = 0
    for line in (*_LINE.finditer(text), None):
        _cut_line(text, start, len(text) if line is None else line.start(), found)
        start = len(text) if line is None else line.end()
    return found


def gaps(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """What stands before, between and after the sentences, one more than there are."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


def _cut_line(text: str, start: int, end: int, found: list[tuple[int, int]]) -> None:
    """Sentences of text[start:end], which has no line break."""
    for mark in _END.finditer(text, start, end):
        if mark.start() >= start and mark.end() < end and _ends(text, mark.start(), mark.end(), end):
            _add(text, start, mark.end(), found)
            start = mark.end()
    _add(text, start, end, found)


def _add(text: str, start: int, end: int, found: list[tuple[int, int]]) -> None:
    part = text[start:end]
    if bare := part.strip():
        begin = start + len(part) - len(part.lstrip())
        found.append((begin, begin + len(bare)))


def _ends(text: str, at: int, after: int, end: int) -> bool:
    """Whether the mark text[at:after] ends a sentence; something follows it."""
    if WIDE.intersection(text[at:after]):
        return True
    if not text[after].isspace():
        return False
    following = text[after : min(end, after + NEAR)].lstrip().lstrip(_OPENING)[:1]
    if following.islower():
        return False
    if text[at:after].rstrip(_CLOSERS) != ".":
        return True  # no full stop, or several
    before = _WORD.search(text, max(0, at - NEAR), at)
    word = (before[0] if before else "").lstrip(_OPENING)
    initial = len(word) == 1 and word.isupper() and word != "I"
    number = word.isdigit() and len(word) <= 2
    known = word.lower() in ABBREVIATIONS or (following.isdigit() and word.lower() in NUMBERED)
    return not (initial or number or known)
