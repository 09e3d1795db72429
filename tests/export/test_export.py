"""Bundles as they are written after training: storage, card, metrics, size."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from bundles import LABELS, TEXTS, architecture, random_weights, text_codec
from gatework.core.bundle import read_bundle
from gatework.core.errors import ConfigError, OutputError
from gatework.core.recipe import Recipe
from gatework.export import export_bundle, plan_size, restore
from gatework.export.storage import store, stored_again, stored_bytes
from gatework.export.writer import drop_ngrams
from gatework.runtime import load
from gatework.runtime.shapes import weight_shapes

DECODE = {"multi_label": False, "temperature": 1.25, "prior": [0.2, 0.5, 0.3], "thresholds": [], "positive": None}
FACTS = {
    "files": {"train": {"file": "reviews.csv", "bytes": 10, "sha256": "ab" * 32, "examples": 6, "empty": 0}},
    "sha256": "cd" * 32,
    "labels": {"bad": 2, "good": 3, "mixed": 1},
    "inferred": ["reviews.csv: CSV"],
}
MEASURED = {
    "n": 40,
    "accuracy": 0.875,
    "f1": 0.5,
    "per_class": {label: {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "n": 10} for label in LABELS},
    "confusion": [[10, 2, 1], [0, 13, 1], [3, 1, 9]],
    "reliability": [{"low": 0.1, "high": 0.2, "n": 5, "accuracy": 0.4, "confidence": 0.15}] * 10,
    "interval": {"accuracy": [0.8, 0.9]},
}


@dataclass
class Prepared:
    """What a task makes of data, as far as export looks at it."""

    recipe: Recipe
    codec: Any
    architecture: Any
    facts: dict = field(default_factory=lambda: FACTS)

    def entries(self):
        return {**self.codec.to_entries(), "labels.json": json.dumps(LABELS).encode()}


def prepared(*, words=0, input=None, **changes):
    """A small prepared run; `words` more of them make vocabulary and n-gram table larger."""
    options = {"unit": "word", "min_count": 1, "ngram_min_count": 1, "window": 8, **(input or {})}
    recipe = Recipe.model_validate(
        {
            "data": {"train": "/home/someone/reviews.csv", "test": "/home/someone/test.csv"},
            "input": {**options, "vectors": "/home/someone/vectors.txt"},
            "model": {"embedding": 64, "units": 48, "ngram_embedding": 8},
        }
    )
    texts = [*TEXTS, *(f"word{number} and word{number + 1}" for number in range(words))]
    codec = type(text_codec()).fit(lambda: texts, recipe.input, rng=np.random.default_rng(0))
    shape_of = architecture(codec, **{"embedding": 64, "encoder": {"units": 48}, "ngram_embedding": 8, **changes})
    return Prepared(recipe, codec, shape_of)


def limited(run, limit, **export):
    return Prepared(run.recipe.replace(export={"max_size": limit, **export}), run.codec, run.architecture)


@pytest.mark.parametrize("storage", ["fp32", "bf16", "int8"])
def test_exports_and_answers(tmp_path, storage):
    run = prepared()
    weights = random_weights(run.architecture)
    info = export_bundle(tmp_path / "m.gw", run, weights, DECODE, {}, storage, command="gatework train reviews.csv")
    assert info.nbytes == (tmp_path / "m.gw").stat().st_size
    assert info.storage == storage
    assert info.parameters == sum(array.size for array in weights.values())
    model = load(tmp_path / "m.gw")
    assert model.bundle.storage == storage
    assert model.info()["command"] == "gatework train reviews.csv"
    assert model.info()["decode"] == DECODE
    assert model.predict("a great film").label in LABELS
    assert list(model.predict("").scores.values()) == pytest.approx([0.5, 0.3, 0.2])


def test_smaller_storage_is_smaller_and_says_the_same(tmp_path):
    run = prepared(words=300)
    weights = random_weights(run.architecture)
    sizes, logits = {}, {}
    for storage in ("fp32", "bf16", "int8"):
        sizes[storage] = export_bundle(tmp_path / f"{storage}.gw", run, weights, DECODE, storage=storage).nbytes
        logits[storage] = load(tmp_path / f"{storage}.gw").logits(TEXTS)
    assert sizes["int8"] < 0.75 * sizes["bf16"]
    assert sizes["bf16"] < 0.65 * sizes["fp32"]
    spread = np.ptp(logits["fp32"])
    for storage in ("bf16", "int8"):
        assert 0 < np.abs(logits[storage] - logits["fp32"]).max() < 0.05 * spread


def test_the_recipe_decides_storage_unless_told(tmp_path):
    run = prepared()
    run.recipe = run.recipe.replace(export={"weights": "bf16"})
    assert export_bundle(tmp_path / "m.gw", run, random_weights(run.architecture), DECODE).storage == "bf16"
    with pytest.raises(ConfigError, match=r"export\.weights 'int7' is unknown.*Did you mean 'int8'"):
        export_bundle(tmp_path / "m.gw", run, random_weights(run.architecture), DECODE, {}, "int7")


def test_no_folder_of_the_maker_gets_into_a_bundle(tmp_path):
    run = prepared()
    export_bundle(tmp_path / "m.gw", run, random_weights(run.architecture), DECODE)
    assert b"/home/someone" not in (tmp_path / "m.gw").read_bytes()
    recipe = read_bundle(tmp_path / "m.gw").config["recipe"]
    assert recipe["data"]["train"] == "reviews.csv"
    assert recipe["input"]["vectors"] == "vectors.txt"
    assert recipe["data"]["dev"] == 0.1


def test_same_run_same_bytes(tmp_path):
    for name in ("a.gw", "b.gw"):
        (tmp_path / name[0]).mkdir()
        run = prepared()
        export_bundle(tmp_path / name[0] / "m.gw", run, random_weights(run.architecture), DECODE)
    assert (tmp_path / "a" / "m.gw").read_bytes() == (tmp_path / "b" / "m.gw").read_bytes()


def test_diverged_training_is_told(tmp_path):
    run = prepared()
    weights = random_weights(run.architecture)
    weights["head.weight"][0, 0] = np.nan
    for storage in ("fp32", "int8"):
        with pytest.raises(ConfigError, match=r"head\.weight holds NaN.*train\.learning_rate"):
            export_bundle(tmp_path / "m.gw", run, weights, DECODE, {}, storage)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path):
    run = prepared()
    with pytest.raises(OutputError, match="does not exist"):
        export_bundle(tmp_path / "none" / "m.gw", run, random_weights(run.architecture), DECODE)


def test_metrics_go_in_and_change_no_answer(tmp_path):
    path = tmp_path / "m.gw"
    run = prepared()
    export_bundle(path, run, random_weights(run.architecture), DECODE, {}, "int8")
    want = load(path).logits(TEXTS)
    assert "Nothing was measured" in card(path)
    info = export_bundle(
        path, run, random_weights(run.architecture), DECODE, {"dev": MEASURED, "test": MEASURED}, "int8"
    )
    assert info.nbytes == path.stat().st_size
    assert load(path).info()["metrics"] == {"dev": MEASURED, "test": MEASURED}
    np.testing.assert_array_equal(load(path).logits(TEXTS), want)
    assert "| test | 40 | 0.8750 | 0.5000 |" in card(path)


@pytest.mark.parametrize("first", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("second", ["fp32", "bf16", "int8"])
def test_restore(tmp_path, first, second):
    run = prepared()
    weights = random_weights(run.architecture)
    a, b, direct = tmp_path / "a.gw", tmp_path / "b.gw", tmp_path / "direct.gw"
    export_bundle(a, run, weights, DECODE, {"test": MEASURED}, first)
    info = restore(a, b, storage=second)
    assert info.storage == load(b).bundle.storage == second
    assert load(b).info()["metrics"] == {"test": MEASURED}
    assert load(b).info()["decode"] == DECODE
    assert ("stored as " + first in card(b).split("## Scores")[1]) == (first != second)
    if first == "fp32":
        export_bundle(direct, run, weights, DECODE, {}, second)
        np.testing.assert_array_equal(load(b).logits(TEXTS), load(direct).logits(TEXTS))
    if first == second:
        stored, again = read_bundle(a), read_bundle(b)
        for name in stored.weights:
            np.testing.assert_array_equal(stored.weights[name], again.weights[name])
    restore(b, b, storage="int8")
    assert load(b).bundle.storage == "int8"


def test_int8_and_back_changes_nothing_more(tmp_path):
    run = prepared()
    export_bundle(tmp_path / "a.gw", run, random_weights(run.architecture), DECODE, {}, "int8")
    restore(tmp_path / "a.gw", tmp_path / "b.gw", storage="fp32")
    np.testing.assert_allclose(
        load(tmp_path / "a.gw").logits(TEXTS), load(tmp_path / "b.gw").logits(TEXTS), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("storage", ["fp32", "bf16", "int8"])
def test_bytes_of_weights_are_known_before(tmp_path, storage):
    for run in (prepared(), prepared(input={"characters": "cnn"}), prepared(input={"ngrams": 0}, ngram_embedding=0)):
        shapes = weight_shapes(run.architecture)
        path = tmp_path / "m.gw"
        export_bundle(path, run, random_weights(run.architecture), DECODE, {}, storage)
        bundle = read_bundle(path)
        assert stored_bytes(shapes, storage) == len(bundle.entry("weights.safetensors"))
        assert stored_again(bundle, storage).bfloat16 == store(random_weights(run.architecture), storage).bfloat16


def card(path):
    return bytes(read_bundle(path).entry("README.md")).decode()


def test_card_says_what_one_should_know(tmp_path):
    run = prepared(input={"characters": "cnn"})
    run.facts = FACTS | {"labels": {"bad|`x`\nevil": 2, **{f"label {number}": 1 for number in range(30)}}}
    export_bundle(tmp_path / "my model.gw", run, random_weights(run.architecture), DECODE, {"dev": MEASURED}, "bf16")
    text = card(tmp_path / "my model.gw")
    for part in (
        "# my model",
        "`classify`",
        "bf16",
        "reviews.csv",
        "ab" * 32,
        "bad/'x' evil (2)",
        "and 11 more",
        "| dev | 40 |",
    ):
        assert part in text
    assert "No test data" in text
    assert "\n\n\n" not in text


# max size


def test_no_limit_no_change():
    run = prepared()
    plan = plan_size(run)
    assert plan.recipe is run.recipe
    assert plan.sentences == ()


def trained_by(plan, run):
    """The run prepared again with the plan's recipe, as training does."""
    recipe = plan.recipe
    words = 400
    texts = [*TEXTS, *(f"word{number} and word{number + 1}" for number in range(words))]
    codec = type(run.codec).fit(lambda: texts, recipe.input, rng=np.random.default_rng(0))
    model = recipe.model
    vectors = model.ngram_embedding if codec.ngrams is not None else 0
    shape_of = architecture(codec, embedding=model.embedding, encoder={"units": model.units}, ngram_embedding=vectors)
    return Prepared(recipe, codec, shape_of)


