"""The small parts of training, each against its definition."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
import types
from itertools import pairwise

import numpy as np
import pytest
import torch

from gatework.core.batch import token_budget_batches
from gatework.core.errors import ConfigError, OutputError
from gatework.train import checkpoint, finder, progress
from gatework.train.averaging import STRIDE, Average
from gatework.train.checkpoint import Keeper, latest
from gatework.train.clock import Clock
from gatework.train.fitting import own_world, silent
from gatework.train.optimisers import Optimisers
from gatework.train.run_folder import RunFolder
from gatework.train.schedule import factor
from train import toy


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "plateau"])
def test_schedule_rises_then_falls_as_named(schedule):
    values = [factor(schedule, p / 100, warmup=0.2) for p in range(101)]
    assert values[5] == pytest.approx(0.25)
    assert values[20] == 1.0
    assert all(b > a for a, b in pairwise(values[:21]))
    want = {"cosine": 0.5 * (1 + math.cos(math.pi / 4)), "linear": 0.75, "constant": 1.0, "plateau": 1.0}[schedule]
    assert values[40] == pytest.approx(want)
    assert values[100] == pytest.approx(1.0 if schedule in ("constant", "plateau") else 0.0)


def test_no_warmup_begins_at_the_top():
    assert factor("cosine", 0.0, warmup=0.0) == 1.0


@pytest.mark.parametrize("kind", ["ema", "mean"])
def test_average_is_what_it_says(kind):
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    average = Average(kind, 0.9, {"w": parameter})
    seen, want = [], None
    for step in range(1, 81):
        parameter.data += torch.randn(5, dtype=torch.float64)
        average.update(step, progress=step / 80)
        if step % STRIDE == 0:
            if step >= 40:
                seen.append(parameter.detach().clone())
            decay = min(0.9, (1 + step) / (10 + step)) ** STRIDE
            want = parameter.detach().clone() if want is None else decay * want + (1 - decay) * parameter.detach()
    want = torch.stack(seen).mean(0) if kind == "mean" else want
    before = parameter.detach().clone()
    with average.applied():
        torch.testing.assert_close(parameter.detach(), want)
    assert torch.equal(parameter.detach(), before)


def test_no_average_leaves_the_weights():
    parameter = torch.nn.Parameter(torch.ones(2))
    average = Average("none", 0.9, {"w": parameter})
    average.update(STRIDE, progress=1.0)
    with average.applied():
        assert torch.equal(parameter.detach(), torch.ones(2))


def _stepped(**settings):
    """The toy network after one step from fixed weights, and how far each parameter went."""
    torch.manual_seed(3)
    network = toy.ToyNetwork(0.0)
    stage = toy.ToyStage(toy.recipe(**settings).train, network)
    optimisers = Optimisers(network, stage.trained(), stage.settings)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimisers.set_rate(0.5)
    stage.loss(np.arange(8)).value.backward()
    optimisers.step()
    return {name: p.detach() - before[name] for name, p in network.named_parameters()}


def test_lazy_rows_take_their_own_rate_and_others_stay():
    moved = _stepped(learning_rate=0.01, sparse_learning_rate=0.3, weight_decay=0.0)
    rows = moved["ngrams.weight"].abs().amax(1)
    assert 0 < int((rows > 0).sum()) <= 40
    # The first step of Adam goes exactly one learning rate, whatever the gradient.
    assert float(rows.max()) == pytest.approx(0.15, rel=1e-3)
    assert float(moved["out.weight"].abs().max()) == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_every_optimiser_learns_and_they_differ(tmp_path, name):
    rate = {"adamw": 0.02, "adam": 0.02, "sgd": 0.2}[name]
    history = toy.train(tmp_path / name, toy.recipe(optimizer=name, learning_rate=rate, epochs=8)).course.history
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


def test_weight_decay_and_momentum_do_something():
    plain = _stepped(optimizer="sgd", weight_decay=0.0)["hidden.weight"]
    assert not torch.equal(_stepped(optimizer="sgd", weight_decay=0.5)["hidden.weight"], plain)
    adam = _stepped(optimizer="adam", weight_decay=0.5)["hidden.weight"]
    assert not torch.equal(_stepped(optimizer="adamw", weight_decay=0.5)["hidden.weight"], adam)


def test_clipping_bounds_the_dense_gradient(tmp_path):
    network = toy.ToyNetwork(0.0)
    stage = toy.ToyStage(toy.recipe().train, network)
    optimisers = Optimisers(network, stage.trained(), stage.settings)
    (100 * stage.loss(np.arange(8)).value).backward()
    length = optimisers.clip(0.5)
    assert length > 0.5
    after = torch.cat([p.grad.reshape(-1) for p in optimisers.dense.values()]).norm()
    assert float(after) == pytest.approx(0.5, rel=1e-4)
    lengths = []
    original = Optimisers.clip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimisers, "clip", lambda self, norm: lengths.append(norm) or original(self, norm))
        toy.train(tmp_path / "run", toy.recipe(epochs=1, clip_norm=0.125))
    assert set(lengths) == {0.125}


def test_accumulated_batches_step_as_one(tmp_path):
    """Equal batches, no dropout: the sum over halves is the whole."""

    class Stage(toy.ToyStage):
        def batches(self, epoch):
            size = 8 if self.settings.accumulate == 2 else 16
            return [np.arange(start, start + size) for start in range(0, 96, size)]

    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "ToyStage", Stage)
        for accumulate in (1, 2):
            wanted = toy.recipe(accumulate=accumulate, epochs=2, optimizer="sgd", sparse_learning_rate=0.1)
            loop = toy.train(tmp_path / f"{accumulate}", wanted, dropout=0.0)
            assert loop.course.step == 12
            found.append(loop.stage.module.state_dict())
    for name, whole in found[0].items():
        torch.testing.assert_close(found[1][name], whole, rtol=1e-4, atol=1e-6)


def test_early_stopping_keeps_the_best(tmp_path):
    scores = iter([0.5, 0.4, 0.3, 0.35, 0.31, 0.9])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.ToyStage, "evaluate", lambda self, group: {"nll": next(scores)})
        loop = toy.train(tmp_path / "run", toy.recipe(epochs=9, patience=2))
    assert loop.course.finished == "patience"
    assert (loop.course.epoch, loop.course.best_epoch) == (5, 3)
    assert [entry["best"] for entry in loop.course.history] == [True, True, True, False, False]
    final = {name: p.detach().numpy() for name, p in loop.stage.module.named_parameters()}
    assert any(not np.array_equal(loop.best[name], final[name]) for name in final)


def test_patience_begins_after_the_warm_up(tmp_path):
    """While rates rise a score may be good by chance once, and worse for a while."""
    with pytest.MonkeyPatch.context() as patch:
        scores = iter([0.5] + [0.9] * 9)
        patch.setattr(toy.ToyStage, "evaluate", lambda self, group: {"nll": next(scores)})
        loop = toy.train(tmp_path / "run", toy.recipe(epochs=10, patience=4, warmup=0.5))
    assert (loop.course.finished, loop.course.epoch, loop.course.best_epoch) == ("patience", 9, 1)


def test_higher_is_better_where_the_task_says_so(tmp_path):
    scores = iter([0.5, 0.4, 0.6])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.ToyStage, "evaluate", lambda self, group: {"accuracy": next(scores)})
        loop = toy.train(tmp_path / "run", toy.recipe(epochs=3, metric="accuracy"))
    assert loop.course.best_epoch == 3


def test_plateau_halves_the_rate_when_dev_stops_improving(tmp_path):
    scores = iter([0.5, 0.6, 0.4, 0.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.ToyStage, "evaluate", lambda self, group: {"nll": next(scores)})
        loop = toy.train(tmp_path / "run", toy.recipe(epochs=4, schedule="plateau"))
    assert loop.course.plateau == 0.25


def test_unknown_metric_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.metric 'bleu'.*accuracy, nll"):
        toy.train(tmp_path / "run", toy.recipe(metric="bleu"))


def test_a_loss_that_is_no_number_is_the_users_to_mend(tmp_path, monkeypatch):
    def forward(self, x, rows):
        return self.out.weight.sum() * torch.full((len(x), 2), math.nan)

    monkeypatch.setattr(toy.ToyNetwork, "forward", forward)
    with pytest.raises(ConfigError, match=r"train\.learning_rate.*nan at step 1.*lower learning rate"):
        toy.train(tmp_path / "run", toy.recipe())


def test_bf16_computes_otherwise(tmp_path):
    loops = [toy.train(tmp_path / p, toy.recipe(precision=p, epochs=1), dropout=0.0) for p in ("fp32", "bf16")]
    losses = [loop.course.history[0]["loss"] for loop in loops]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


class TestTime:
    def test_stops_in_time_with_the_rate_decayed(self, tmp_path):
        begun = time.monotonic()
        clock = Clock(budget=2.0)
        clock.finish = lambda rate: 0.5
        told = []
        wanted = toy.recipe(epochs=100_000, patience=100_000, time_budget=2.0)
        folder = RunFolder(tmp_path / "run")
        reporter = progress.Reporter(folder, progress=told.append)
        loop = toy.train(tmp_path / "run", wanted, slow=0.005, clock=clock, reporter=reporter)
        assert loop.course.finished == "time"
        assert 0.8 < time.monotonic() - begun < 2.0
        assert loop.best
        rates = [now.learning_rate for now in told]
        assert max(rates) > 0.9
        assert rates[-1] < 0.25
        assert loop.course.progress > 0.95

    def test_a_budget_that_is_too_small_still_gives_a_model(self, tmp_path):
        loop = toy.train(tmp_path / "run", toy.recipe(time_budget=1e-6))
        assert loop.course.step == 1
        assert loop.best

    def test_a_budget_that_is_not_reached_changes_nothing_but_the_end(self, tmp_path):
        loop = toy.train(tmp_path / "run", toy.recipe(time_budget=1000.0))
        assert toy.digest(loop) == toy.digest(toy.train(tmp_path / "free", toy.recipe()))

    def test_the_reserve_grows_with_what_was_measured(self):
        clock = Clock(budget=10.0)
        guess = clock.reserve(1000, 1e-4)
        clock.evaluated(1000, 0.5)
        assert clock.reserve(1000, 1e-4) == pytest.approx(0.6)
        assert guess < 0.6
        clock.finish = lambda rate: 1.0
        assert clock.reserve(1000, 1e-4) == pytest.approx(1.8)

    def test_a_resumed_run_has_used_what_it_used(self, tmp_path):
        toy.train(tmp_path / "run", toy.recipe(epochs=1), slow=0.02)
        clock = Clock()
        toy.train(tmp_path / "run", toy.recipe(epochs=1), resume=True, clock=clock)
        assert clock.carried > 0.1


class TestDisk:
    def test_a_full_disk_leaves_the_last_checkpoint(self, tmp_path, monkeypatch):
        def full(path, *rest):
            if len(list((tmp_path / "run" / "checkpoints").iterdir())) > 1 and calls.append(1) is None:
                raise OutputError(f"{path}: cannot be written ({os.strerror(errno.ENOSPC)}).")
            return original(path, *rest)

        calls, original = [], checkpoint.save_tensors
        monkeypatch.setattr(checkpoint, "save_tensors", full)
        with pytest.raises(OutputError, match=r"No space.*is whole: go on with --resume"):
            toy.train(tmp_path / "run", toy.recipe())
        monkeypatch.undo()
        resumed = toy.digest(toy.train(tmp_path / "run", toy.recipe(), resume=True))
        assert resumed == toy.digest(toy.train(tmp_path / "whole", toy.recipe()))

    def test_a_disk_that_is_really_full(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
        if os.name == "nt" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no small file system can be mounted here")
        try:
            # A checkpoint takes about 22 kB. Leave room for three and a half.
            (disk / "ballast").write_bytes(b"x" * 100_000)
            toy.train(disk / "run", toy.recipe(epochs=1))
            size = max(path.stat().st_size for path in (disk / "run" / "checkpoints").iterdir())
            free = os.statvfs(disk)
            taken = free.f_bavail * free.f_frsize - size // 2
            (disk / "more").write_bytes(b"x" * taken)
            with pytest.raises(OutputError, match=r"No space left|disk is full"):
                toy.train(disk / "other", toy.recipe(epochs=3))
            (disk / "more").unlink()
            assert latest(disk / "run" / "checkpoints", say=silent) is not None
            assert not list((disk / "run").rglob("*.tmp"))
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    def test_a_damaged_checkpoint_is_passed_over(self, tmp_path):
        loop = toy.train(tmp_path / "run", toy.recipe())
        newest = max((tmp_path / "run" / "checkpoints").iterdir())
        newest.write_bytes(newest.read_bytes()[:-100])
        said = []
        kept = latest(tmp_path / "run" / "checkpoints", say=said.append)
        assert kept is not None
        assert newest.name in said[0]
        again = toy.train(tmp_path / "run", toy.recipe(), resume=True)
        assert toy.digest(again) == toy.digest(loop)

    def test_another_version_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(checkpoint, "FORMAT", 99)
        Keeper(tmp_path, every_seconds=1).save({}, {})
        monkeypatch.undo()
        with pytest.raises(ConfigError, match=r"checkpoint format 99.*start anew"):
            latest(tmp_path, say=silent)

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            RunFolder(tmp_path / "file" / "run").begin(toy.recipe(), resume=False)

    def test_a_new_run_removes_what_is_ours_and_nothing_else(self, tmp_path):
        toy.train(tmp_path / "run", toy.recipe(epochs=1))
        (tmp_path / "run" / "notes.txt").write_text("mine")
        folder = RunFolder(tmp_path / "run")
        folder.begin(toy.recipe(), resume=False)
        assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
        assert not list(folder.checkpoints.iterdir())
        assert not folder.metrics.exists()


def test_checkpoints_grow_rarer_when_they_are_dear(tmp_path):
    keeper = Keeper(tmp_path, every_seconds=0.0)
    keeper.save({}, {})
    keeper._cost = 100.0
    assert not keeper.due()
    keeper._cost = 0.0
    assert keeper.due()


def test_log_metrics_and_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LOG_STEPS", 5)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    told = []
    folder = RunFolder(tmp_path / "run")
    reporter = progress.Reporter(folder, progress=told.append)
    loop = toy.train(tmp_path / "run", toy.recipe(epochs=2), reporter=reporter)
    assert len(told) == loop.course.step
    assert [now.step for now in told] == list(range(1, loop.course.step + 1))
    assert all(a.fraction < b.fraction for a, b in pairwise(told))
    assert told[-1].tokens_per_second > 0
    assert told[0].seconds_left > told[-1].seconds_left >= 0
    lines = [json.loads(line) for line in folder.log_file.read_text().splitlines()]
    assert {"step", "epoch", "finished"} <= {line["event"] for line in lines}
    metrics = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [1, 2]
    assert set(metrics[0]["dev"]) == {"accuracy", "nll"}


def test_tensorboard_is_written_where_it_is_installed(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def close(self):
            written.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: name == "tensorboard")
    folder = RunFolder(tmp_path / "run")
    reporter = progress.Reporter(folder, progress=None)
    monkeypatch.setattr(progress, "LOG_STEPS", 4)
    toy.train(tmp_path / "run", toy.recipe(epochs=1), reporter=reporter)
    reporter.close()
    assert ("train/loss", 4) in written
    assert any(name[0] == "train/dev/nll" for name in written)
    assert written[-1] == "closed"


def test_our_world_is_left_as_it_was():
    torch.manual_seed(11)
    want = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    with own_world(5):
        torch.set_num_threads(1)
        torch.rand(100)
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.rand(3), want)


def test_finder_suggests_a_rate_where_the_loss_falls():
    with own_world(1):
        stage = toy.ToyStage(toy.recipe(learning_rate=2e-3).train, toy.ToyNetwork(0.0))
        rates = [1e-5 * 1e6 ** (step / 79) for step in range(80)]
        curve = finder._curve(rates, list(finder._sweep(stage, rates)))
    assert len(curve.curve) > 10
    assert 1e-4 < curve.suggestion < 3.0
    assert curve.to_dict()["suggestion"] == curve.suggestion


def test_finder_says_when_nothing_falls():
    with pytest.raises(ConfigError, match="no learning rate"):
        finder._curve(list(np.geomspace(0.1, 10, 30)), list(np.linspace(1, 3, 30)))


def test_batches_of_an_epoch_hold_every_example_once():
    stage = toy.ToyStage(toy.recipe().train, toy.ToyNetwork(0.0))
    first, again, next_one = (stage.batches(epoch) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(toy.EXAMPLES))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in next_one]
    assert all(len(batch) <= 12 for batch in first)
    assert len(list(token_budget_batches(stage.lengths, budget=100, max_batch=12))) > 1
