"""Scores of tags that any tagger gave, by the metrics of `gatework evaluate`: spans as `conlleval` counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.tag_sets import TagSet
from gatework.core.tag_scheme import Converter
from gatework.tasks.tag.labels import Layer, TagTable, first_of
from gatework.tasks.tag.metrics import measure

Rows = Sequence[Sequence[str]]


def score(one: TagSet, gold: Rows, found: Rows) -> dict[str, Any]:
    """Metrics of tags for a set's sentences.

    Args:
        gold: the true tags of each sentence, BIO where tags mark spans (BIOES where words are found in characters).
        found: those that were given, likewise; illegal ones are read as `conlleval` reads them.
    Raises: ValueError: rows of other lengths.
    """
    scheme = "none" if not one.spans else "bioes" if one.segment else "bio"
    convert = Converter(scheme) if one.spans else list
    numbers: dict[str, int] = {}
    flat: dict[str, list[int]] = {"gold": [], "found": []}
    for true, given in zip(gold, found, strict=True):
        if len(true) != len(given):
            raise ValueError(f"{len(true)} true tags, {len(given)} given")
        for name, row in (("gold", true), ("found", given)):
            flat[name] += [numbers.setdefault(tag, len(numbers)) for tag in convert(list(row))]
    layer = Layer("tag", scheme, tuple(numbers))
    table = TagTable(layer.labels) if one.spans else TagTable(())
    first_N = first_of(np.array([len(row) for row in gold]))
    arrays = {name: [np.array(row, dtype=np.int32)] for name, row in flat.items()}
    return measure([layer], [table], arrays["found"], arrays["gold"], first_N, segment=one.segment)
