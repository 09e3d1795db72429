"""English running text cut as treebanks cut it, so that a tagger trained on one meets its own kind of tokens.

    He didn't pay $5.50 (U.S.).   ->   He did n't pay $ 5.50 ( U.S. ) .

What white space separates is cut further: brackets, quotes and signs off both ends, clitics (`n't`, `'s`, `'ll`),
commas and dashes inside words; numbers, addresses and abbreviations stay whole. A final full stop is cut off unless it
belongs to an abbreviation. What the training vocabulary has as one token stays one (`known`), and hyphenated words are
cut where training cuts them (`hyphens`): treebanks differ in both.

After the Penn Treebank's rules; offsets are those of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gatework.text.units import CJK, PATTERNS, Span, Unit, chunks

LONGEST = 200
"""Characters of a piece between blanks that these rules are for; longer ones are cut as `word` cuts."""
MOST_CACHED = 1 << 16

_OPENING = re.compile(r"``|''|\.\.\.+|--+|[\"'`“‘„«‹(\[{<¡¿$£€¥#*&@=+~|/…–—,;:!?%.)\]}>”’»›]")
_CLOSING = re.compile(r"(?:''|\.\.\.+|--+|[\"'`”’»›)\]}>…–—,;:!?%*=~|/])\Z")
_WHOLE = re.compile(
    r"(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|[\w-]+\.(?:com|org|net|edu|gov|uk|de)(?:/\S*)?"
    r"|[+-]?\d+(?:[.,:/-]\d+)*(?:st|nd|rd|th|s|'s)?|(?:[^\W\d_]\.)+[^\W\d_]?\.?|[@#]\w+",
    re.IGNORECASE,
)
_CLITIC = re.compile(r"(.+?)(n['’＇]t|['’＇](?:s|re|ve|ll|d|m))\Z", re.IGNORECASE | re.DOTALL)
_TWO = re.compile(r"(can)(not)|(gon|wan)(na)|(got)(ta)|(lem|gim)(me)", re.IGNORECASE)
_INNER = re.compile(r"--+|\.\.\.+|[…–—\"“”()\[\]{}]|[,;:!?](?!\d)|(?<!\d)[,;:!?]")
_HYPHEN = re.compile(r"-")
_CJK = re.compile(f"[{CJK}]")
_WORD = re.compile(PATTERNS["word"])
_ABBREVIATION = re.compile(
    r"(?:[^\W\d_]\.)*[^\W\d_]|mrs?|ms|dr|prof|[sj]r|st|gen|sen|rep|gov|capt|lt|col|sgt|maj|hon|rev|inc|ltd|corp?|co|bros"
    r"|vs|etc|no|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|ph\.d|approx|dept|est|fig|mt|ft",
    re.IGNORECASE,
)
"""What a full stop belongs to."""


class TreebankUnit(Unit):
    """See the module."""

    def __init__(self, known: Callable[[str], bool] | None = None, *, hyphens: bool = True) -> None:
        self._known = known
        self._hyphens = hyphens
        """Hyphenated words stay whole."""
        self._cuts: dict[str, list[Span]] = {}

    def surfaces(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.spans(text)]

    def spans(self, text: str) -> list[Span]:
        found: list[Span] = []
        for start, end in chunks(text):
            piece = text[start:end]
            cuts = self._cuts.get(piece)
            if cuts is None:
                cuts = self._cut(piece)
                if len(self._cuts) >= MOST_CACHED:
                    self._cuts.clear()
                self._cuts[piece] = cuts
            found += [(start + first, start + after) for first, after in cuts]
        return found

    def _cut(self, piece: str) -> list[Span]:
        """Where the tokens of a piece without blanks begin and end."""
        if len(piece) > LONGEST or _CJK.search(piece):
            return [match.span() for match in _WORD.finditer(piece)]
        front: list[Span] = []
        back: list[Span] = []
        start, end = 0, len(piece)
        while start < end and not self._whole(piece[start:end]):
            opening = _OPENING.match(piece, start, end)
            if opening is not None and opening.end() < end:
                front.append(opening.span())
                start = opening.end()
                continue
            closing = _CLOSING.search(piece, max(start + 1, end - 8), end)
            if closing is not None:
                back.append(closing.span())
                end = closing.start()
            elif piece[end - 1] == "." and end - start > 1 and not self._abbreviated(piece[start : end - 1]):
                back.append((end - 1, end))
                end -= 1
            else:
                break
        middle = [(start, end)] if start < end and self._whole(piece[start:end]) else self._words(piece, start, end)
        return [*front, *middle, *reversed(back)]

    def _words(self, piece: str, start: int, end: int) -> list[Span]:
        """A core without signs at its ends: clitics and inner signs."""
        found: list[Span] = []
        at = start
        for sign in _INNER.finditer(piece, start + 1, max(start + 1, end - 1)):
            if sign.start() > at:
                found += self._word(piece, at, sign.start())
            found.append(sign.span())
            at = sign.end()
        return [*found, *self._word(piece, at, end)] if at < end else found

    def _word(self, piece: str, start: int, end: int) -> list[Span]:
        word = piece[start:end]
        if self._whole(word):
            return [(start, end)]
        if (clitic := _CLITIC.match(word)) is not None:
            border = start + clitic.start(2)
            return [*self._word(piece, start, border), (border, end)]
        if (two := _TWO.fullmatch(word)) is not None:
            border = start + len(next(part for part in two.groups() if part))
            return [(start, border), (border, end)]
        if self._hyphens or "-" not in word.strip("-"):
            return [(start, end)]
        found: list[Span] = []
        at = start
        for hyphen in _HYPHEN.finditer(piece, start, end):
            found += [(at, hyphen.start())] if hyphen.start() > at else []
            found.append(hyphen.span())
            at = hyphen.end()
        return [*found, (at, end)] if at < end else found

    def _whole(self, word: str) -> bool:
        if len(word) == 1:
            return True
        if self._known is not None and not word.isalnum() and self._known(word):
            return True
        return _WHOLE.fullmatch(word) is not None and word[-1] not in ",:/" and not _sentence_end(word)

    def _abbreviated(self, stem: str) -> bool:
        return _ABBREVIATION.fullmatch(stem) is not None


def _sentence_end(word: str) -> bool:
    """Whether a number or address ends in a full stop that is the sentence's."""
    return word[-1] == "." and re.fullmatch(r"(?:[^\W\d_]\.)+", word) is None


def keeps_hyphens(counts: Mapping[str, int]) -> bool:
    """Whether training, by counts of its tokens, keeps hyphenated words whole."""
    inner = sum(count for token, count in counts.items() if re.search(r"[^\W\d_]-[^\W\d_]", token))
    return inner >= counts.get("-", 0)
