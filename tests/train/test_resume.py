"""Killed at any instant and resumed, a run ends with the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatework.core.errors import ConfigError, Interrupted
from gatework.core.recipe import Recipe
from gatework.train.checkpoint import latest
from gatework.train.fitting import silent
from gatework.train.interrupt import InterruptFlag
from train import toy

KINDS = {
    "adamw and lazy Adam": [],
    "ema": ["averaging=ema", "average_decay=0.9"],
    "mean": ["averaging=mean"],
    "plateau": ["schedule=plateau", "warmup=0.0"],
    "sgd, accumulated": ["optimizer=sgd", "accumulate=3"],
    "bf16": ["precision=bf16"],
    "pre-trained": ["pretrain=yes"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_at_every_step_and_resumed(tmp_path, kind):
    """Stops by exception between and within steps, many times over: quick, so for every kind of state."""
    settings = dict(setting.split("=") for setting in KINDS[kind])
    pretrain = bool(settings.pop("pretrain", ""))
    wanted = toy.recipe(epochs=3, **settings)
    whole = toy.digest(toy.train(tmp_path / "whole", wanted, pretrain=pretrain))
    rng = random.Random(kind)

    class Stop(Exception):
        pass

    def stop_after(steps: int):
        original = toy.ToyStage.loss
        left = steps

        def loss(self, indices):
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            return original(self, indices)

        return loss

    resumed, stops, loop = False, 0, None
    while loop is None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(toy.ToyStage, "loss", stop_after(rng.randint(3, 9)))
            try:
                loop = toy.train(tmp_path / "cut", wanted, resume=resumed, pretrain=pretrain)
            except Stop:
                stops += 1
        resumed = True
    assert stops > 3
    assert toy.digest(loop) == whole
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_killed_at_random_instants(tmp_path):
    rows = [f"{'ab'[i % 2]}\tword{i % 7} {'ab'[i % 2]}ish word{i % 11}\n" for i in range(200)]
    (tmp_path / "train.tsv").write_text("".join(rows))
    small = {"embedding": 8, "units": 8}
    often = {"epochs": 8, "patience": 8, "threads": 1, "batch_tokens": 64, "checkpoint_seconds": 0.001}
    wanted = Recipe.model_validate({"data": {"train": str(tmp_path / "train.tsv")}, "model": small, "train": often})
    (tmp_path / "recipe.json").write_text(wanted.model_dump_json())
    script = str(Path(__file__).with_name("kills.py"))
    done = subprocess.run(
        [sys.executable, script, str(tmp_path), str(tmp_path / "recipe.json")],
        capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"ema", "plateau", "pre-trained", "bundle"}
    for kind, (kills, same) in found.items():
        assert kills >= 2, kind
        assert same, kind


def test_checkpoints_do_not_alter_the_course(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.Loop, "save", lambda self: None)
        without = toy.digest(toy.train(tmp_path / "without", toy.recipe()))
    assert toy.digest(toy.train(tmp_path / "with", toy.recipe())) == without


def test_another_seed_is_another_course(tmp_path):
    digests = {toy.digest(toy.train(tmp_path / f"{seed}", toy.recipe(seed=seed, epochs=1))) for seed in (1, 2)}
    assert len(digests) == 2


def test_a_finished_run_resumed_gives_the_same_again(tmp_path):
    first = toy.digest(toy.train(tmp_path / "run", toy.recipe()))
    assert toy.digest(toy.train(tmp_path / "run", toy.recipe(), resume=True)) == first


def test_a_finished_run_has_two_checkpoints(tmp_path):
    toy.train(tmp_path / "run", toy.recipe())
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def test_the_first_interrupt_keeps_the_step_and_says_how_to_go_on(tmp_path):
    flag = InterruptFlag()
    original = toy.ToyStage.loss
    calls = 0

    def loss(self, indices):
        nonlocal calls
        calls += 1
        flag.raised = calls == 13
        return original(self, indices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.ToyStage, "loss", loss)
        with pytest.raises(Interrupted, match=r"epoch 1, step 13; a checkpoint is kept.*--resume RUN"):
            toy.train(tmp_path / "run", toy.recipe(), interrupt=flag)
    kept = latest(tmp_path / "run" / "checkpoints", say=silent)
    assert kept is not None
    assert kept.state["course"]["step"] == 13
    resumed = toy.digest(toy.train(tmp_path / "run", toy.recipe(), resume=True))
    assert resumed == toy.digest(toy.train(tmp_path / "whole", toy.recipe()))


def test_interrupt_flag_waits_once_and_gives_the_handler_back():
    before = signal.getsignal(signal.SIGINT)
    with InterruptFlag() as flag:
        signal.raise_signal(signal.SIGINT)
        assert flag.raised
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_resume_needs_the_recipe_of_the_run(tmp_path):
    toy.train(tmp_path / "run", toy.recipe(epochs=1))
    with pytest.raises(ConfigError, match=r"began with another train\.epochs.*without --resume"):
        toy.train(tmp_path / "run", toy.recipe(epochs=2), resume=True)
    with pytest.raises(ConfigError, match="nothing to resume"):
        toy.train(tmp_path / "nowhere", toy.recipe(), resume=True)
    toy.train(tmp_path / "run", toy.recipe(epochs=1, time_budget=60, checkpoint_seconds=5), resume=True)


def test_a_log_cut_off_by_a_kill_is_mended(tmp_path):
    toy.train(tmp_path / "run", toy.recipe(epochs=1))
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"event": "st')
    toy.train(tmp_path / "run", toy.recipe(epochs=1), resume=True)
    assert all(json.loads(line)["event"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
