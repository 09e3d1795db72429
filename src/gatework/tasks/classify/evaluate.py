"""Measuring a loaded model on labelled examples, read once; no more than a chunk of texts is held.

A row of a predictions file is `line` (of the data file), `text`, `true`, `predicted`, `score`, `right`; several labels
are joined by `|`. The name's end chooses the form: `.jsonl` JSON lines, `.tsv` tabs, anything else CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError, nearest
from gatework.tasks.bootstrap import RESAMPLES
from gatework.tasks.classify.answer import Settings, decisions, probabilities
from gatework.tasks.classify.metrics import metrics
from gatework.tasks.rows import Write, open_rows

if TYPE_CHECKING:
    from gatework.text import Example

COLUMNS = ("line", "text", "true", "predicted", "score", "right")
CHUNK = 1024
"""Texts answered at once."""
MOST_NAMED = 30
"""Labels that an error lists by name."""


def evaluate(
    model: Any,
    examples: Iterable[Example],
    *,
    source: str = "data",
    predictions: Path | str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The metrics of `metrics.metrics`, with 95 % intervals.

    Args:
        model: a loaded model: its `codec` is a `ClassifyCodec`, its `logits(texts)` gives (B, C).
        examples: labelled texts; read once.
        source: name of the data for errors.
        predictions: a file to write every row to.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.
    Raises: DataError: a label the model does not know, or none where one is needed (file and line), or no examples.
        OutputError: `predictions` cannot be written; nothing half-written stays.
    """
    codec = model.codec
    settings: Settings = codec.settings
    ids = {label: index for index, label in enumerate(codec.labels)}
    logits, targets, empty = [], [], []
    stream = iter(examples)
    with open_rows(predictions, COLUMNS) as write:
        while chunk := list(islice(stream, CHUNK)):
            wanted = [label_ids(one.labels, ids, settings.multi_label, f"{source}:{one.line}") for one in chunk]
            logits_BC = model.logits([one.text for one in chunk])
            empty_B = np.array([codec.text.is_empty(one.text) for one in chunk], dtype=bool)
            if write is not None:
                _write_rows(write, chunk, wanted, logits_BC, empty_B, codec)
            logits.append(logits_BC)
            empty.append(empty_B)
            targets.append(target_array(wanted, len(ids), settings.multi_label))
    if not logits:
        raise DataError(f"{source}: no examples. Give a file with at least one.")
    return metrics(
        np.concatenate(logits),
        np.concatenate(targets),
        codec.labels,
        settings=settings,
        empty_N=np.concatenate(empty),
        resamples=resamples,
        seed=seed,
    )


def label_ids(labels: Sequence[str], ids: dict[str, int], multi_label: bool, place: str) -> tuple[int, ...]:
    """Ids of an example's labels. Raises DataError naming `place` for an unknown label or a wrong number of them."""
    if not multi_label and len(labels) != 1:
        found = f"{len(labels)} labels, {', '.join(labels[:3])}" if labels else "no label"
        raise DataError(f"{place}: {found}, where exactly one is needed. Set data.label_separator for several.")
    try:
        return tuple(ids[label] for label in labels)
    except KeyError as error:
        [label] = error.args
        raise DataError(f"{place}: label {label!r} is not among those of training. {_known(label, ids)}") from None


def target_array(rows: Sequence[Sequence[int]], labels: int, multi_label: bool) -> npt.NDArray[Any]:
    """Targets of several examples: label ids, int64, (B,), or for multi-label 0 and 1, float32, (B, C)."""
    if not multi_label:
        return np.array([row[0] for row in rows], dtype=np.int64)
    target_BC = np.zeros((len(rows), labels), dtype=np.float32)
    for index, row in enumerate(rows):
        target_BC[index, list(row)] = 1.0
    return target_BC


def _known(label: str, ids: dict[str, int]) -> str:
    if len(ids) <= MOST_NAMED:
        return nearest(label, ids)
    sentence = nearest(label, ids)
    hint = sentence[sentence.rindex(". ") + 2 :] if "Did you mean" in sentence else ""
    return f"There are {len(ids)} known labels. {hint}".rstrip()


def _write_rows(
    write: Write, chunk: list[Example], wanted: list[tuple[int, ...]], logits_BC: Any, empty_B: Any, codec: Any
) -> None:
    settings = codec.settings
    p_BC = probabilities(logits_BC, settings, empty_B)
    for one, true, p_C, chosen in zip(chunk, wanted, p_BC, decisions(p_BC, settings, empty_B), strict=True):
        answer = tuple(np.flatnonzero(chosen).tolist()) if settings.multi_label else (int(chosen),)
        write(
            {
                "line": one.line,
                "text": one.text,
                "true": "|".join(codec.labels[label] for label in sorted(set(true))),
                "predicted": "|".join(codec.labels[label] for label in answer),
                "score": round(float(p_C[list(answer)].min() if answer else p_C.max()), 6),
                "right": tuple(sorted(set(true))) == answer,
            }
        )
