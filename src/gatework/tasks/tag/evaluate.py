"""Measuring a loaded model on tagged sentences, read once; no more than a chunk of sentences is held.

A predictions file has the columns token, true tag, predicted tag, as the file writes them, a blank line after each
sentence: what `conlleval` reads. Named `.jsonl` it has an object a sentence with `line`, `tokens`, `true`, `predicted`.
A token whose true tag is not known has `?` there, or null.

N tokens of all sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import Converter, Span, from_inside, spans
from gatework.tasks.bootstrap import RESAMPLES
from gatework.tasks.rows import open_rows, open_text, write_json
from gatework.tasks.tag.calibration import expected_calibration_error, fit
from gatework.tasks.tag.errors import COLUMNS, KINDS, mistakes, span_rows, tag_rows
from gatework.tasks.tag.labels import Layer, TagTable, first_of
from gatework.tasks.tag.metrics import intervals, measure, of_known

if TYPE_CHECKING:
    from gatework.tasks.tag.answer import Tagged
    from gatework.text import Sentence

CHUNK = 1024
"""Sentences answered at once."""


def evaluate(
    model: Any,
    examples: Iterable[Sentence],
    *,
    source: str = "data",
    predictions: Path | str | None = None,
    errors: Path | str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The metrics of `metrics.measure`, and more.

    Args:
        model: a loaded model; its `codec` is a `TagCodec`.
        examples: tagged sentences; read once.
        source: name of the data for errors.
        predictions: a file to write every token with its tags to.
        errors: a file to write every mistake to: `.jsonl`, `.tsv` or CSV.
        resamples: of the bootstrap over sentences; 0 for no intervals.
        seed: of the bootstrap.
    Returns: besides the metrics, "oov", the scores of tokens outside the vocabulary and of spans that hold one;
        "errors", how many of each kind; "ece" of the spans' scores; "interval", 95 % intervals.
    Raises: DataError: no sentences. OutputError: a file cannot be written; nothing half-written stays.
    """
    layers: tuple[Layer, ...] = model.codec.layers
    rows = _Rows(layers)
    known: Callable[[str], bool] = model.codec.knows
    kinds: Counter[str] = Counter()
    with open_rows(errors, COLUMNS) as write_error, _predictions(predictions, layers[0]) as write_prediction:
        for sentence, answer in answers(model, examples):
            if len(sentence.tags) != len(layers):
                raise ConfigError(_other_layers(layers, sentence))
            rows.add(sentence, answer, [known(token) for token in sentence.tokens])
            if layers[0].has_spans:
                gold = spans(sentence.tags[0])
                kinds.update(one.kind for one in mistakes(gold, rows.found))
            if write_error is not None:
                for row in span_rows(sentence, answer, gold) if layers[0].has_spans else tag_rows(sentence, answer):
                    write_error(row)
            if write_prediction is not None:
                write_prediction(sentence, answer)
    if not rows.lengths:
        raise DataError(f"{source}: no sentences. Give a file with at least one.")
    first_N = first_of(np.array(rows.lengths))
    tables, tags, golds = rows.arrays()
    values = measure(layers, tables, tags, golds, first_N, segment=model.codec.settings.segment)
    values["oov"] = of_known(layers[0], tables[0], tags[0], golds[0], first_N, ~np.array(rows.known, dtype=bool))
    if layers[0].has_spans:
        values["errors"] = {kind: kinds[kind] for kind in KINDS}
        values["ece"] = expected_calibration_error(rows.scores, rows.right)
    if resamples:
        values["interval"] = intervals(
            layers[0], tables[0], tags[0], golds[0], first_N, segment="seg_f1" in values, resamples=resamples, seed=seed
        )
    return values


def _other_layers(layers: Sequence[Layer], sentence: Sentence) -> str:
    names = ", ".join(layer.name for layer in layers)
    return (
        f"line {sentence.line}: {len(sentence.tags)} layers of tags, the model has {len(layers)}: {names}. "
        "Name their columns with data.label and data.also."
    )


