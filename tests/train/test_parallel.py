"""Two processes under torchrun take the course one would take."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train import toy

SCRIPT = str(Path(toy.__file__))


def torchrun(path: Path, mode: str = "new", *settings: str, processes: int = 2) -> tuple[str, dict[str, list]]:
    out = path.with_suffix(".txt")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        SCRIPT, str(path), str(out), mode, "0", *settings,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return ast.literal_eval(out.read_text())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    path = tmp_path_factory.mktemp("parallel") / "pair"
    return path, torchrun(path, "new", "epochs=2", "dropout=0.0")


def test_two_processes_equal_one(tmp_path, pair):
    alone = toy.train(tmp_path / "alone", toy.recipe(epochs=2), dropout=0.0)
    for name, array in alone.best.items():
        np.testing.assert_allclose(np.array(pair[1][1][name]), array, rtol=2e-4, atol=2e-5)


def test_a_run_of_two_resumes_with_the_same_bits(tmp_path, pair):
    whole = torchrun(tmp_path / "whole", "new", "epochs=2")
    assert whole[0] != pair[1][0]  # dropout does something
    checkpoints = sorted((tmp_path / "whole" / "checkpoints").iterdir())
    checkpoints[-1].unlink()
    assert torchrun(tmp_path / "whole", "resume", "epochs=2") == whole


def test_only_the_first_process_writes(pair):
    lines = (pair[0] / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
