"""What every task must do, by registry: learn made-up data, export, and answer from the bundle as the network does."""

import json

import numpy as np
import pytest

from gatework.core.recipe import Recipe
from gatework.tasks import TASKS, Task

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module", params=list(TASKS))
def task(request):
    return TASKS[request.param]


def only(task, head):
    """Leave a check out where it is about another head: how language models score is in `train/test_language`."""
    if task.head != head:
        pytest.skip(f"the head is {task.head}")


@pytest.fixture(scope="module")
def run(task, tmp_path_factory):
    """The task trained on its own made-up data, with what training says it scored."""
    from gatework.train import fit

    folder = tmp_path_factory.mktemp(task.name)
    sections, chance = task.sample(folder)
    recipe = Recipe.model_validate({"task": task.name, **sections})
    recipe = recipe.replace(train={"threads": 1}).filled(task.defaults)
    result = fit(recipe, run_folder=folder / "run")
    return {"task": task, "recipe": recipe, "chance": chance, "result": result, "folder": folder}


@pytest.fixture(scope="module")
def exported(task, run):
    """The run's bundle, weights as trained."""
    from gatework.export import export_bundle
    from gatework.runtime import load

    prepared, weights = run["result"].prepared, run["result"].weights
    path = run["folder"] / "model.gw"
    decode = task.settle(prepared, run["result"].outputs)
    export_bundle(path, prepared, weights, decode, {}, "fp32")
    return load(path)


def _network_on_dev(prepared, weights):
    """Outputs of the network in training for the dev examples, in one ragged batch."""
    from gatework.nn import Network, to_tensors

    network = Network(prepared.architecture)
    network.load_weights(weights)
    network.eval()
    encoded = [prepared.dev.encoded(index) for index in range(len(prepared.dev))]
    with torch.no_grad():
        logits = network(to_tensors(prepared.codec.collate(encoded))).total.numpy()
    return {"logits": logits, "empty": np.array([one.empty for one in encoded])}


def test_says_what_it_is(task):
    assert isinstance(task, Task)
    assert TASKS[task.name] is task
    for sentence in (task.summary, task.reads):
        assert sentence
        assert "\n" not in sentence
    assert Recipe().filled(task.defaults).train.metric in task.metrics


def test_learns_past_chance(task, run):
    metric = run["recipe"].train.metric
    score, chance = run["result"].metrics[metric], run["chance"]
    assert _past_chance(task, metric, score, chance), f"{metric} {score} after training; guessing gets {chance}"


def _past_chance(task, metric, score, chance):
    """Better than halfway from guessing to 1, which is perfect, be it an accuracy or a perplexity."""
    halfway = chance + (1 - chance) / 2
    return score > halfway if task.metrics[metric] else score < halfway


def test_report_is_text(task, run):
    prepared = run["result"].prepared
    metrics = task.score(prepared, run["result"].outputs)
    metric = run["recipe"].train.metric
    assert metrics[metric] == pytest.approx(run["result"].metrics[metric])
    assert f"{metrics[metric]:.4f}" in task.report(metrics)


def test_facts_are_json(run):
    json.dumps(run["result"].prepared.facts, allow_nan=False)


def test_answers_from_the_bundle_are_those_of_the_network(task, run, exported):
    """Ragged, from one token past several windows: the runtime agrees with nn to 1e-5."""
    only(task, "per_sequence")
    prepared = run["result"].prepared
    texts = _dev_texts(run)
    encoded = [prepared.codec.encode(text) for text in texts]
    lengths = [len(one.tokens) for one in encoded]
    assert min(lengths) <= 2
    assert max(lengths) > 2 * prepared.architecture.window
    want = _network_on_dev(prepared, run["result"].weights)["logits"]
    got = exported.logits(texts)
    assert got.shape == want.shape
    assert np.abs(want).max() > 0.5, "the outputs say something"
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_one_by_one_and_together_agree(task, run, exported):
    only(task, "per_sequence")
    texts = _dev_texts(run)[:20]
    together = [one.to_dict() for one in exported.predict_batch(texts)]
    for text, want in zip(texts, together, strict=True):
        got = exported.predict(text).to_dict()
        assert got["label"] == want["label"]
        assert got["score"] == pytest.approx(want["score"], abs=1e-5)


def test_the_bundle_scores_as_training_said(task, run, exported):
    """Single-label answers do not change by a temperature; a tuned threshold may change a few."""
    data = run["recipe"].data
    got = exported.evaluate(data.dev)
    metric = run["recipe"].train.metric
    assert got[metric] == pytest.approx(run["result"].metrics[metric], abs=0.02)
    tested = task.evaluate(exported, task.read(data.test, exported.bundle.config, {}))
    assert _past_chance(task, metric, tested[metric], run["chance"])


def test_decode_settings_are_json_and_read_back(task, run):
    prepared = run["result"].prepared
    decode = task.settle(prepared, run["result"].outputs)
    config = {
        "decode": json.loads(json.dumps(decode, allow_nan=False)),
        "architecture": prepared.architecture.to_dict(),
    }
    codec = task.open_codec(config, prepared.entries(), source="test")
    assert task.settle(prepared, run["result"].outputs) == json.loads(json.dumps(decode))
    only(task, "per_sequence")
    encoded = [codec.encode("")]
    assert len(codec.decode(np.zeros((1, prepared.architecture.outputs)), encoded)) == 1


def _dev_texts(run):
    return [example.text for example in run["task"].read(run["recipe"].data.dev, {}, {})]