def tune(model: Any, examples: Iterable[Sentence]) -> dict[str, Any]:
    """The calibration of a model's span scores, fitted on dev examples, for its decode settings."""
    asked = model.bundle.config.get("recipe", {}).get("decode", {}).get("calibrate", True)
    if not asked or not model.codec.layers[0].has_spans:
        return {}
    rows = _Rows(model.codec.layers)
    for sentence, answer in answers(model, examples):
        rows.add(sentence, answer, ())
    return {"calibration": list(fit(rows.scores, rows.right))}


def answers(model: Any, examples: Iterable[Sentence]) -> Iterator[tuple[Sentence, Tagged]]:
    """Each sentence with the model's answer for its tokens."""
    stream = iter(examples)
    while chunk := list(islice(stream, CHUNK)):
        yield from zip(chunk, model.predict_batch([one.tokens for one in chunk]), strict=True)


class _Rows:
    """Tags given and true tags, as numbers, of all sentences; scores of the spans found."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._numbers = [{tag: index for index, tag in enumerate(layer.labels)} for layer in layers]
        self._converters = [Converter(layer.scheme) if layer.has_spans else None for layer in layers]
        self._tags: list[list[int]] = [[] for _ in layers]
        self._gold: list[list[int]] = [[] for _ in layers]
        self.lengths: list[int] = []
        self.known: list[bool] = []
        self.scores: list[float] = []
        self.right: list[bool] = []
        self.found: list[Span] = []
        """Spans of the last sentence that can be judged: no token of theirs has an unknown true tag."""

    def add(self, sentence: Sentence, answer: Tagged, known: Sequence[bool]) -> None:
        self.lengths.append(len(sentence.tokens))
        self.known += known
        rows = (answer.tags, *answer.layers.values())
        for index, (number, converter) in enumerate(zip(self._numbers, self._converters, strict=True)):
            row = converter(rows[index]) if converter is not None else rows[index]
            self._tags[index] += [number[str(tag)] for tag in row]
            gold = sentence.tags[index]
            self._gold[index] += [number.setdefault(tag, len(number)) if tag is not None else -1 for tag in gold]
        if answer.spans is None:
            return
        gold = sentence.tags[0]
        true = set(spans(gold))
        judged = [one for one in answer.spans if None not in gold[one.tokens[0] : one.tokens[1]]]
        self.found = [Span(*one.tokens, one.label) for one in judged]
        self.scores += [one.score for one in judged]
        self.right += [span in true for span in self.found]

    def arrays(
        self,
    ) -> tuple[list[TagTable], list[npt.NDArray[np.int32]], list[npt.NDArray[np.int32]]]:
        """Tables, tags given and true tags of each layer."""
        tables = [
            TagTable(tuple(number) if layer.has_spans else ())
            for number, layer in zip(self._numbers, self._layers, strict=True)
        ]
        tags, gold = ([np.array(row, dtype=np.int32) for row in rows] for rows in (self._tags, self._gold))
        return tables, tags, gold


WritePrediction = Callable[["Sentence", "Tagged"], None]


@contextmanager
def _predictions(path: Path | str | None, layer: Layer) -> Iterator[WritePrediction | None]:
    """A function that writes a sentence with its tags, or None without a file."""
    if path is None:
        yield None
        return
    path = Path(path)
    with open_text(path) as file:

        def write(sentence: Sentence, answer: Tagged) -> None:
            true = from_inside(sentence.tags[0], layer.scheme) if layer.has_spans else sentence.tags[0]
            if path.suffix == ".jsonl":
                row = {"line": sentence.line, "tokens": sentence.tokens, "true": true, "predicted": answer.tags}
                write_json(file, row)
                return
            for token, one, given in zip(sentence.tokens, true, answer.tags, strict=True):
                file.write(f"{token}\t{'?' if one is None else one}\t{given}\n")
            file.write("\n")

        yield write
