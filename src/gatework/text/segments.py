"""Words as characters: what joint segmentation and tagging learns from.

Each word of a sentence becomes its characters, letters with their combining marks, tagged B-, I-, E-, S- and the tag of
the word in every layer; a word without a tag gets bare marks.
"""

from __future__ import annotations

import re

from gatework.core.tag_scheme import Span, tags_of
from gatework.text.sentence import Sentence
from gatework.text.units import PATTERNS

_GLYPH = re.compile(PATTERNS["glyph"])


def cut_words(sentence: Sentence) -> Sentence:
    """The sentence as characters; a word of control characters alone stays whole."""
    glyphs: list[str] = []
    ends: list[int] = []
    for word in sentence.tokens:
        glyphs += _GLYPH.findall(word) or [word]
        ends.append(len(glyphs))
    starts = [0, *ends[:-1]]
    layers = sentence.tags or ((None,) * len(sentence.tokens),)
    tags = tuple(_marked(layer, starts, ends, bare=not sentence.tags) for layer in layers)
    return Sentence(tuple(glyphs), tags, sentence.line)


def _marked(tags: tuple[str | None, ...], starts: list[int], ends: list[int], *, bare: bool) -> tuple[str | None, ...]:
    known = [bare or tag is not None for tag in tags]
    spans = [Span(start, end, tag or "") for start, end, tag in zip(starts, ends, tags, strict=True)]
    marked: list[str | None] = [*tags_of(spans, ends[-1])]
    for start, end, is_known in zip(starts, ends, known, strict=True):
        if not is_known:
            marked[start:end] = [None] * (end - start)
    return tuple(marked)
