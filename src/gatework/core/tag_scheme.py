"""How spans are written as one tag a token: the schemes, what each allows, and the way from one to another.

    iob1   I-X is inside a span of type X; B-X only where a span follows one of its type at once
    bio    B-X begins a span, I-X goes on with it, O is outside       (IOB2 of CoNLL 2003)
    bioes  besides, E-X ends a span and S-X is a span of one token
    bmes   bioes with M for I;   bilou: bioes with L for E and U for S
    none   tags that mark no spans, such as parts of speech

A type may be missing: `B`, `I`, `O` alone. Files are read in any scheme; inside, spans are always bioes, where the tags
of a span alone decide it. Two neighbouring tags settle whether a span begins or ends between them, by the rules of
`conlleval` (Tjong Kim Sang and Buchholz, CoNLL 2000), so a tag's bioes form follows from it and its two neighbours:

    begins(p, t)  t is B or S;  or t is I or E, and p is O, E or S, or of another type
    ends(t, n)    t is E or S;  or t is B or I, and n is O, B or S, or of another type

and an `I-X` that no scheme allows, such as one after O in bio, begins a span, as it does there.

K tags. A tag that is not known (partial annotation) is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, nearest

Bools = npt.NDArray[np.bool_]
Tag = str | None

SCHEMES = ("iob1", "bio", "bioes", "bmes", "bilou")
"""Schemes of spans; "none" stands beside them where tags mark no spans."""
INSIDE = "bioes"
"""The scheme everything inside works with."""

_BIO = {"B": "B", "I": "I", "O": "O"}
_BIOES = {**_BIO, "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_MARKS: dict[str, dict[str, str]] = {
    "iob1": _BIO,
    "bio": _BIO,
    "bioes": {mark: mark for mark in "BIOES"},
    "bmes": {"B": "B", "M": "I", "E": "E", "S": "S", "O": "O"},
    "bilou": {"B": "B", "I": "I", "L": "E", "U": "S", "O": "O"},
}
"""The marks a scheme writes, and what they are in bioes."""
_WRITTEN: dict[str, dict[str, str]] = {
    "bio": {"B": "B", "I": "I", "E": "I", "S": "B", "O": "O"},
    "bioes": {mark: mark for mark in "BIOES"},
    "bmes": {"B": "B", "I": "M", "E": "E", "S": "S", "O": "O"},
    "bilou": {"B": "B", "I": "I", "E": "L", "S": "U", "O": "O"},
}
"""The way back; iob1 looks at the tag before, see `from_inside`."""


class Span(NamedTuple):
    """A span of tokens."""

    start: int
    end: int
    """After the last token."""
    label: str
    """Its type; empty in schemes of bare marks."""


class Constraints(NamedTuple):
    """What is allowed: True. A path that starts, moves or ends otherwise has no probability at all."""

    transitions_KK: Bools
    """From row to column."""
    start_K: Bools
    end_K: Bools


def constraints(labels: Sequence[str], scheme: str) -> Constraints:
    """What `scheme` ("bio" or "bioes") allows between tags of these names, in their order. bioes also takes the marks
    of bmes and bilou.

    Raises: ConfigError: an unknown scheme, or a label that does not belong to it.
    """
    letters = {"bio": _BIO, "bioes": _BIOES}
    if scheme not in letters:
        raise ConfigError(f"tag scheme {scheme!r} is unknown. {nearest(scheme, letters)}")
    marks, types = (
        zip(*(_split(label, scheme, letters[scheme]) for label in labels), strict=True) if labels else ((), ())
    )
    mark_K, type_K = np.array(marks, dtype=str), np.array(types, dtype=str)
    goes_on_K = np.isin(mark_K, ["I", "E"])  # only inside a span
    open_K = np.isin(mark_K, ["B", "I"])  # a span is under way after this tag
    same_KK = type_K[:, None] == type_K
    inside_KK = open_K[:, None] & same_KK & goes_on_K
    # BIO may break off a span anywhere; BIOES must end what it began.
    may_leave_K = ~open_K if scheme == "bioes" else np.ones_like(open_K)
    return Constraints(inside_KK | (may_leave_K[:, None] & ~goes_on_K), ~goes_on_K, may_leave_K)


def split(tag: str) -> tuple[str, str]:
    """Mark and type: ("B", "PER") of "B-PER"; a bare mark has the empty type."""
    mark, _, kind = tag.partition("-")
    return mark, kind


def belongs(tag: str, scheme: str) -> bool:
    """Whether a tag is written with the marks of a scheme."""
    mark, dash, kind = tag.partition("-")
    return mark in _MARKS[scheme] and (not dash if mark == "O" else bool(kind) or not dash)


def fault(before: Tag, tag: Tag, scheme: str) -> str | None:
    """Why `tag` may not follow `before` in a scheme; None where it may.

    Args:
        before: the tag to the left; "" where the sentence begins, None where it is not known.
        tag: "" where the sentence ends.
    """
    if before is None or tag is None:
        return None
    marks = _MARKS[scheme]
    mark, kind = (marks[split(tag)[0]], split(tag)[1]) if tag else ("O", "")
    last, last_kind = (marks[split(before)[0]], split(before)[1]) if before else ("O", "")
    where = f"after {before}" if before else "at the beginning of a sentence"
    goes_on = last in "BI" and kind == last_kind and mark in "IE"
    if scheme == "iob1":
        if mark == "B" and not (last in "BI" and last_kind == kind):
            return f"{tag} {where}: in {scheme}, B- stands only between two spans of one type"
        return None
    if mark in "IE" and not goes_on:
        return f"{tag} {where}: no span of type {kind or 'any'} is under way there"
    if scheme != "bio" and last in "BI" and not goes_on:
        return f"{before} before {tag or 'the end of a sentence'}: the span is not ended"
    return None


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────────────


class Converter(dict[tuple[Tag, Tag, Tag], Tag]):
    """(tag before, tag, tag after) in the scheme of a file -> tag in bioes. It remembers what it worked out."""

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self._marks = _MARKS[scheme]
        self._bare = scheme in ("iob1", "bio")  # only the neighbours tell whether a span ends here
        self._iob1 = scheme == "iob1"

    def __missing__(self, key: tuple[Tag, Tag, Tag]) -> Tag:
        value = self[key] = self._inside(*key)
        return value

    def __call__(self, tags: Sequence[Tag]) -> tuple[Tag, ...]:
        """The tags of a sentence in bioes; None where they are unknown, or hang on a neighbour that is."""
        return tuple(map(self.__getitem__, zip(("", *tags[:-1]), tags, (*tags[1:], ""), strict=True)))

    def _inside(self, before: Tag, tag: Tag, after: Tag) -> Tag:
        if tag is None or tag == "O":
            return tag
        mark, kind = self._parts(tag)
        if (self._iob1 and before is None and mark == "I") or (self._bare and after is None):
            return None
        begins = mark in "BS" or (before is not None and _begins(*self._parts(before), mark, kind))
        ends = mark in "ES" or (after is not None and _ends(mark, kind, *self._parts(after)))
        return ("S" if ends else "B") + tag[1:] if begins else ("E" if ends else "I") + tag[1:]

    def _parts(self, tag: str) -> tuple[str, str]:
        mark, kind = split(tag) if tag else ("O", "")
        return self._marks[mark], kind


def from_inside(tags: Sequence[Tag], scheme: str) -> tuple[Tag, ...]:
    """Tags in bioes as a scheme writes them."""
    if scheme == "iob1":
        return tuple(_iob1(before, tag) for before, tag in zip(("O", *tags[:-1]), tags, strict=True))
    written = _WRITTEN[scheme]
    return tuple(tag and written[tag[0]] + tag[1:] for tag in tags)


def spans(tags: Sequence[Tag]) -> list[Span]:
    """The spans of a sentence tagged in bioes, in order; what no scheme allows is read as `conlleval` does."""
    found: list[Span] = []
    start, outside = 0, ("O", "")
    parts = [split(tag) if tag else outside for tag in tags]
    parts.append(outside)  # after the last, and before the first
    for place in range(len(tags)):
        mark, kind = parts[place]
        if mark == "O":
            continue
        if _begins(*parts[place - 1], mark, kind):
            start = place
        if _ends(mark, kind, *parts[place + 1]):
            found.append(Span(start, place + 1, kind))
    return found


def tags_of(spans: Iterable[Span], length: int) -> list[str]:
    """Tags in bioes of spans that do not overlap."""
    tags = ["O"] * length
    for start, end, label in spans:
        dash = f"-{label}" if label else ""
        if end - start == 1:
            tags[start] = f"S{dash}"
            continue
        tags[start], tags[end - 1] = f"B{dash}", f"E{dash}"
        tags[start + 1 : end - 1] = [f"I{dash}"] * (end - start - 2)
    return tags


def _begins(last: str, last_kind: str, mark: str, kind: str) -> bool:
    return mark in "BS" or (mark in "IE" and (last in "OES" or last_kind != kind))


def _ends(mark: str, kind: str, following: str, following_kind: str) -> bool:
    return mark in "ES" or (mark in "BI" and (following in "OBS" or following_kind != kind))


def _iob1(before: Tag, tag: Tag) -> Tag:
    if not tag or tag == "O":
        return tag
    mark, kind = split(tag)
    last, last_kind = split(before or "O")
    return ("B" if mark in "BS" and last in "ES" and last_kind == kind else "I") + tag[1:]


# ── finding out ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Undecided(Exception):
    """No scheme fits; the message names lines that conflict."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line
        """The first of them that is to be looked at."""


