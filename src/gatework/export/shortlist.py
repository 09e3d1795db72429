"""A shortlist for a translator that is trained: what its tokens are translated to in pairs of texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.bundle import read_bundle
from gatework.core.errors import ConfigError
from gatework.export.writer import BundleInfo, restore
from gatework.tasks import TASKS
from gatework.tasks.seq2seq.alignment import shortlist

IntArray = npt.NDArray[np.integer]
FREQUENT, EACH = 128, 24


def add_shortlist(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    pairs: str | os.PathLike[str],
    *,
    each: int = EACH,
    frequent: int = FREQUENT,
    storage: str | None = None,
) -> BundleInfo:
    """Write the model of a bundle again with a shortlist; see `tasks.seq2seq.shortlist`.

    Args:
        source: a bundle of sequence to sequence.
        target: the new one; may be the same path.
        pairs: a file of pairs, read as the training file was: best that file itself.
        each, frequent: tokens of a target for each of a source, and those that are frequent.
        storage: of the weights; None leaves them as they are.
    Raises: BundleError, ConfigError, DataError, OutputError.
    """
    bundle = read_bundle(source)
    if bundle.architecture.head != "sequence":
        raise ConfigError(f"{bundle.source}: a shortlist is of sequence to sequence, not of the task {bundle.task}.")
    task: Any = TASKS[bundle.task]
    codec = task.open_codec(bundle.config, bundle.entries, source=bundle.source)

    def encoded() -> Iterator[tuple[IntArray, IntArray]]:
        for pair in task.read(pairs, bundle.config, {}):
            yield codec.encode(pair.source).tokens, np.append(codec.encode_target(pair.target), codec.target.end)

    outputs = codec.target.vocabulary
    made = shortlist(encoded(), codec.source.vocabulary, outputs, frequent=frequent, each=each)
    return restore(source, target, storage=storage, more=made.to_entries(outputs))
