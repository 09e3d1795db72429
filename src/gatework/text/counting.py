"""Counts of pieces and n-grams that a codec is fitted to, and an even draw of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING

import numpy as np

from gatework.text.known import Known
from gatework.text.ngrams import NgramCounter, NgramTable
from gatework.text.normalise import Normaliser
from gatework.text.units import Unit, blank_break_tags

if TYPE_CHECKING:
    from gatework.core.recipe import InputSection

MOST_COUNTED = 8_000_000
"""Different pieces counted while fitting; beyond it those seen once are forgotten."""

_32 = np.uint64(32)


def count_texts(
    texts: Iterable[str], unlabelled: Iterable[str], cutter: Unit, normalise: Normaliser, settings: InputSection
) -> tuple[Counter[str], NgramTable | None]:
    """Counts of the tokens of all texts, and the n-grams of `texts` that are kept (None where they are off)."""
    surfaces_seen: Counter[str] = Counter()
    counter = NgramCounter(settings.ngrams) if settings.ngrams else None
    known = Known(normalise)
    for text, labelled in chain(zip(texts, repeat(True)), zip(unlabelled, repeat(False))):
        surfaces = cutter.surfaces(blank_break_tags(text))
        surfaces_seen.update(surfaces)
        if len(surfaces_seen) > MOST_COUNTED:
            surfaces_seen = Counter({surface: count for surface, count in surfaces_seen.items() if count > 1})
        if counter is not None and labelled:
            packed_T = np.fromiter(map(known.__getitem__, surfaces), dtype=np.uint64, count=len(surfaces))
            counter.add(packed_T >> _32)
    counts = folded(surfaces_seen, normalise)
    if counter is None:
        return counts, None
    return counts, counter.table(min_count=settings.ngram_min_count, rows=settings.ngram_rows)


def count_tokens(
    sentences: Iterable[Sequence[str]], normalise: Normaliser, settings: InputSection
) -> tuple[Counter[str], NgramCounter | None]:
    """Counts of the tokens of all sentences as they stand, and of their n-grams from two up (None where off)."""
    seen: Counter[str] = Counter()
    counter = NgramCounter(settings.ngrams, shortest=2) if settings.ngrams > 1 else None
    known = Known(normalise)
    for tokens in sentences:
        seen.update(tokens)
        if len(seen) > MOST_COUNTED:
            seen = Counter({surface: count for surface, count in seen.items() if count > 1})
        if counter is not None:
            packed_T = np.fromiter(map(known.__getitem__, tokens), dtype=np.uint64, count=len(tokens))
            counter.add(packed_T >> _32)
    return seen, counter


def folded(seen: Mapping[str, int], normalise: Normaliser) -> Counter[str]:
    """Counts of tokens, from those of pieces as they stand."""
    counts: Counter[str] = Counter()
    for surface, count in seen.items():
        counts[normalise(surface)] += count
    return counts


def draw(texts: Iterable[str], count: int, rng: np.random.Generator) -> Iterable[str]:
    """All texts where they are at most `count`, else `count` of them drawn evenly (reservoir sampling)."""
    stream = iter(texts)
    held = list(islice(stream, count))
    for seen, text in enumerate(stream, start=count + 1):
        place = int(rng.integers(seen))
        if place < count:
            held[place] = text
    return held
