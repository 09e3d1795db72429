"""A first look through a data file before anything is trained: its labels, their lines, and what its texts are.

Reading stops at the first mistake, with file and line; `gatework check` lists them all.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.tasks.classify.evaluate import label_ids

if TYPE_CHECKING:
    from gatework.text import Example


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a file found. N examples; their texts are not kept."""

    path: str
    rows_N: list[tuple[str, ...]] = field(repr=False)
    """Labels of each example; equal tuples are one object."""
    text_N: npt.NDArray[np.uint64] = field(repr=False)
    """A number of each text, the same for texts that differ in white space only."""
    first_line: dict[str, int]
    """Line where each label first stands."""
    counts: Counter[str]
    """Examples with each label."""
    blank: int
    """Texts of white space alone."""

    def __len__(self) -> int:
        return len(self.rows_N)

    def place(self, label: str) -> str:
        return f"{self.path}:{self.first_line[label]}"

    def lone_labels(self) -> list[str]:
        """Labels that stand with one text alone, however often."""
        first: dict[str, int] = {}
        lone = dict.fromkeys(self.counts, True)
        for row, text in zip(self.rows_N, self.text_N.tolist(), strict=True):
            for label in row:
                if first.setdefault(label, text) != text:
                    lone[label] = False
        return [label for label, alone in lone.items() if alone]


def survey(
    path: str, examples: Iterable[Example], *, known: dict[str, int] | None = None, multi_label: bool = False
) -> Survey:
    """Look through labelled examples.

    Args:
        path: name of the file for errors.
        examples: its examples.
        known: label ids of training, where this is a dev or test file; any other label is an error.
        multi_label: whether an example may have any number of labels.
    Raises: DataError: no examples; no label or several where one is needed; an unknown label.
    """
    from gatework.text import text_key

    rows: list[tuple[str, ...]] = []
    kinds: dict[tuple[str, ...], tuple[str, ...]] = {}
    keys, first_line, counts, blank = array("Q"), dict[str, int](), Counter[str](), 0
    for example in examples:
        labels = tuple(example.labels)
        if labels not in kinds:
            checked = known if known is not None else dict.fromkeys(labels, 0)
            label_ids(labels, checked, multi_label, f"{path}:{example.line}")
            for label in labels:
                first_line.setdefault(label, example.line)
        rows.append(kinds.setdefault(labels, labels))
        counts.update(set(labels))
        blank += not example.text or example.text.isspace()
        keys.append(text_key(example.text))
    if not rows:
        raise DataError(f"{path}: no examples. Give a file with a text and a label in each row.")
    return Survey(
        path=path,
        rows_N=rows,
        text_N=np.array(keys, dtype=np.uint64),
        first_line=first_line,
        counts=counts,
        blank=blank,
    )


def label_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in the order of the network's outputs: whole numbers by value, otherwise by their characters."""
    names = list(labels)
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
