"""Models that a run learns from: their probabilities of every token, and what they answer to the training sources.

Source: Kim and Rush, "Sequence-Level Knowledge Distillation", arXiv:1606.07947.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gatework.core.files import atomic_write
from gatework.core.recipe import Recipe
from gatework.core.tensors import TensorFile
from gatework.nn import Seq2Seq
from gatework.runtime import load
from gatework.runtime.tables import dense
from gatework.tasks import Task
from gatework.tasks.seq2seq.sources import Sources
from gatework.tasks.seq2seq.taught import ANSWERS
from gatework.tasks.task import Say

AT_ONCE = 2048
"""Sources answered between two reports."""


def teacher_network(prepared: Any) -> Seq2Seq:
    """The teacher of a run, ready to be asked."""
    bundle = prepared.teacher.bundle
    network = Seq2Seq(bundle.architecture)
    load_bundle(network, bundle.weights)
    return network.eval().requires_grad_(False)


def load_bundle(network: Seq2Seq, weights: TensorFile) -> None:
    """Take over the weights of a bundle."""
    network.load_weights({name: np.array(dense(weights, name)) for name, _ in network.named_weights()})


def write_answers(task: Task, recipe: Recipe, folder: Path, say: Say) -> None:
    """What the teacher answers to each training source, by its own search, into `folder`; once for a run."""
    path, teacher = folder / ANSWERS, recipe.train.teacher
    if teacher is None or path.is_file():
        return
    sources = Sources.open(recipe, lambda sentence: None, dialogue=getattr(task, "dialogue", False))
    model = load(teacher)
    say(f"{teacher}: answers the training sources")
    answered = 0
    with atomic_write(path) as file:
        for texts in _chunks(pair.source for pair in sources.read("train")):
            for answer in model.predict_batch(texts):
                file.write(json.dumps(answer.text, ensure_ascii=False).encode() + b"\n")
            answered += len(texts)
            say(f"{teacher}: {answered:,} sources answered")


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    while chunk := list(islice(stream, AT_ONCE)):
        yield chunk