@pytest.mark.parametrize("limit", [400_000, 200_000, 100_000, 60_000, 40_000, 25_000, 20_000])
def test_plan_keeps_its_word(tmp_path, limit):
    run = prepared(words=400)
    run.recipe = run.recipe.replace(export={"weights": "fp32"})
    plan = plan_size(run, limit)
    assert plan.nbytes <= limit
    assert "planned size" in plan.sentences[-1]
    again = trained_by(plan, run)
    path = tmp_path / "m.gw"
    said = []
    metrics = {"dev": MEASURED, "test": MEASURED}
    info = export_bundle(path, again, random_weights(again.architecture), DECODE, metrics, say=said.append)
    final = path.stat().st_size
    assert info.nbytes == final <= limit
    assert final > 0.7 * limit or plan.recipe.model.units == 48, "no more is given up than need be"
    assert said == [], "the plan was exact: nothing was left to cut at export"
    assert load(path).predict("a great film").label in LABELS


def test_what_is_given_up_first():
    run = prepared(words=400)
    run.recipe = run.recipe.replace(export={"weights": "fp32"})
    seen = []
    for limit in range(400_000, 15_000, -3_000):
        try:
            recipe = plan_size(run, limit).recipe
        except ConfigError:
            break
        seen.append(
            {
                "storage": recipe.export.weights != "fp32",
                "n-grams": recipe.input.ngram_rows != run.recipe.input.ngram_rows,
                "words": recipe.input.max_vocabulary != run.recipe.input.max_vocabulary,
                "width": recipe.model.units != run.recipe.model.units,
            }
        )
    first = {name: next(index for index, one in enumerate(seen) if one[name]) for name in seen[0]}
    assert first["storage"] < first["n-grams"] < first["words"] < first["width"]


