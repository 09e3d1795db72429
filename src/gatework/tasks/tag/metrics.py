"""How good tags are, as `conlleval` counts: a span is right if its first token, its last token and its type are.

    precision = right / found      recall = right / in the data      F1 = 2 P R / (P + R)

overall and for each type; token accuracy is over tags as the file writes them. A token whose true tag is not known is
left out of the accuracy, and a found span that touches such a token is not counted.

Source: Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 shared task: chunking", 2000.

N tokens of all sentences, S spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.tasks.bootstrap import draws, middle
from gatework.tasks.tag.labels import BoolArray, Layer, Spans, TagTable

NAMES = {"f1": True, "precision": True, "recall": True, "accuracy": True, "seg_f1": True}
"""What `train.metric` may be, and whether more is better."""


def ratio(part: float, whole: float) -> float:
    """`part / whole`, and 0 of nothing, as in `conlleval`."""
    return float(part / whole) if whole else 0.0


def scores(right: int, found: int, gold: int) -> dict[str, Any]:
    """Precision, recall, F1 and the counts they come from."""
    precision, recall = ratio(right, found), ratio(right, gold)
    return {
        "precision": precision,
        "recall": recall,
        "f1": ratio(2 * precision * recall, precision + recall),
        "right": int(right),
        "found": int(found),
        "gold": int(gold),
    }


def span_metrics(
    table: TagTable, tags_N: npt.NDArray[Any], gold_N: npt.NDArray[Any], first_N: BoolArray
) -> dict[str, Any]:
    """Scores of spans, overall and under "types" for each type.

    Args:
        table: of the tags in both arrays.
        tags_N: tags that were given.
        gold_N: true tags, -1 where not known.
        first_N: where each sentence begins.
    """
    found, gold = _both(table, tags_N, gold_N, first_N)
    size = len(table.kinds)
    right_K = np.bincount(found.kind_S[_right(found, gold)], minlength=size)
    found_K, gold_K = np.bincount(found.kind_S, minlength=size), np.bincount(gold.kind_S, minlength=size)
    types = {
        kind: scores(*counts)
        for kind, *counts in zip(table.kinds, right_K.tolist(), found_K.tolist(), gold_K.tolist(), strict=True)
        if counts[1] or counts[2]
    }
    return scores(int(right_K.sum()), int(found_K.sum()), int(gold_K.sum())) | {"types": dict(sorted(types.items()))}


def segment_metrics(
    table: TagTable, tags_N: npt.NDArray[Any], gold_N: npt.NDArray[Any], first_N: BoolArray
) -> dict[str, Any]:
    """Scores of spans whatever their type, under names that begin with `seg_`."""
    found, gold = (
        spans._replace(kind_S=np.zeros_like(spans.kind_S)) for spans in _both(table, tags_N, gold_N, first_N)
    )
    counted = scores(int(_right(found, gold).sum()), len(found.start_S), len(gold.start_S))
    return {f"seg_{name}": counted[name] for name in ("precision", "recall", "f1")}


def _both(
    table: TagTable, tags_N: npt.NDArray[Any], gold_N: npt.NDArray[Any], first_N: BoolArray
) -> tuple[Spans, Spans]:
    """The spans found that can be judged, and the true ones."""
    found, gold = table.spans(tags_N, first_N), table.spans(gold_N, first_N)
    unknown_N = gold_N < 0
    if unknown_N.any():
        before_N = np.concatenate([[0], np.cumsum(unknown_N)])
        clear_S = before_N[found.end_S] == before_N[found.start_S]
        found = Spans(found.start_S[clear_S], found.end_S[clear_S], found.kind_S[clear_S])
    return found, gold


def _right(found: Spans, gold: Spans) -> BoolArray:
    """Which of the spans found are true; in either set no two begin together."""
    _, here, there = np.intersect1d(found.start_S, gold.start_S, assume_unique=True, return_indices=True)
    same = (found.end_S[here] == gold.end_S[there]) & (found.kind_S[here] == gold.kind_S[there])
    right_S = np.zeros(len(found.start_S), dtype=bool)
    right_S[here[same]] = True
    return right_S


def accuracy(right_N: BoolArray, gold_N: npt.NDArray[Any]) -> float:
    """Share of right tags among tokens whose tag is known."""
    known_N = gold_N >= 0
    return ratio(int(np.sum(right_N & known_N)), int(known_N.sum()))


def measure(
    layers: Sequence[Layer],
    tables: Sequence[TagTable],
    tags: Sequence[npt.NDArray[Any]],
    gold: Sequence[npt.NDArray[Any]],
    first_N: BoolArray,
    *,
    segment: bool = False,
) -> dict[str, Any]:
    """Metrics of the main layer, and of each further one in a dictionary of its own under "layers".

    Args:
        layers: of tags.
        tables: of the tags of each layer, its own and those that only the data have.
        tags: for each layer, the tags given to N tokens.
        gold: for each layer, the true ones, -1 where not known.
        first_N: where each sentence begins.
        segment: spans are words: there are scores of their borders alone, too.
    """
    values: dict[str, Any] = {"n": int(first_N.sum()), "tokens": len(first_N)}
    values |= _of_layer(layers[0], tables[0], tags[0], gold[0], first_N)
    if segment:
        values |= segment_metrics(tables[0], tags[0], gold[0], first_N)
    if len(layers) > 1:
        more = zip(layers[1:], tables[1:], tags[1:], gold[1:], strict=True)
        values["layers"] = {one[0].name: _of_layer(*one, first_N) for one in more}
    return values


def _of_layer(
    layer: Layer, table: TagTable, tags_N: npt.NDArray[Any], gold_N: npt.NDArray[Any], first_N: BoolArray
) -> dict[str, Any]:
    if not layer.has_spans:
        return {"accuracy": accuracy(tags_N == gold_N, gold_N)}
    right_N = table.written(tags_N, first_N, layer.scheme) == table.written(gold_N, first_N, layer.scheme)
    return {"accuracy": accuracy(right_N, gold_N)} | span_metrics(table, tags_N, gold_N, first_N)


def of_known(
    layer: Layer,
    table: TagTable,
    tags_N: npt.NDArray[Any],
    gold_N: npt.NDArray[Any],
    first_N: BoolArray,
    chosen_N: BoolArray,
) -> dict[str, Any]:
    """Scores of some tokens alone: their accuracy, and that of spans, found or true, that hold one of them."""
    number_N = table.written(tags_N, first_N, layer.scheme) if layer.has_spans else tags_N
    truth_N = table.written(gold_N, first_N, layer.scheme) if layer.has_spans else gold_N
    values: dict[str, Any] = {
        "tokens": int(chosen_N.sum()),
        "accuracy": accuracy((number_N == truth_N)[chosen_N], gold_N[chosen_N]),
    }
    if not layer.has_spans:
        return values
    found, gold = _both(table, tags_N, gold_N, first_N)
    before_N = np.concatenate([[0], np.cumsum(chosen_N)])
    here_S, there_S = (before_N[spans.end_S] > before_N[spans.start_S] for spans in (found, gold))
    right = int((_right(found, gold) & here_S).sum())
    return values | scores(right, int(here_S.sum()), int(there_S.sum()))


def intervals(
    layer: Layer,
    table: TagTable,
    tags_N: npt.NDArray[Any],
    gold_N: npt.NDArray[Any],
    first_N: BoolArray,
    *,
    segment: bool,
    resamples: int,
    seed: int,
) -> dict[str, list[float]]:
    """95 % intervals of accuracy, F1 and (with `segment`) `seg_f1`, from resampled sentences."""
    sentence_N = np.cumsum(first_N) - 1
    count = int(first_N.sum())
    known_N = gold_N >= 0
    number_N = table.written(tags_N, first_N, layer.scheme) if layer.has_spans else tags_N
    truth_N = table.written(gold_N, first_N, layer.scheme) if layer.has_spans else gold_N
    columns = [
        np.bincount(sentence_N, weights=one, minlength=count) for one in (known_N & (number_N == truth_N), known_N)
    ]
    if layer.has_spans:
        for same_kind in (False, True) if segment else (False,):
            found, gold = _both(table, tags_N, gold_N, first_N)
            if same_kind:
                found, gold = (spans._replace(kind_S=np.zeros_like(spans.kind_S)) for spans in (found, gold))
            for places in (found.start_S[_right(found, gold)], found.start_S, gold.start_S):
                columns.append(np.bincount(sentence_N[places], minlength=count))
    kinds, times = np.unique(np.stack(columns, axis=1).astype(np.int64), axis=0, return_counts=True)
    drawn: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("accuracy", "f1", "seg_f1")}
    for draws_RK in draws(times, resamples, seed):
        sums = (draws_RK @ kinds).T
        drawn["accuracy"].append(sums[0] / np.maximum(1, sums[1]))
        for name, (right, made, true) in zip(("f1", "seg_f1"), sums[2:].reshape(-1, 3, len(draws_RK)), strict=False):
            drawn[name].append(2 * right / np.maximum(1, made + true))
    return {name: middle(pieces) for name, pieces in drawn.items() if pieces}
