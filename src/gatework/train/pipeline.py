"""The whole of `gatework train`: fit, export, measure what was exported.

The bundle is written twice: first beside the run, where it is opened and measured by the runtime, then, with those
measurements inside, at the place the user named. So the scores in it are its own, and the place the user named never
holds a model that was not measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gatework
from gatework.core.errors import ConfigError
from gatework.core.files import check_writable
from gatework.core.recipe import Recipe
from gatework.export import export_bundle
from gatework.runtime import load
from gatework.tasks import TASKS, Prepared
from gatework.train.clock import Clock
from gatework.train.fitting import FitResult, fit, silent
from gatework.train.parallel import join, leave
from gatework.train.progress import ProgressCallback
from gatework.train.run_folder import RunFolder

RUNTIME_COST = 3.0
"""Time of a token in the runtime, encoding included, over that of a forward pass here; about 2 when measured."""
RUNNING_COST = 8.0
"""The same for running text, which goes through the runtime as one sequence; 3 to 6 when measured, by width."""
SCORING_COST, BEAM_COST = 2.0, 0.6
"""The same of targets: scored, and for each beam searched for; 4 to 4.6 together with 5 beams when measured."""
EXPORT_SECONDS = 0.75
"""Writing, opening and reporting, at least; for each million weights `EXPORT_SECONDS_PER_MILLION` more."""
EXPORT_SECONDS_PER_MILLION = 0.15


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What `gatework train` reports."""

    task: str
    path: str
    """Of the bundle."""
    nbytes: int
    metrics: dict[str, dict[str, Any]]
    """Of the bundle, by part: `dev`, and `test` where the recipe names one."""
    train_seconds: float
    """Spent in training, dev evaluations counted."""
    total_seconds: float
    """From reading the data to the last metric."""
    seed: int
    version: str
    """Of Gatework."""

    def to_dict(self) -> dict[str, Any]:
        """The object that `gatework train --json` prints."""
        return {
            "task": self.task,
            "bundle": {"path": self.path, "bytes": self.nbytes},
            "metrics": self.metrics,
            "seconds": {"train": round(self.train_seconds, 3), "total": round(self.total_seconds, 3)},
            "seed": self.seed,
            "version": self.version,
        }


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    say: Callable[[str], None] = silent,
    progress: ProgressCallback | None = None,
    run_folder: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    command: str = "",
    started: float | None = None,
) -> TrainResult:
    """Train by a recipe, write one bundle, and measure that bundle on dev and test data.

    Under `torchrun` every process calls this, the first one writes, and all get the same result.

    Args:
        recipe: what to learn, from what, and how.
        out: the bundle to write, such as `reviews.gw`.
        say: told in sentences what was inferred and what happens.
        progress: told a few times a second how far training is.
        run_folder: where the run is kept; `out` with the ending `.run` otherwise.
        resume: a run folder to go on with.
        command: that asks for this, for the bundle's record.
        started: when a time budget began to count, by `time.monotonic`; now otherwise.
    Raises:
        ConfigError, DataError, OutputError: the user can mend it.
        Interrupted: Ctrl-C; a checkpoint is kept, and the message says how to go on.
    """
    clock = Clock(budget=recipe.train.time_budget, started=started)
    check_writable(out)
    group = join()
    folder = Path(resume or run_folder or Path(out).with_suffix(".run"))
    if Path(out).resolve() == folder.resolve():
        raise ConfigError(f"{out}: the model file and the run folder need different names. Give the file the end .gw.")
    try:
        result = fit(
            recipe,
            run_folder=folder,
            say=say,
            progress=progress,
            resume=resume is not None,
            group=group,
            clock=clock,
            finish=_seconds_after,
            command=command,
            how_to_go_on=_command(folder, Path(out)),
        )
        text = json.dumps(_finish(result, Path(out), RunFolder(folder), clock, say)) if group.first else ""
        return TrainResult(**json.loads(group.share_text(text)))
    finally:
        leave(group)


def _finish(
    result: FitResult, out: Path, folder: RunFolder, clock: Clock, say: Callable[[str], None]
) -> dict[str, Any]:
    """Export, measure, export with the measurements. Returns the fields of a `TrainResult`."""
    prepared = result.prepared
    recipe, task = prepared.recipe, TASKS[prepared.recipe.task]
    decode = task.settle(prepared, result.outputs)
    command = folder.first_command()
    export = partial(export_bundle, prepared=prepared, weights=result.weights, command=command, say=say)
    draft = folder.path / "model.gw"
    export(draft, decode=decode)
    model = load(draft)
    if tuned := task.tune(model, prepared.examples("dev")):
        decode |= tuned
        export(draft, decode=decode)
        model = load(draft)
    metrics: dict[str, dict[str, Any]] = {}
    for part in ("dev", "test") if recipe.data.test is not None else ("dev",):
        say(f"measuring the model on {part} data")
        metrics[part] = task.evaluate(model, prepared.examples(part), source=part)
    info = export(out, decode=decode, metrics=metrics)
    draft.unlink(missing_ok=True)
    folder.log("exported", path=str(out), bytes=info.nbytes)
    return {
        "task": recipe.task,
        "path": str(out),
        "nbytes": info.nbytes,
        "metrics": metrics,
        "train_seconds": result.seconds,
        "total_seconds": clock.elapsed(),
        "seed": recipe.train.seed,
        "version": gatework.__version__,
    }


def _seconds_after(prepared: Prepared, rate: float) -> float:
    """Estimate of what `_finish` takes, from the seconds a token takes to evaluate here."""
    parts = prepared.facts.get("files", {})
    mean, test = float(np.mean(prepared.train.lengths_N)), parts.get("test", {})
    tokens = float(np.sum(prepared.dev.lengths_N)) + float(test.get("tokens", mean * test.get("examples", 0)))
    a = prepared.architecture
    millions = (a.vocabulary * a.embedding + a.ngram_rows * a.outputs) / 1e6
    cost = RUNNING_COST if prepared.carry else RUNTIME_COST
    if a.head == "sequence":
        cost = SCORING_COST + BEAM_COST * prepared.recipe.decode.beams
    return cost * rate * tokens + 2 * (EXPORT_SECONDS + EXPORT_SECONDS_PER_MILLION * millions)


def _command(folder: Path, out: Path) -> str:
    """How to resume; where the model goes is left out when it is what the folder's name says."""
    place = "" if out == folder.with_suffix(".gw") else f" -o {out}"
    return f"gatework train --resume {folder}{place}"