def test_a_limit_nothing_fits():
    with pytest.raises(
        ConfigError, match=r"export\.max_size 2,000: the smallest model for these data takes \d+,\d+ bytes"
    ):
        plan_size(prepared(words=50), 2_000)


def test_export_cuts_what_a_plan_did_not_foresee(tmp_path):
    run = prepared(words=400)
    weights = random_weights(run.architecture)
    whole = export_bundle(tmp_path / "whole.gw", run, weights, DECODE, {}, "int8").nbytes
    said = []
    limit = whole - 1_000
    metrics = {"dev": MEASURED, "test": MEASURED}
    info = export_bundle(tmp_path / "m.gw", limited(run, limit), weights, DECODE, metrics, "fp32", say=said.append)
    assert info.nbytes <= limit
    assert info.storage == "int8"
    assert "stored as bf16" in said[0]
    assert "stored as int8" in said[1]
    assert "n-grams" in said[2]
    assert (tmp_path / "m.gw").stat().st_size <= limit
    assert load(tmp_path / "m.gw").predict("a great film").label in LABELS
    with pytest.raises(ConfigError, match="the trained model takes"):
        export_bundle(tmp_path / "n.gw", limited(run, 20_000), weights, DECODE)
    assert not (tmp_path / "n.gw").exists()


