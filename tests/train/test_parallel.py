"""Two processes under torchrun take the course one would take."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gatework.core.recipe import Recipe
from gatework.runtime import load
from train import toy


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder that `two_processes.py` has filled."""
    folder = tmp_path_factory.mktemp("parallel")
    rng = random.Random(1)
    for part, count in (("train", 300), ("dev", 60)):
        rows = [(label, f"word{rng.randrange(30)} {label}ish word{rng.randrange(30)}") for label in ("ab" * count)]
        (folder / f"{part}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    recipe = Recipe.model_validate(
        {
            "data": {"train": str(folder / "train.tsv"), "dev": str(folder / "dev.tsv")},
            "model": {"embedding": 8, "units": 8},
            "train": {"epochs": 2, "threads": 1, "batch_tokens": 256, "learning_rate": 0.01},
        }
    )
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        str(Path(__file__).with_name("two_processes.py")), str(folder), str(folder / "recipe.json"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder


def test_two_processes_equal_one(tmp_path, pair):
    alone = toy.train(tmp_path / "alone", toy.recipe(epochs=2), dropout=0.0)
    together = np.load(pair / "plain.npz")
    for name, array in alone.best.items():
        np.testing.assert_allclose(together[name], array, rtol=2e-4, atol=2e-5)


def test_processes_agree_and_resume_with_the_same_bits(pair):
    first, second = ((pair / f"process-{rank}.txt").read_text().split() for rank in (0, 1))
    assert first == second
    whole, resumed, plain, _ = first
    assert whole == resumed
    assert whole != plain  # dropout does something


def test_one_bundle_and_one_log(pair):
    model = load(pair / "m.gw")
    assert model.predict("word1 aish word2").label == "a"
    assert len((pair / "m.run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert len((pair / "plain" / "metrics.jsonl").read_text().splitlines()) == 2
