"""Measuring a loaded model on tagged sentences, read once; no more than a chunk of sentences is held."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.core.errors import DataError
from gatework.core.tag_scheme import Converter
from gatework.tasks.tag.labels import Layer, TagTable, first_of
from gatework.tasks.tag.metrics import measure

if TYPE_CHECKING:
    from gatework.tasks.tag.answer import Tagged
    from gatework.text import Sentence

CHUNK = 1024
"""Sentences answered at once."""


def evaluate(model: Any, examples: Iterable[Sentence], *, source: str = "data") -> dict[str, Any]:
    """The metrics of `metrics.measure`.

    Args:
        model: a loaded model; its `codec` is a `TagCodec`.
        examples: tagged sentences; read once.
        source: name of the data for errors.
    Raises: DataError: no sentences.
    """
    layers: tuple[Layer, ...] = model.codec.layers
    numbers = [{tag: index for index, tag in enumerate(layer.labels)} for layer in layers]
    converters = [Converter(layer.scheme) if layer.has_spans else None for layer in layers]
    lengths: list[int] = []
    tags: list[list[int]] = [[] for _ in layers]
    gold: list[list[int]] = [[] for _ in layers]
    stream = iter(examples)
    while chunk := list(islice(stream, CHUNK)):
        answers: list[Tagged] = model.predict_batch([one.tokens for one in chunk])
        for one, given in zip(chunk, answers, strict=True):
            lengths.append(len(one.tokens))
            rows = (given.tags, *given.layers.values())
            for index, (number, converter) in enumerate(zip(numbers, converters, strict=True)):
                row = converter(rows[index]) if converter is not None else rows[index]
                tags[index] += [number[str(tag)] for tag in row]
                gold[index] += [number.setdefault(tag, len(number)) if tag else -1 for tag in one.tags[index]]
    if not lengths:
        raise DataError(f"{source}: no sentences. Give a file with at least one.")
    tables = [TagTable(tuple(number)) if layer.has_spans else TagTable(()) for number, layer in zip(
        numbers, layers, strict=True)]  # fmt: skip
    arrays = [[np.array(row, dtype=np.int32) for row in rows] for rows in (tags, gold)]
    return measure(
        layers, tables, arrays[0], arrays[1], first_of(np.array(lengths)), segment=model.codec.settings.segment
    )