class Transitions:
    """Which tag follows which in a file, how often, and on which line first. "" stands for both ends of a sentence."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Tag, Tag]] = Counter()
        self.lines: dict[tuple[Tag, Tag], int] = {}
        """Line of the second tag; of the last, where the sentence ends."""

    def add(self, tags: Sequence[Tag], lines: Sequence[int]) -> None:
        """Count a sentence of at least one token, with the line of each token."""
        pairs = list(zip(("", *tags), (*tags, ""), strict=True))
        self.counts.update(pairs)
        if len(self.counts) > len(self.lines):
            for place, pair in enumerate(pairs):
                self.lines.setdefault(pair, lines[min(place, len(tags) - 1)])

    def tags(self) -> dict[str, int]:
        """Each known tag and the line where it first stands."""
        found: dict[str, int] = {}
        for (_, tag), line in sorted(self.lines.items(), key=lambda item: item[1]):
            if tag:
                found.setdefault(tag, line)
        return found

    def faults(self, scheme: str) -> list[tuple[int, str, int]]:
        """What the scheme does not allow: (first line, why, how often), by line."""
        found = [(self.lines[pair], fault(*pair, scheme), count) for pair, count in self.counts.items()]
        return sorted((line, why, count) for line, why, count in found if why is not None)

    def scheme(self) -> str:
        """The scheme these tags are written in. Raises Undecided."""
        tags = self.tags()
        shaped = {tag for tag in tags if tag != "O" and _is_shaped(tag)}
        bare = {tag for tag in tags if len(tag) == 1 and tag in _BIOES}
        if not shaped and not (bare - {"O"} and bare == set(tags)):
            return "bio" if set(tags) == {"O"} else "none"
        times: Counter[str] = Counter()
        for (_, tag), count in self.counts.items():
            if tag:
                times[tag] += count
        odd = [tag for tag in tags if tag not in shaped and tag != "O" and not (tag in bare and bare == set(tags))]
        if odd:
            if 10 * sum(times[tag] for tag in odd) > sum(times[tag] for tag in tags if tag != "O"):
                return "none"
            first = min(shaped, key=lambda tag: tags[tag])
            raise Undecided(
                f"tag {odd[0]!r} (line {tags[odd[0]]}) is of no scheme of spans, but {first!r} (line {tags[first]}) "
                "is. Mend the tag, or set data.scheme = 'none' for tags that mark no spans.",
                tags[odd[0]],
            )
        return self._scheme_of({split(tag)[0]: line for tag, line in reversed(tags.items())})

    def _scheme_of(self, marks: dict[str, int]) -> str:
        """The scheme of the marks used, each with a line."""
        used = set(marks)
        fitting = [scheme for scheme in SCHEMES if used <= set(_MARKS[scheme])]
        if not fitting:
            groups = [mark for mark in ("I", "M", "E", "L", "S", "U") if mark in used]
            clashes = [(a, b) for a, b in (("I", "M"), ("M", "L"), ("M", "U"), ("E", "L"), ("S", "U"), ("E", "U"),
                                           ("S", "L")) if {a, b} <= set(groups)]  # fmt: skip
            a, b = clashes[0]
            raise Undecided(
                f"marks of two schemes: {a}- (line {marks[a]}) and {b}- (line {marks[b]}). "
                "Write all tags in one scheme, or set data.scheme.",
                max(marks[a], marks[b]),
            )
        if "bio" not in fitting:
            return fitting[0]
        as_bio, as_iob1 = self.faults("bio"), self.faults("iob1")
        bad_bio, bad_iob1 = (sum(count for *_, count in faults) for faults in (as_bio, as_iob1))
        if FEW * min(bad_bio, bad_iob1) >= max(1, bad_bio + bad_iob1):
            raise Undecided(
                f"neither bio nor iob1: line {as_bio[0][0]} has {as_bio[0][1]}; line {as_iob1[0][0]} has "
                f"{as_iob1[0][1]}. Mend the tags (`gatework check` lists them), or set data.scheme.",
                as_bio[0][0],
            )
        return "iob1" if bad_iob1 < bad_bio else "bio"


FEW = 20
"""A scheme is settled where at most one in so many of the tags that tell bio from iob1 speaks for the other."""


def _is_shaped(tag: str) -> bool:
    mark, dash, kind = tag.partition("-")
    return mark in _BIOES and mark != "O" and bool(dash) and bool(kind)


def _split(label: str, scheme: str, letters: dict[str, str]) -> tuple[str, str]:
    """The mark and the type of a label."""
    letter, _, kind = label.partition("-")
    mark = letters.get(letter)
    if mark is None or (mark == "O") > (kind == ""):
        known = ", ".join(f"{name}-TYPE" for name in letters if name != "O")
        raise ConfigError(f"label {label!r} is none of the {scheme} scheme. Known: {known} and O.")
    return mark, kind
