"""Training pairs whose targets a teacher wrote: sequence-level distillation.

A file in the folder of encoded data holds a JSON string for each training pair, in order: what the teacher answers to
its source. Whoever may run the teacher writes it (`train.teacher`); here it is read.

Source: Kim and Rush, arXiv:1606.07947.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gatework.core.errors import DataError
from gatework.tasks.seq2seq.sources import Sources

if TYPE_CHECKING:
    from gatework.text.pairs import OnEmpty, Pair

ANSWERS = "teacher.jsonl"


@dataclass(frozen=True)
class TaughtSources(Sources):
    """Sources whose training part has a teacher's targets."""

    answers: Path = Path()
    beside: bool = False
    """Whether the targets of the file stay too."""

    def read(self, part: str, on_empty: OnEmpty | None = None) -> Iterator[Pair]:
        """As `Sources.read`; answers that are empty are left out."""
        pairs = super().read(part, on_empty)
        return self._taught(pairs) if part == "train" else pairs

    def _taught(self, pairs: Iterator[Pair]) -> Iterator[Pair]:
        with self.answers.open(encoding="utf-8") as file:
            for pair in pairs:
                line = file.readline()
                if not line:
                    raise DataError(f"{self.paths['train']} has changed since the teacher answered it. Start anew.")
                answer = json.loads(line)
                if self.beside or not answer.strip():
                    yield pair
                if answer.strip():
                    yield pair._replace(target=answer)


def with_answers(sources: Sources, folder: Path, targets: str) -> Sources:
    """The sources with a teacher's answers: none, in place of the targets, or beside them (`train.teacher_targets`)."""
    if targets == "none":
        return sources
    own = {name: getattr(sources, name) for name in sources.__dataclass_fields__}
    return TaughtSources(**own, answers=folder / ANSWERS, beside=targets == "add")
