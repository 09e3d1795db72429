"""Regular expressions for whole texts, as Python's `re.fullmatch` reads them, without what no automaton can do.

Known: characters; `.` (no line feed); classes `[a-z]`, `[^a-z]`; \\w \\d \\s and their opposites, also in classes;
\\n \\r \\t \\f \\v \\a \\0 \\xHH \\uHHHH \\UHHHHHHHH; groups `( )`, `(?: )`; `|`; `? * + {m} {m,} {,n} {m,n}`, and the
same lazy, which for whole texts is no difference. Not known: back references, looking around, anchors, flags.
"""

from __future__ import annotations

from gatework.core.automaton.dfa import Dfa
from gatework.core.automaton.nfa import Nfa, Piece
from gatework.core.automaton.utf8 import ALL, Ranges, characters, complement, union
from gatework.core.errors import ConfigError

MOST_REPEATS = 10_000
MOST_DEPTH = 100
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_HEXADECIMAL = {"x": 2, "u": 4, "U": 8}
_LINE_FEED = ((10, 10),)


def compile_pattern(pattern: str) -> Dfa:
    """The texts a pattern matches as a whole. Raises ConfigError saying where the pattern is wrong; TooLarge."""
    nfa = Nfa()
    return nfa.deterministic(_Reader(pattern, nfa).whole())


class _Reader:
    """Recursive descent; each method reads a part and gives its piece of the automaton.

    A part that is repeated is read again from its place in the pattern, once for each copy.
    """

    def __init__(self, pattern: str, nfa: Nfa) -> None:
        self.pattern, self.nfa, self.at, self.depth = pattern, nfa, 0, 0

    def whole(self) -> Piece:
        piece = self.alternatives()
        if self.at < len(self.pattern):
            raise self.wrong("a ) without a (")
        return piece

    def wrong(self, what: str) -> ConfigError:
        return ConfigError(f"pattern {self.pattern!r:.80}: {what} at character {self.at + 1}.")

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self, wanted: str) -> bool:
        if wanted and self.pattern.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def alternatives(self) -> Piece:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise self.wrong(f"more than {MOST_DEPTH} groups in each other")
        branches = [self.branch()]
        while self.take("|"):
            branches.append(self.branch())
        self.depth -= 1
        return branches[0] if len(branches) == 1 else self.nfa.any_of(branches)

    def branch(self) -> Piece:
        pieces = []
        while self.peek() not in ("", "|", ")"):
            pieces.append(self.repeated())
        return self.nfa.sequence(pieces)

    def repeated(self) -> Piece:
        start = self.at
        piece = self.atom()
        end = self.at
        bounds = self.bounds()
        if bounds is None:
            return piece
        if self.peek() in ("*", "+", "{") and self.bounds() is not None:
            raise self.wrong("a repeat of a repeat (put a group around the first)")
        after, (fewest, most) = self.at, bounds

        def copy() -> Piece:
            self.at = start
            made = self.atom()
            assert self.at == end  # reading again reads the same
            return made

        pieces = [piece if not n else copy() for n in range(fewest)]
        first = copy() if fewest else piece  # of the optional ones
        if most is None:
            pieces.append(self.nfa.star(first))
        elif most > fewest:
            pieces.append(self.optional(first, most - fewest, copy))
        self.at = after
        return self.nfa.sequence(pieces)

    def optional(self, first: Piece, most: int, copy: object) -> Piece:
        """Up to `most` of them: a chain that can be left after each."""
        start, last = self.nfa.state(), self.nfa.state()
        here = start
        for n in range(most):
            one, other = first if not n else copy()  # type: ignore[operator]
            self.nfa.empty[here] += [one, last]
            here = other
        self.nfa.empty[here].append(last)
        return start, last

    def bounds(self) -> tuple[int, int | None] | None:
        """A repeat at this place, read; None where there is none."""
        found: tuple[int, int | None] | None = None
        for sign, meaning in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                found = meaning
                break
        else:
            end = self.pattern.find("}", self.at)
            low, comma, high = self.pattern[self.at + 1 : end].partition(",") if end > 0 else ("", "", "")
            if self.peek() != "{" or not _is_number(low or ("0" if comma else "")) or not _is_number(high or "0"):
                return None
            found = (int(low or 0), (int(high) if high else None) if comma else int(low))
            if max(found[0], found[1] or 0) > MOST_REPEATS:
                raise self.wrong(f"more than {MOST_REPEATS} repeats")
            if found[1] is not None and found[1] < found[0]:
                raise self.wrong("a repeat whose upper bound is below the lower")
            self.at = end + 1
        if self.take("+"):
            raise self.wrong("a possessive repeat, which is not known here")
        self.take("?")
        return found

    def atom(self) -> Piece:
        sign = self.peek()
        if self.take("("):
            if self.peek() == "?" and not self.take("?:"):
                raise self.wrong("a group beginning with (?, of which only (?: is known here")
            piece = self.alternatives()
            if not self.take(")"):
                raise self.wrong("a ( that is not closed")
            return piece
        if sign in ("*", "+", "?"):
            raise self.wrong(f"{sign} with nothing to repeat")
        if sign in ("^", "$"):
            raise self.wrong(f"{sign}, which is not known: patterns match whole texts (write \\{sign} for the sign)")
        return self.nfa.character(self.one())

    def one(self) -> Ranges:
        """The set of characters that one sign outside of classes stands for."""
        if self.take("["):
            return self.inside()
        if self.take("\\"):
            return self.escaped()
        self.at += 1
        sign = self.pattern[self.at - 1]
        return complement(_LINE_FEED) if sign == "." else ((ord(sign), ord(sign)),)

    def inside(self) -> Ranges:
        """A class, from after its bracket."""
        negative, first = self.take("^"), True
        ranges: list[tuple[int, int]] = []
        while first or self.peek() != "]":
            if not self.peek():
                raise self.wrong("a [ that is not closed")
            first = False
            low = self.escaped() if self.take("\\") else self.plain()
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
                self.take("-")
                high = self.escaped() if self.take("\\") else self.plain()
                if not (_is_single(low) and _is_single(high)) or high[0][0] < low[0][0]:
                    raise self.wrong("a range that does not rise from one character to another")
                low = ((low[0][0], high[0][0]),)
            ranges += low
        self.take("]")
        return complement(ranges) if negative else union(ranges)

    def plain(self) -> Ranges:
        self.at += 1
        code = ord(self.pattern[self.at - 1])
        return ((code, code),)

    def escaped(self) -> Ranges:
        """What a backslash that was just read begins."""
        sign = self.peek()
        self.at += 1
        if sign in ("w", "d", "s"):
            return characters(sign)
        if sign in ("W", "D", "S"):
            return complement(characters(sign.lower()))
        if digits := _HEXADECIMAL.get(sign):
            text = self.pattern[self.at : self.at + digits]
            if len(text) < digits or not all(digit in "0123456789abcdefABCDEF" for digit in text):
                raise self.wrong(f"\\{sign} without {digits} hexadecimal digits")
            self.at += digits
            code = int(text, 16)
            if code > ALL[-1][1]:
                raise self.wrong("a character beyond the last one")
            return ((code, code),)
        if sign in _CONTROLS and sign:
            return ((ord(_CONTROLS[sign]), ord(_CONTROLS[sign])),)
        if not sign or (sign.isascii() and sign.isalnum()):
            self.at -= 1
            raise self.wrong(f"\\{sign}, which is not known here")
        return ((ord(sign), ord(sign)),)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _is_single(ranges: Ranges) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]
