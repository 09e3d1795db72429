"""What `test_parallel` runs under torchrun, in one launch: FOLDER RECIPE."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import toy

from gatework.core.recipe import Recipe
from gatework.train import train
from gatework.train.parallel import Group, join
from gatework.train.progress import Reporter
from gatework.train.run_folder import RunFolder


def run(path: Path, group: Group, dropout: float, *, resume: bool = False) -> toy.Loop:
    reporter = Reporter(RunFolder(path), progress=None, quiet=not group.first)
    return toy.train(path, toy.recipe(epochs=2), dropout=dropout, resume=resume, group=group, reporter=reporter)


def main(folder: Path, recipe: Path) -> None:
    group = join()
    plain = run(folder / "plain", group, 0.0)
    whole = toy.digest(run(folder / "whole", group, 0.3))
    if group.first:
        np.savez(folder / "plain.npz", **plain.best)
        max((folder / "whole" / "checkpoints").iterdir()).unlink()
    group.wait()
    resumed = toy.digest(run(folder / "whole", group, 0.3, resume=True))
    result = train(Recipe.model_validate_json(recipe.read_bytes()), folder / "m.gw")
    (folder / f"process-{group.rank}.txt").write_text(f"{whole} {resumed} {toy.digest(plain)} {result.nbytes}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