def test_long_metrics_are_left_out_before_the_limit_is_passed(tmp_path):
    run = prepared()
    weights = random_weights(run.architecture)
    size = export_bundle(tmp_path / "a.gw", run, weights, DECODE).nbytes
    tight = limited(run, size + 2_600)
    long = MEASURED | {"confusion": [[1] * 500] * 10}
    export_bundle(tmp_path / "m.gw", tight, weights, DECODE, {"dev": long, "test": long})
    kept = load(tmp_path / "m.gw").info()["metrics"]
    assert kept["test"] == {"n": 40, "accuracy": 0.875, "f1": 0.5}
    assert (tmp_path / "m.gw").stat().st_size <= size + 2_600
    with pytest.raises(ConfigError, match=r"more than export\.max_size"):
        export_bundle(tmp_path / "m.gw", tight, weights, DECODE, {"dev": {"note": "x" * 5_000}})


def test_dropped_ngrams_are_those_that_say_least(tmp_path):
    run = prepared(words=20)
    weights = random_weights(run.architecture)
    rows = run.architecture.ngram_rows
    quiet = np.arange(0, rows, 3)
    weights["ngrams.weight"][quiet] = 5.0 + np.zeros((1, 3))
    fewer, kept, entries = drop_ngrams(run.architecture, weights, run.entries(), rows - len(quiet))
    loud = np.setdiff1d(np.arange(rows), quiet)
    np.testing.assert_array_equal(kept["ngrams.weight"], weights["ngrams.weight"][loud])
    np.testing.assert_array_equal(kept["local.weight"][1:], weights["local.weight"][loud + 1])
    np.testing.assert_array_equal(kept["local.weight"][0], 0)
    assert fewer.ngram_rows == len(loud)
    keys = np.frombuffer(entries["tokenizer/ngrams.u32"], dtype="<u4")
    np.testing.assert_array_equal(keys, run.codec.ngrams.keys_R[loud])
