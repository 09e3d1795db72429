"""What `test_resume` runs: FOLDER RECIPE. Trains in forked children and kills them with SIGKILL at random instants.

Children of one process that has loaded torch start at once; nothing is computed in the parent, so forking is safe.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import toy

from gatework.core.recipe import Recipe
from gatework.train import train

KINDS: dict[str, dict[str, str]] = {
    "ema": {"averaging": "ema", "average_decay": "0.9"},
    "plateau": {"schedule": "plateau", "patience": "9"},
    "pre-trained": {"pretrain": "yes", "averaging": "mean"},
}
KILLS = 4


def train_toy(folder: Path, settings: dict[str, str], resume: bool, slow: float) -> None:
    options = dict(settings)
    pretrain = bool(options.pop("pretrain", ""))
    loop = toy.train(folder / "m.run", toy.recipe(**options), resume=resume, pretrain=pretrain, slow=slow)
    (folder / "m.gw").write_text(toy.digest(loop))


def train_real(folder: Path, recipe: Recipe, resume: bool) -> None:
    train(recipe, folder / "m.gw", resume=folder / "m.run" if resume else None)


def forked(work: Callable[[], None]) -> int:
    """Start `work` in a child; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def finish(pid: int) -> None:
    status = os.waitpid(pid, 0)[1]
    assert status == 0, status


def kill_soon(pid: int, run: Path, rng: random.Random) -> bool:
    """Kill `pid` a moment after it has written another checkpoint; False when it ended before that."""
    seen = checkpoints(run)
    while checkpoints(run) <= seen:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(rng.uniform(0.0, 0.06))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def checkpoints(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob("0*.safetensors")}


def compare(folder: Path, start: Callable[[Path, bool, bool], int], rng: random.Random) -> tuple[int, bool]:
    """How often a run was killed, and whether it still ended with the bytes of one that was not.

    `start(folder, resume, to_be_killed)` begins a run and gives its process id.
    """
    whole, cut = folder / "whole", folder / "cut"
    whole.mkdir(parents=True)
    cut.mkdir()
    finish(start(whole, False, False))
    kills = 0
    for _ in range(KILLS):
        kills += kill_soon(start(cut, kills > 0, True), cut / "m.run", rng)
        if (cut / "m.gw").exists():
            break
    if not (cut / "m.gw").exists():
        finish(start(cut, kills > 0, False))
    return kills, (cut / "m.gw").read_bytes() == (whole / "m.gw").read_bytes()


def main(folder: Path, recipe: Path) -> None:
    rng = random.Random(4)
    # The first optimiser loads a good part of torch: once here, not in every child.
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    found = {}
    for kind, settings in KINDS.items():

        def start(path: Path, resume: bool, slowly: bool, settings: dict[str, str] = settings) -> int:
            return forked(lambda: train_toy(path, settings, resume, 0.005 if slowly else 0.0))

        found[kind] = compare(folder / kind, start, rng)
    real = Recipe.model_validate_json(recipe.read_bytes())
    found["bundle"] = compare(
        folder / "bundle", lambda path, resume, _: forked(lambda: train_real(path, real, resume)), rng
    )
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
