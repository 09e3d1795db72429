"""A model trained for seconds, from data to bundle: what it answers, and that training and bundle say the same."""

import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.tasks import TASKS

torch = pytest.importorskip("torch")

TASK = TASKS["transduce"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Trained for too short a time, so that answers are wrong here and there; chosen by its answers."""
    from gatework.export import export_bundle
    from gatework.runtime import load
    from gatework.train import fit

    folder = tmp_path_factory.mktemp("run")
    sections, _ = TASK.sample(folder)
    recipe = Recipe.model_validate({"task": "transduce", **sections})
    recipe = recipe.replace(train={"threads": 1, "metric": "per", "epochs": 4}, input={"max_tokens": 6})
    result = fit(recipe.filled(TASK.defaults), run_folder=folder / "run")
    path = folder / "m.gw"
    decode = TASK.settle(result.prepared, result.outputs)
    export_bundle(path, result.prepared, result.weights, decode, {}, "fp32")
    return {"result": result, "model": load(path), "folder": folder}


def test_epochs_are_chosen_by_answers(run):
    """The network in training is asked by the runtime with one beam: so says the bundle."""
    wanted = run["result"].metrics
    assert 0.0 < wanted["per"] < 0.6
    got = run["model"].evaluate(run["folder"] / "dev.tsv", beams=1, resamples=0)
    assert got["n"] == 60
    assert got["answers"] < 60, "pairs of one source are one example"
    assert got["perplexity"] == pytest.approx(wanted["perplexity"], abs=1e-3)
    for name in ("per", "wer", "exact_match"):
        assert got[name] == pytest.approx(wanted[name], abs=1e-9)


def test_answers_of_a_file(run, tmp_path):
    rows = tmp_path / "rows.tsv"
    metrics = run["model"].evaluate(run["folder"] / "test.tsv", predictions=rows, resamples=50)
    table = [line.split("\t") for line in rows.read_text(encoding="utf-8").splitlines()]
    assert table[0] == ["line", "source", "target", "answer", "score", "reason"]
    assert len(table) == 1 + metrics["answers"]
    assert table[1][3] == run["model"].predict(table[1][1]).text
    low, high = metrics["interval"]["per"]
    assert low <= metrics["per"] <= high
    said = TASK.report(metrics)
    assert f"{metrics['per']:.4f}  edits a token" in said


def test_sources_longer_than_training_allowed(run):
    long = "ann sees owls stars roads suns trees birds"
    answer = run["model"].predict(long)
    assert answer.left_out == 2
    assert answer.to_dict()["left_out"] == 2
    assert answer.text == run["model"].predict("ann sees owls stars roads suns").text
    assert "left_out" not in run["model"].predict("ann sees owls").to_dict()


def test_tokens_of_the_source_as_they_stand(run):
    """Of unknown words too; the end is an empty string."""
    assert run["model"].predict("ann sees  dragons").source_tokens == ("ann", "sees", "dragons", "")


def test_mistakes(run, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("ann\tanna\nbob\t\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.tsv:2: the target is empty"):
        run["model"].evaluate(path)
    with pytest.raises(ConfigError, match=r"data\.label is no option for reading pairs"):
        run["model"].evaluate(path, {"label": 1})
    with pytest.raises(DataError, match=r"a\.tsv: no pairs"):
        run["model"].evaluate([], source=str(path))
