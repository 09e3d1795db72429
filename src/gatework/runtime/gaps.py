"""A text with gaps: what stands between them, and what stood in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gatework.core.errors import ConfigError, DataError

Marks = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Gapped:
    """Gap n is between parts n and n + 1."""

    parts: tuple[str, ...]
    originals: tuple[str, ...] = ()
    """What is to be rewritten, one text a gap; none where nothing is known."""

    @property
    def gaps(self) -> int:
        """How many there are."""
        return len(self.parts) - 1

    def filled(self, fillings: Sequence[str]) -> str:
        """The text with its gaps filled."""
        return "".join(part + filling for part, filling in zip(self.parts, (*fillings, ""), strict=True))


def at_gaps(text: str, gap: Any) -> Gapped:
    """Cut a text where `gap` stands. Raises DataError: it is nowhere, or gaps touch. ConfigError: it is empty."""
    if not (isinstance(gap, str) and gap):
        raise ConfigError(f"gap must be a string, and no empty one, got {gap!r:.40}.")
    return _apart(Gapped(tuple(text.split(gap))), f"Put {gap} where something is missing.")


def at_marks(text: str, marks: Any) -> Gapped:
    """Take what is to be rewritten from between a pair of marks. Raises: as `at_gaps`, and DataError: an odd mark."""
    if not _is_marks(marks):
        raise ConfigError(f"marks must be two strings that differ, no empty ones, got {marks!r:.40}.")
    opening, closing = marks
    parts, originals, rest = [""], list[str](), text
    while (start := rest.find(opening)) >= 0:
        end = rest.find(closing, start + len(opening))
        if end < 0:
            place = len(text) - len(rest) + start + 1
            raise DataError(f"the {opening} at character {place} has no {closing}. Close what is to be rewritten.")
        parts[-1] = rest[:start]
        originals.append(rest[start + len(opening) : end])
        rest = rest[end + len(closing) :]
        parts.append(rest)
    return _apart(
        Gapped((*parts[:-1], rest), tuple(originals)), f"Mark what is to be rewritten: {opening}...{closing}."
    )


def at_span(text: str, span: Any) -> Gapped:
    """Take what stands from one character to before another. Raises DataError: the span is not in the text."""
    start, end = span if isinstance(span, list | tuple) and len(span) == 2 else (None, None)
    if type(start) is not int or type(end) is not int or not 0 <= start <= end <= len(text):
        raise DataError(f"span must be (from, to) within the {len(text)} characters of the text, got {span!r:.40}.")
    return Gapped((text[:start], text[end:]), (text[start:end],))


def _apart(found: Gapped, advice: str) -> Gapped:
    if not found.gaps:
        raise DataError(f"the text has no gap. {advice}")
    for number, (_, between) in enumerate(pairwise(found.parts[:-1]), start=1):
        if not between:
            raise DataError(f"gaps {number} and {number + 1} touch. Make one gap of them, and name its length.")
    return found


def named(number: int, cut: Callable[..., Gapped], *given: Any) -> Gapped:
    """A text cut at its gaps. Raises DataError naming the text."""
    try:
        return cut(*given)
    except DataError as error:
        raise DataError(f"text {number}: {error}") from None


def check_words(found: Gapped) -> None:
    """Raise DataError where a gap does not stand between blanks, for models that write whole words."""
    for number, (before, behind) in enumerate(pairwise(found.parts), start=1):
        for beside, edge in ((before, before[-1:]), (behind, behind[:1])):
            if beside and not edge.isspace():
                raise DataError(
                    f"gap {number} touches {edge!r}, but the model writes whole words. Put a blank between."
                )


def _is_marks(marks: Any) -> bool:
    several = isinstance(marks, list | tuple) and len(marks) == 2
    return several and all(isinstance(one, str) and one for one in marks) and marks[0] != marks[1]
