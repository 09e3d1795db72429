"""Checkpoints: everything that decides the rest of a run, in one safetensors file.

    model/<parameter>          weights
    optimizer/<parameter>/..   moments
    average/<parameter>        averaged weights, once begun
    best/<weight>              the weights of the best epoch, as they are exported
    stage/<name>               what else a stage carries from step to step, such as recurrent states
    random/<rank>              state of torch's generator in each process

The metadata holds one JSON object under `state`: where the course is, scores so far, counts, and what the run must
agree with to go on. A file appears whole or not at all, and the last two are kept, so a kill at any instant and a full
disk leave a good one. No pickle: reading a checkpoint runs no code.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatework.core.errors import BundleError, ConfigError, OutputError
from gatework.core.tensors import load_tensors, save_tensors

FORMAT = 1
KEPT = 2
OVERHEAD = 0.05
"""Largest part of the time that checkpoints inside an epoch may take; they grow rarer to stay below it."""

Numbers = dict[str, int | float]
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What one file holds."""

    state: dict[str, Any]
    arrays: Arrays

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Arrays whose name begins with `prefix/`, by the rest of the name, in memory of torch's own.

        Their own memory, because the speed and the last bits of a matrix product may depend on alignment.
        """
        return {name: torch.tensor(array) for name, array in self.under(prefix).items()}

    def under(self, prefix: str) -> Arrays:
        """As `tensors`, as arrays."""
        start = f"{prefix}/"
        return {name.removeprefix(start): array for name, array in self.arrays.items() if name.startswith(start)}


class Keeper:
    """Writes the checkpoints of a run to `folder`, and decides when one is due inside an epoch."""

    def __init__(self, folder: Path, *, every_seconds: float) -> None:
        self.folder = folder
        self.every_seconds = every_seconds
        self._last = time.monotonic()
        self._cost = 0.0

    def due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() - self._last >= max(self.every_seconds, self._cost / OVERHEAD)

    def save(self, state: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
        """Write one more checkpoint, then remove all but the last two.

        Raises: OutputError: it cannot be written; the checkpoints before it are as they were.
        """
        begun = time.monotonic()
        before = _files(self.folder)
        number = int(before[-1].stem) + 1 if before else 1
        path = self.folder / f"{number:08d}.safetensors"
        try:
            save_tensors(path, arrays, {"state": json.dumps({"format": FORMAT, **state})})
        except OutputError as error:
            last = f" The checkpoint before it, {before[-1].name}, is whole: go on with --resume." if before else ""
            raise OutputError(f"{error}{last}") from None
        for old in [*before, path][:-KEPT]:
            # One that cannot be removed does no harm.
            with contextlib.suppress(OSError):
                old.unlink()
        self._last = time.monotonic()
        self._cost = self._last - begun
        return path


def latest(folder: Path, *, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest good checkpoint of `folder`; None where there is none.

    A damaged one (a failing disk, an edited file) is passed over for the one before it, and `say` is told.

    Raises: ConfigError: the newest good one was written by another version of Gatework.
    """
    for path in reversed(_files(folder)):
        try:
            file = load_tensors(path)
            state = json.loads(file.metadata["state"])
            found = state["format"]
            arrays: Arrays = {name: np.array(file[name]) for name in file}
        except (BundleError, KeyError, TypeError, ValueError) as error:
            say(f"{path}: damaged ({error}); trying the checkpoint before it.")
            continue
        if found != FORMAT:
            raise ConfigError(
                f"{path}: checkpoint format {found}, this version reads {FORMAT}. "
                "Resume with the version that began the run, or start anew without --resume."
            )
        return Checkpoint(state=state, arrays=arrays)
    return None


def _files(folder: Path) -> list[Path]:
    """Checkpoints, oldest first. Temporary files of a killed process do not match."""
    return sorted(path for path in folder.glob("*.safetensors") if path.stem.isdigit())
