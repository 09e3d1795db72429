"""What a written text has to be: any of these together, as one automaton.

Each part is an automaton of its own; a text must be accepted by all of them, which their product says exactly. Parts
that contradict each other are found here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from gatework.core.automaton.dfa import Dfa, TooLarge, counting, opposite, product
from gatework.core.automaton.nfa import Nfa, Piece
from gatework.core.automaton.regex import compile_pattern
from gatework.core.automaton.utf8 import ALL, complement, union
from gatework.core.errors import ConfigError

Range = tuple[int, int | None]
"""From and to, both included; None for no upper bound."""

MOST_CHOICES = 1 << 20
"""Characters of all choices together."""
_LETTERS = union(
    [(ord("0"), ord("9")), (ord("A"), ord("Z")), (ord("_"), ord("_")), (ord("a"), ord("z")), (0xC0, 0x52F)]
)
"""Digits and the letters of Latin, Greek and Cyrillic, which put blanks between words."""


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """Parts that are None or empty ask for nothing. Raises ConfigError where a part makes no sense."""

    pattern: str | None = None
    """A regular expression that the whole text matches; see `core.automaton.regex`."""
    choices: tuple[str, ...] = ()
    """The text is one of these."""
    must: tuple[str, ...] = ()
    """Words or phrases that appear. Where one begins or ends with a digit or a letter (Latin, Greek, Cyrillic), no
    other may stand next to it."""
    must_not: tuple[str, ...] = ()
    """Words or phrases that do not appear, in the same sense."""
    characters: Range | None = None
    """How many characters the text has."""
    tokens: Range | None = None
    """How many tokens it has. Up to whoever writes: `dfa` does not know tokens."""
    lines: str | None = None
    """A regular expression that every line matches; lines end at line feeds."""
    line_count: Range | None = None
    """How many lines there are."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("choices", "must", "must_not"):
                object.__setattr__(self, field.name, _words(field.name, value))
            elif field.name in ("pattern", "lines"):
                if value is not None and not isinstance(value, str):
                    raise ConfigError(f"constraint: {field.name} must be a regular expression, got {value!r:.60}.")
            elif value is not None:
                object.__setattr__(self, field.name, _range(field.name, value))

    def parts(self) -> Iterator[tuple[str, Dfa]]:
        """Each part on its own, by the name that errors have for it."""
        return _parts(self)

    @property
    def dfa(self) -> Dfa:
        """The texts that satisfy all parts but `tokens`. Raises ConfigError naming parts that contradict each other;
        TooLarge."""
        return _compiled(self)


def _words(name: str, value: Any) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (None,)
    if not all(isinstance(word, str) and (word or name == "choices") for word in words):
        raise ConfigError(f"constraint: {name} must be strings, and no empty ones, got {value!r:.60}.")
    if sum(len(str(word)) + 1 for word in words) > MOST_CHOICES:
        raise ConfigError(f"constraint: {name} has more than {MOST_CHOICES:,} characters in all.")
    return tuple(str(word) for word in words)


def _range(name: str, value: Any) -> Range:
    low, high = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    whole = type(low) is int and (high is None or type(high) is int)
    if not whole or low < 0 or (high is not None and high < low):
        raise ConfigError(f"constraint: {name} must be a number or (from, to), to not below from, got {value!r:.60}.")
    return low, high


@lru_cache(maxsize=64)
def _compiled(constraint: Constraint) -> Dfa:
    parts: list[tuple[str, Dfa]] = []
    whole = _any_text()
    for name, part in _parts(constraint):
        parts.append((name, part))
        try:
            whole = product(whole, part)
        except TooLarge as error:
            raise ConfigError(f"constraint: {name}: {error}") from None
        if whole.empty:
            raise ConfigError(_contradiction(parts))
    return whole


def _contradiction(parts: list[tuple[str, Dfa]]) -> str:
    """Which parts no text satisfies, as few of them as can be told quickly."""
    for count in (1, 2):
        for some in combinations(parts, count):
            whole = _any_text()
            for _, part in some:
                whole = product(whole, part)
            if whole.empty and count == 1:
                return f"constraint: {some[0][0]} can be satisfied by no text. Change it."
            if whole.empty:
                return f"constraint: {some[0][0]} and {some[1][0]} contradict each other. Change one of them."
    names = ", ".join(name for name, _ in parts)
    return f"constraint: no text satisfies all of {names}. Change one of them."


def _parts(constraint: Constraint) -> Iterator[tuple[str, Dfa]]:
    """Each part by the name a user knows it by; TooLarge becomes a ConfigError with that name."""
    makers: list[tuple[str, Any]] = []
    if constraint.pattern is not None:
        pattern = constraint.pattern
        makers.append((f"pattern {pattern!r:.60}", lambda: compile_pattern(pattern)))
    if constraint.choices:
        makers.append(("choices", lambda: _choices(constraint.choices)))
    if constraint.characters is not None:
        low, high = constraint.characters
        leads = (np.arange(256) & 0xC0) != 0x80  # every character has one byte that is no continuation
        makers.append((f"characters {_shown(low, high)}", lambda: counting(leads, low, high)))
    if constraint.lines is not None:
        lines = constraint.lines
        makers.append((f"lines {lines!r:.60}", lambda: _lines(lines)))
    if constraint.line_count is not None:
        least, most = constraint.line_count
        feeds, above = np.arange(256) == ord("\n"), None if most is None else most - 1
        if most == 0:
            raise ConfigError("constraint: line_count: a text has at least one line, even if it is empty.")
        makers.append((f"line_count {_shown(least, most)}", lambda: counting(feeds, max(least - 1, 0), above)))
    makers += [(f"must {word!r:.60}", lambda word=word: _containing(word)) for word in constraint.must]
    makers += [
        (f"must_not {word!r:.60}", lambda word=word: opposite(_containing(word))) for word in constraint.must_not
    ]
    for name, make in makers:
        try:
            yield name, make()
        except TooLarge as error:
            raise ConfigError(f"constraint: {name}: {error}") from None


def _shown(low: int, high: int | None) -> str:
    return f"from {low}" if high is None else f"{low}" if low == high else f"{low} to {high}"


@lru_cache(maxsize=1)
def _any_text() -> Dfa:
    nfa = Nfa()
    return nfa.deterministic(nfa.star(nfa.character(ALL)))


def _choices(choices: Sequence[str]) -> Dfa:
    nfa = Nfa()
    return nfa.deterministic(nfa.any_of([nfa.text(choice) for choice in choices]))


def _lines(pattern: str) -> Dfa:
    nfa = Nfa()
    single = nfa.deterministic(nfa.star(nfa.character(complement(((10, 10),)))))
    line = product(compile_pattern(pattern), single)
    if line.empty:
        return line
    more = nfa.star(nfa.sequence([nfa.text("\n"), nfa.automaton(line)]))
    return nfa.deterministic(nfa.sequence([nfa.automaton(line), more]))


def _containing(word: str) -> Dfa:
    """Texts in which a word appears."""
    nfa = Nfa()
    border = complement(_LETTERS)

    def beside(letter: str, *, before: bool) -> Piece:
        rest = nfa.star(nfa.character(ALL))
        if not _is_letter(letter):
            return rest
        edge = nfa.character(border)
        return nfa.any_of([nfa.nothing(), nfa.sequence([rest, edge] if before else [edge, rest])])

    parts = [beside(word[0], before=True), nfa.text(word), beside(word[-1], before=False)]
    return nfa.deterministic(nfa.sequence(parts))


def _is_letter(letter: str) -> bool:
    return any(low <= ord(letter) <= high for low, high in _LETTERS)
