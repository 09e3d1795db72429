"""From data files to a measured bundle, on small made-up data."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gatework.core.errors import ConfigError, DataError, Interrupted
from gatework.core.recipe import Recipe
from gatework.runtime import load
from gatework.train import find_learning_rate, fit, fitting, saved_recipe, train
from gatework.train.fine_tune import FineTune

SMALL = {
    "input": {"min_count": 1, "ngram_min_count": 1, "ngrams": 2},
    "model": {"embedding": 12, "units": 10},
    "train": {"epochs": 3, "threads": 1, "batch_tokens": 256, "learning_rate": 0.01},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Train, dev and test files whose label is decided by a word or two, and unlabelled text."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(3)
    words = [f"word{i}" for i in range(60)]
    for part, count in (("train", 400), ("dev", 80), ("test", 80)):
        lines = []
        for _ in range(count):
            label = rng.choice(["good", "bad"])
            text = rng.choices(words, k=rng.randint(4, 14))
            text[rng.randrange(len(text))] = rng.choice({"good": ["fine", "great"], "bad": ["poor", "awful"]}[label])
            lines.append(f"{label}\t{' '.join(text)}\n")
        (folder / f"{part}.tsv").write_text("".join(lines))
    (folder / "more.txt").write_text("".join(" ".join(rng.choices(words, k=9)) + "\n" for _ in range(200)))
    return folder


def recipe(folder: Path, /, **sections) -> Recipe:
    values = {"data": {part: str(folder / f"{part}.tsv") for part in ("train", "dev", "test")}}
    for name in {*SMALL, *sections}:
        values[name] = {**values.get(name, {}), **SMALL.get(name, {}), **sections.get(name, {})}
    return Recipe.model_validate(values)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "m.gw"
    said = []
    return out, train(recipe(data), out, say=said.append), said


def test_the_result_is_what_the_command_prints(trained):
    out, result, _ = trained
    values = result.to_dict()
    assert list(values) == ["task", "bundle", "metrics", "seconds", "seed", "version"]
    assert values["bundle"] == {"path": str(out), "bytes": out.stat().st_size}
    assert set(values["metrics"]) == {"dev", "test"}
    assert values["metrics"]["test"]["accuracy"] > 0.9
    assert 0 < values["seconds"]["train"] < values["seconds"]["total"]
    assert json.loads(json.dumps(values)) == values


def test_the_metrics_are_those_of_the_bundle_and_are_inside_it(trained, data):
    out, result, _ = trained
    model = load(out)
    assert model.evaluate(data / "test.tsv")["nll"] == result.metrics["test"]["nll"]
    assert model.info()["metrics"]["test"]["accuracy"] == result.metrics["test"]["accuracy"]


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_where_the_processor_has_it(data, tmp_path, fast, monkeypatch):
    monkeypatch.setattr(fitting, "multiplies_bfloat16", lambda: fast)
    low, said, original = set(), [], FineTune.loss

    def loss(self, indices):
        low.add(torch.is_autocast_enabled("cpu"))
        return original(self, indices)

    monkeypatch.setattr(FineTune, "loss", loss)
    wanted = recipe(data, train={"precision": "bf16", "epochs": 1})
    train(wanted, tmp_path / "m.gw", say=said.append)
    assert low == {fast}
    assert any("training goes on in fp32" in sentence for sentence in said) == (not fast)
    assert saved_recipe(tmp_path / "m.run").train.precision == "bf16"


def test_the_run_folder(trained):
    run = trained[0].with_suffix(".run")
    assert {path.name for path in run.iterdir()} >= {
        "recipe.json", "resolved.json", "log.jsonl", "metrics.jsonl", "checkpoints",
    }  # fmt: skip
    assert not (run / "model.gw").exists()
    resolved = json.loads((run / "resolved.json").read_text())["recipe"]
    assert resolved["input"]["unit"] == "word"
    assert saved_recipe(run).input.unit == "auto"
    events = [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert events[0] == "started"
    assert events[-1] == "exported"


def test_nothing_of_torch_is_left_changed(data, tmp_path):
    torch.manual_seed(8)
    want = torch.rand(2)
    torch.manual_seed(8)
    fit(recipe(data, train={"epochs": 1}), run_folder=tmp_path / "run")
    assert torch.equal(torch.rand(2), want)
    assert not torch.are_deterministic_algorithms_enabled()


KINDS = {
    "default": {},
    "averaged": {"train": {"averaging": "ema", "average_decay": 0.9, "schedule": "plateau"}},
    "pre-trained": {"train": {"pretrain_epochs": 1}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_the_bundle_has_the_same_bytes(data, tmp_path, kind, monkeypatch):
    """Stopped by an exception at some step, again and again; every step writes a checkpoint."""
    from gatework.train import checkpoint, fine_tune, pretrain

    sections = {"train": {**KINDS[kind].get("train", {}), "epochs": 2, "checkpoint_seconds": 1e-6}}
    if kind == "pre-trained":
        sections["data"] = {"unlabelled": [str(data / "more.txt")]}
    wanted = recipe(data, **sections)
    (tmp_path / "whole").mkdir()
    train(wanted, tmp_path / "whole" / "m.gw", command="gatework train r.toml")
    monkeypatch.setattr(checkpoint, "OVERHEAD", 1e9)
    rng = random.Random(kind)
    left = 0

    class Stop(Exception):
        pass

    for stage in (fine_tune.FineTune, pretrain.Pretrain):
        original = stage.loss

        def loss(self, indices, original=original):
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            return original(self, indices)

        monkeypatch.setattr(stage, "loss", loss)
    (tmp_path / "cut").mkdir()
    out, stops = tmp_path / "cut" / "m.gw", 0
    while not out.exists():
        left = rng.randint(6, 14)
        try:
            command = "gatework train --resume m.run" if stops else "gatework train r.toml"
            train(wanted, out, resume=out.with_suffix(".run") if stops else None, command=command)
        except Stop:
            stops += 1
            assert not out.exists()
    assert stops >= 2
    assert out.read_bytes() == (tmp_path / "whole" / "m.gw").read_bytes()


def test_ctrl_c_says_how_to_go_on(data, tmp_path, monkeypatch):
    from gatework.train import fine_tune

    original, calls = fine_tune.FineTune.loss, []

    def loss(self, indices):
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return original(self, indices)

    monkeypatch.setattr(fine_tune.FineTune, "loss", loss)
    out = tmp_path / "m.gw"
    with pytest.raises(Interrupted, match=rf"step 4; a checkpoint is kept.*gatework train --resume {tmp_path}/m\.run$"):
        train(recipe(data), out)
    assert not out.exists()
    assert train(saved_recipe(tmp_path / "m.run"), out, resume=tmp_path / "m.run").metrics["dev"]["accuracy"] > 0.9


def test_resume_refuses_other_data(data, tmp_path):
    train_file = tmp_path / "train.tsv"
    train_file.write_text((data / "train.tsv").read_text())
    wanted = recipe(data, data={"train": str(train_file)}, train={"epochs": 1})
    fit(wanted, run_folder=tmp_path / "run")
    train_file.write_text(train_file.read_text().replace("word1 ", "word2 "))
    with pytest.raises(DataError, match="the data files changed since the run began"):
        fit(wanted, run_folder=tmp_path / "run", resume=True)


def test_time_budget_covers_everything(data, tmp_path):
    wanted = recipe(data, train={"epochs": 100_000, "patience": 100_000, "time_budget": 6.0})
    begun = time.monotonic()
    result = train(wanted, tmp_path / "m.gw")
    assert time.monotonic() - begun < 6.0
    assert result.metrics["test"]["accuracy"] > 0.9


def test_max_size_is_kept_and_said(data, tmp_path):
    said = []
    wanted = recipe(data, model={"embedding": 64, "units": 64}, train={"epochs": 1}, export={"max_size": 60_000})
    result = train(wanted, tmp_path / "m.gw", say=said.append)
    assert result.nbytes == (tmp_path / "m.gw").stat().st_size <= 60_000
    assert any("planned size" in sentence for sentence in said)


def test_pretraining_lowers_its_loss_and_changes_the_start(data, tmp_path):
    wanted = recipe(data, data={"unlabelled": [str(data / "more.txt")]}, train={"pretrain_epochs": 3, "epochs": 1})
    result = fit(wanted, run_folder=tmp_path / "run")
    stages = [(entry["stage"], entry["epoch"]) for entry in result.history]
    assert stages == [("pretrain", 1), ("pretrain", 2), ("pretrain", 3), ("train", 1)]
    assert result.history[2]["loss"] < result.history[0]["loss"]
    plain = fit(recipe(data, train={"epochs": 1}), run_folder=tmp_path / "plain")
    assert result.prepared.unlabelled is not None
    assert len(result.prepared.unlabelled) == 200
    assert plain.prepared.unlabelled is None


def test_vectors_are_imported_and_can_be_frozen(data, tmp_path):
    file = tmp_path / "v.vec"
    file.write_text("2 12\n" + "fine " + " ".join(["0.5"] * 12) + "\nawful " + " ".join(["-0.5"] * 12) + "\n")
    said = []
    wanted = recipe(data, input={"vectors": str(file), "freeze_vectors": True}, train={"epochs": 1})
    result = fit(wanted, run_folder=tmp_path / "run", say=said.append)
    row = result.prepared.codec.encode("fine").tokens[0]
    np.testing.assert_array_equal(result.weights["embedding.weight"][row], np.full(12, 0.5, np.float32))
    assert any("2 of" in sentence and "words have one" in sentence for sentence in said)
    narrow = recipe(data, input={"vectors": str(file)}, model={"embedding": 8})
    with pytest.raises(DataError, match=r"v\.vec"):
        fit(narrow, run_folder=tmp_path / "narrow")


@pytest.mark.parametrize("option", [{"class_weights": "balanced"}, {"label_smoothing": 0.2}, {"focal_gamma": 2.0}])
def test_every_loss_option_changes_the_course(data, tmp_path, option):
    losses = [
        fit(recipe(data, train={"epochs": 1, **change}), run_folder=tmp_path / f"{index}").history[0]["loss"]
        for index, change in enumerate(({}, option))
    ]
    assert losses[0] != losses[1]


def test_find_learning_rate(data):
    found = find_learning_rate(recipe(data), steps=40)
    assert 1e-5 < found.suggestion < 1.0
    rates = [rate for rate, _ in found.curve]
    assert rates == sorted(rates)
    with pytest.raises(ConfigError, match="lowest < highest"):
        find_learning_rate(recipe(data), lowest=1.0, highest=0.1)
