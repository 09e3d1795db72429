"""Tuning toward answers: it helps dev or changes nothing, begins where it should, and resumes with the same bytes."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gatework.core.errors import ConfigError, GateworkError  # noqa: E402
from gatework.core.recipe import Recipe  # noqa: E402
from gatework.runtime import load  # noqa: E402
from gatework.tasks import TASKS  # noqa: E402
from gatework.train import checkpoint, train  # noqa: E402
from gatework.train.risk import Risk  # noqa: E402

TASK = TASKS["transduce"]


class Stop(Exception):
    pass


def recipe(folder, **changes):
    sections, _ = TASK.sample(folder)
    whole = Recipe.model_validate({"task": "transduce", **sections}).filled(TASK.defaults)
    lines = (folder / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.tsv").write_text("".join(lines[:200]), encoding="utf-8")
    given = {"threads": 1, "metric": "per", "epochs": 4, "risk_epochs": 2, "risk_count": 4, "risk_learning_rate": 5e-3}
    return whole.replace(train={**given, **changes}, export={"weights": "fp32"})


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("risk")
    result = train(recipe(folder), folder / "m.gw")
    return folder, result


def epochs_of(folder, name):
    import json

    lines = (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_answers_get_better_and_the_start_is_looked_at(tuned):
    folder, result = tuned
    history = epochs_of(folder, "m.run")
    assert [(entry["stage"], entry["epoch"]) for entry in history] == [
        *[("train", epoch) for epoch in (1, 2, 3, 4)],
        *[("risk", epoch) for epoch in (0, 1, 2)],
    ]
    before = min(entry["dev"]["per"] for entry in history if entry["stage"] == "train")
    assert history[4]["dev"]["per"] == before, "tuning begins with the best weights"
    assert history[4]["best"]
    after = min(entry["dev"]["per"] for entry in history[5:])
    assert after < 0.9 * before, "there is something to gain, or this test says nothing"
    got = load(folder / "m.gw").evaluate(folder / "dev.tsv", beams=1, resamples=0)
    assert got["per"] == pytest.approx(after, abs=1e-9)
    assert result.metrics["dev"]["per"] < before


def test_weights_that_tuning_makes_worse_are_not_kept(tuned, tmp_path):
    folder, _ = tuned
    wanted = recipe(tmp_path, start=str(folder / "m.gw"), epochs=0, risk_epochs=1, risk_learning_rate=0.5)
    train(wanted, tmp_path / "worse.gw")
    history = epochs_of(tmp_path, "worse.run")
    assert [(entry["stage"], entry["epoch"], entry["best"]) for entry in history] == [
        ("risk", 0, True),
        ("risk", 1, False),
    ]
    assert history[1]["dev"]["per"] > history[0]["dev"]["per"]
    one, other = load(folder / "m.gw").bundle.weights, load(tmp_path / "worse.gw").bundle.weights
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def test_a_bundle_that_does_not_fit(tuned, tmp_path):
    folder, _ = tuned
    wanted = recipe(tmp_path, start=str(folder / "m.gw"), epochs=0)
    for changes, says in (
        ({"model": {"units": 9}}, r"train\.start .*m\.gw: its encoder\.units is 24, the recipe's 9\. Give \[model\]"),
        ({"input": {"unit": "char", "target_unit": "word"}}, r"input\.unit is 'char', that of train\.start .* 'word'"),
        ({"input": {"shared": True}}, r"set input\.shared = false"),
        ({"train": {"start": str(tmp_path / "none.gw")}}, r"none\.gw"),
        ({"train": {"metric": "perplexity"}}, r"train\.risk_epochs needs a train\.metric of answers"),
    ):
        with pytest.raises(GateworkError, match=says):
            train(wanted.replace(**changes), tmp_path / "m.gw")


def test_other_tasks_say_that_it_is_not_for_them(tmp_path):
    sections, _ = TASKS["classify"].sample(tmp_path)
    wanted = Recipe.model_validate({"task": "classify", **sections})
    for changes in ({"risk_epochs": 1}, {"start": "m.gw"}):
        with pytest.raises(ConfigError, match=f"train.{next(iter(changes))} is for sequence to sequence"):
            train(wanted.replace(train=changes), tmp_path / "m.gw")


@pytest.mark.parametrize("candidates", ["beams", "samples"])
def test_killed_and_resumed(tmp_path, candidates, monkeypatch):
    changes = {"epochs": 1, "risk_epochs": 1, "batch_tokens": 600, "risk_candidates": candidates}
    wanted = recipe(tmp_path, checkpoint_seconds=1e-6, averaging="ema", **changes)
    (tmp_path / "whole").mkdir()
    train(wanted, tmp_path / "whole" / "m.gw", command="gatework train r.toml")
    monkeypatch.setattr(checkpoint, "OVERHEAD", 1e9)  # a checkpoint after every step
    rng, original, left = random.Random(0), Risk.loss, 0

    def loss(self, indices):
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        return original(self, indices)

    monkeypatch.setattr(Risk, "loss", loss)
    (tmp_path / "cut").mkdir()
    resume, cuts = None, 0
    while True:
        left = rng.randint(0, 4)
        try:
            train(wanted, tmp_path / "cut" / "m.gw", resume=resume, command="gatework train r.toml")
            break
        except Stop:
            resume, cuts = tmp_path / "cut" / "m.run", cuts + 1
    assert cuts >= 2
    one, other = load(tmp_path / "whole" / "m.gw").bundle.weights, load(tmp_path / "cut" / "m.gw").bundle.weights
    for name in one:
        assert np.array_equal(one[name], other[name]), name
