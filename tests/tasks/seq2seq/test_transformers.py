"""Transformers from a recipe to answers: trained, stored, and opened by the runtime; and recipes that do not fit."""

import numpy as np
import pytest

from gatework.core.errors import ConfigError
from gatework.core.recipe import Recipe
from gatework.tasks import TASKS
from gatework.tasks.seq2seq.sample import write_sample

torch = pytest.importorskip("torch")

TASK = TASKS["translate"]
SMALL = {"embedding": 32, "units": 32, "heads": 2, "feed_forward": 48, "dropout": 0.0}
FIT = {"epochs": 10, "learning_rate": 5e-3, "metric": "exact_match", "threads": 1}


def recipe(folder, **model):
    sections, chance = write_sample(folder)
    sections["model"] |= SMALL | model
    sections["train"] |= FIT
    return Recipe.model_validate({"task": "translate", **sections}).filled(TASK.defaults), chance


@pytest.mark.parametrize("encoder", ["transformer", "recurrent"])
def test_trained_stored_and_opened(encoder, tmp_path):
    """What is written in made-up data is learnt in order: names, nouns, and the verb at the end."""
    from gatework.export import export_bundle
    from gatework.runtime import load
    from gatework.train import fit

    asked, _ = recipe(tmp_path, encoder=encoder, writer="transformer")
    result = fit(asked, run_folder=tmp_path / "run")
    assert result.metrics["exact_match"] > 0.7
    decode = TASK.settle(result.prepared, result.outputs)
    answers = []
    for storage in ("fp32", "bf16", "int8"):
        path = tmp_path / f"{storage}.gw"
        export_bundle(path, result.prepared, result.weights, decode, {}, storage)
        model = load(path)
        answers.append(model.predict(["ann sees suns birds", "tom likes owls"]))
        tested = TASK.evaluate(model, TASK.read(asked.data.test, model.bundle.config, {}))
        assert tested["exact_match"] == pytest.approx(result.metrics["exact_match"], abs=0.2)
    for one in zip(*answers, strict=True):
        np.testing.assert_allclose([each.score for each in one], one[0].score, atol=0.1)
    (first, _) = answers[0]
    assert first.attention.shape == (len(first.tokens) + 1, len(first.source_tokens))
    np.testing.assert_allclose(first.attention.sum(axis=1), 1.0, atol=1e-5)
    card = bytes(model.bundle.entries["README.md"]).decode()
    assert "- written by 1 x transformer, 32 units, 2 heads" in card
    assert f"- read by 1 x {'transformer' if encoder == 'transformer' else 'lstm'}" in card


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"heads": 3}, "multiple of its heads: 32 units, 3 heads"),
        ({"units": 48}, "as wide as its vectors: 48 units against 32"),
        ({"writer_units": 48, "encoder": "recurrent"}, "48 units against 32"),
        ({"input_feeding": True}, "input_feeding and coverage are of a recurrent writer"),
        ({"attention_kind": "none"}, '"none" is for recurrent'),
        ({"bidirectional": False}, "model.bidirectional: a transformer reads all of a source at once"),
    ],
)
def test_recipes_that_do_not_fit(model, says, tmp_path):
    asked, _ = recipe(tmp_path, **{"encoder": "transformer", "writer": "transformer", **model})
    with pytest.raises(ConfigError, match=says):
        TASK.prepare(asked, tmp_path, lambda sentence: None)


def test_defaults_of_a_transformer(tmp_path):
    asked, _ = recipe(tmp_path, encoder="transformer", writer="transformer", feed_forward=0, heads=4)
    made = TASK.prepare(asked, tmp_path, lambda sentence: None).architecture
    assert (made.encoder.inner, made.writer.inner, made.writer.heads) == (128, 128, 4)
