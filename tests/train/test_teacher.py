"""Distillation: a small network follows a larger one, by probabilities or by its answers; scheduled sampling rises."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gatework.core.errors import ConfigError, GateworkError  # noqa: E402
from gatework.core.recipe import Recipe  # noqa: E402
from gatework.runtime import load  # noqa: E402
from gatework.tasks import TASKS  # noqa: E402
from gatework.train import fit, pairs, train  # noqa: E402

TASK = TASKS["transduce"]


def recipe(folder, *, model=None, **changes):
    sections, _ = TASK.sample(folder)
    whole = Recipe.model_validate({"task": "transduce", **sections}).filled(TASK.defaults)
    given = {"threads": 1, "metric": "per", "epochs": 3}
    return whole.replace(train={**given, **changes}, export={"weights": "fp32"}, model=model or {})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    train(recipe(folder, epochs=6), folder / "big.gw")
    return folder / "big.gw"


def test_probabilities_of_a_teacher_help(teacher, tmp_path):
    """Few pairs: what the teacher finds likely says more than one right token each."""
    small = {"embedding": 12, "units": 12}
    wanted = recipe(tmp_path, model=small)
    lines = (tmp_path / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[:150]
    (tmp_path / "train.tsv").write_text("".join(lines), encoding="utf-8")
    alone = fit(wanted, run_folder=tmp_path / "alone")
    change = {"teacher": str(teacher), "teacher_weight": 0.5}
    taught = fit(wanted.replace(train=change), run_folder=tmp_path / "taught")
    big = load(teacher).codec
    assert taught.prepared.codec.to_entries() == big.to_entries()
    assert taught.prepared.architecture.encoder.units == 12
    assert any(not np.array_equal(alone.weights[name], taught.weights[name]) for name in alone.weights)
    assert taught.metrics["perplexity"] < alone.metrics["perplexity"]


@pytest.mark.parametrize("targets", ["replace", "add"])
def test_answers_of_a_teacher_are_targets(teacher, tmp_path, targets, monkeypatch):
    wanted = recipe(tmp_path, epochs=1, teacher=str(teacher), teacher_targets=targets)
    lines = (tmp_path / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[:40]
    (tmp_path / "train.tsv").write_text("".join(lines), encoding="utf-8")
    said = []
    result = fit(wanted, run_folder=tmp_path / "run", say=said.append)
    stream, codec = result.prepared.train.target, result.prepared.codec.target
    got = [codec.decode(stream.tokens[at:end]) for at, end in zip(stream.starts, stream.starts[1:], strict=False)]
    own = [line.rstrip("\n").split("\t") for line in lines]
    answers = [answer.text for answer in load(teacher).predict([source for source, _ in own])]
    assert answers != [target for _, target in own], "or this test says nothing"
    if targets == "replace":
        assert got == answers
    else:
        assert got == [text for pair, answer in zip(own, answers, strict=True) for text in (pair[1], answer)]
    assert any("40 sources answered" in sentence for sentence in said)
    kept = (tmp_path / "run" / "prepared" / "teacher.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in kept] == answers
    monkeypatch.setattr("gatework.train.teacher.load", lambda path: pytest.fail("answered once"))
    fit(wanted, run_folder=tmp_path / "run", resume=True)


def test_scheduled_sampling_rises(tmp_path, monkeypatch):
    seen = []
    original = pairs.Seq2Seq.with_own
    monkeypatch.setattr(
        pairs.Seq2Seq, "with_own", lambda self, own, chance: (seen.append(chance), original(self, own, chance))[1]
    )
    wanted = recipe(tmp_path, epochs=3, scheduled_sampling=0.3)
    fit(wanted, run_folder=tmp_path / "run")
    assert sorted(set(seen)) == pytest.approx([0.1, 0.2, 0.3])
    assert seen == sorted(seen)


def test_mistakes(teacher, tmp_path):
    wanted = recipe(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    lines = (tmp_path / "train.tsv").read_text(encoding="utf-8")
    (tmp_path / "train.tsv").write_text(lines + "zoe sees suns\tzoe sonnen sieht\n", encoding="utf-8")
    train(wanted.replace(train={"epochs": 1}), other / "zoe.gw")
    for changes, says in (
        ({"teacher": str(teacher)}, r"train\.teacher does nothing yet"),
        ({"teacher_weight": 0.5}, r"need train\.teacher, a bundle"),
        ({"teacher_targets": "add"}, r"need train\.teacher, a bundle"),
        ({"teacher": str(tmp_path / "none.gw"), "teacher_weight": 0.5}, r"none\.gw"),
        (
            {"teacher": str(teacher), "teacher_weight": 0.5, "start": str(other / "zoe.gw")},
            r"zoe\.gw and train\.teacher .*big\.gw have different vocabularies \([0-9a-f]{12} and [0-9a-f]{12}\)",
        ),
    ):
        with pytest.raises(GateworkError, match=says):
            train(wanted.replace(train=changes), tmp_path / "m.gw")
    sections, _ = TASKS["classify"].sample(tmp_path)
    plain = Recipe.model_validate({"task": "classify", **sections})
    for changes in ({"scheduled_sampling": 0.1}, {"teacher": "m.gw"}):
        with pytest.raises(ConfigError, match=f"train.{next(iter(changes))} is for sequence to sequence"):
            train(plain.replace(train=changes), tmp_path / "m.gw")
