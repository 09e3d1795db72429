"""What went wrong with each span, one by one.

    wrong type                  the same tokens, another type
    wrong boundary              overlapping tokens, the same type
    wrong boundary and type     overlapping tokens
    missed                      a true span that no span found overlaps
    invented                    a span found that overlaps no true one

Each true span that was not found goes with the wrong span that shares most tokens with it, and each wrong span with one
true span at most. Where tags mark no spans, every wrong tag is a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gatework.core.tag_scheme import Span

if TYPE_CHECKING:
    from gatework.tasks.tag.answer import Tagged
    from gatework.text import Sentence

COLUMNS = ("error", "line", "start", "end", "true", "predicted", "true_text", "predicted_text", "score", "sentence")
KINDS = ("wrong type", "wrong boundary", "wrong boundary and type", "missed", "invented")


class Mistake(NamedTuple):
    """A true span, a span found, or both."""

    kind: str
    true: Span | None
    found: Span | None


def mistakes(gold: Sequence[Span], found: Sequence[Span]) -> list[Mistake]:
    """What is wrong with the spans found in a sentence, by place."""
    right = set(gold) & set(found)
    missing = [span for span in gold if span not in right]
    wrong = [span for span in found if span not in right]
    pairs = sorted(
        ((min(a.end, b.end) - max(a.start, b.start), a, b) for a in missing for b in wrong),
        key=lambda pair: (-pair[0], -(pair[1][:2] == pair[2][:2]), pair[1:]),
    )
    taken: set[Span] = set()
    used: set[Span] = set()
    rows: list[Mistake] = []
    for shared, true, given in pairs:
        if shared <= 0 or true in taken or given in used:
            continue
        taken.add(true)
        used.add(given)
        rows.append(Mistake(_kind(true, given), true, given))
    rows += [Mistake("missed", span, None) for span in missing if span not in taken]
    rows += [Mistake("invented", None, span) for span in wrong if span not in used]
    return sorted(rows, key=lambda row: (row.true or row.found or Span(0, 0, ""))[:2])


def _kind(true: Span, given: Span) -> str:
    if true[:2] == given[:2]:
        return "wrong type"
    return "wrong boundary" if true.label == given.label else "wrong boundary and type"


def span_rows(sentence: Sentence, answer: Tagged, gold: Sequence[Span]) -> Iterator[dict[str, object]]:
    """A row for each mistake of a sentence."""
    score = {span.tokens: span.score for span in answer.spans or ()}
    for kind, true, found in mistakes(gold, [Span(*one.tokens, one.label) for one in answer.spans or ()]):
        place = true or found or Span(0, 0, "")
        yield {
            "error": kind,
            "line": sentence.line,
            "start": place.start,
            "end": place.end,
            "true": true.label if true else "",
            "predicted": found.label if found else "",
            "true_text": " ".join(sentence.tokens[true.start : true.end]) if true else "",
            "predicted_text": " ".join(sentence.tokens[found.start : found.end]) if found else "",
            "score": round(score[found[:2]], 6) if found else "",
            "sentence": " ".join(sentence.tokens),
        }


def tag_rows(sentence: Sentence, answer: Tagged) -> Iterator[dict[str, object]]:
    """A row for each wrong tag of a sentence."""
    for place, (token, true) in enumerate(zip(answer.tokens, sentence.tags[0], strict=True)):
        if true is not None and token.tag != true:
            yield {
                "error": "wrong tag",
                "line": sentence.line,
                "start": place,
                "end": place + 1,
                "true": true,
                "predicted": token.tag,
                "true_text": sentence.tokens[place],
                "predicted_text": sentence.tokens[place],
                "score": round(token.score, 6),
                "sentence": " ".join(sentence.tokens),
            }
