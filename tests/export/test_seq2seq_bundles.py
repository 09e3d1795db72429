"""Translators as bundles that fit a size: of recurrent networks and transformers, with one vocabulary and with two."""

import random

import pytest

from gatework.core.errors import ConfigError
from gatework.core.recipe import Recipe
from gatework.export import plan_size
from gatework.runtime import load
from gatework.tasks import TASKS

torch = pytest.importorskip("torch")

CASES = {
    "one vocabulary": {},
    "two vocabularies": {"input": {"unit": "char", "target_unit": "word", "shared": False}},
    "subwords": {"input": {"unit": "unigram", "subwords": 700}},
    "dot attention": {"model": {"attention_kind": "dot", "writer_units": 64}},
    "transformer": {"model": {"encoder": "transformer", "writer": "transformer", "embedding": 32, "units": 32}},
}


def recipe(folder, **sections):
    rng = random.Random(1)
    words = [(f"word{rng.randrange(10**6)}", f"wort{rng.randrange(10**6)}") for _ in range(600)]
    for part, count in (("train", 400), ("dev", 40)):
        rows = [rng.choices(words, k=8) for _ in range(count)]
        lines = [" ".join(one for one, _ in row) + "\t" + " ".join(other for _, other in row) for row in rows]
        (folder / f"{part}.tsv").write_text("\n".join(lines) + "\n")
    values = {
        "task": "translate",
        "data": {part: str(folder / f"{part}.tsv") for part in ("train", "dev")},
        "input": {"unit": "word", "min_count": 1},
        "model": {"embedding": 32, "units": 32, "attention": 16},
        "train": {"epochs": 1, "threads": 1},
    }
    for name, options in sections.items():
        values[name] = {**values.get(name, {}), **options}
    return Recipe.model_validate(values).filled(TASKS["translate"].defaults)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("limit", [60_000, 34_000])
def test_the_plan_is_kept(tmp_path, case, limit):
    """What was planned is what comes of the recipe that was planned, and it is not much smaller than allowed."""
    wanted = recipe(tmp_path, **CASES[case], export={"max_size": limit, "weights": "fp32"})
    task = TASKS["translate"]
    plan = plan_size(task.prepare(wanted, tmp_path))
    assert plan.nbytes <= limit
    again = plan_size(task.prepare(plan.recipe, tmp_path))
    assert again.sentences[:-1] == (), f"{plan.sentences} was not enough: {again.sentences}"
    assert again.nbytes <= limit
    if case != "subwords":  # of which the number of tokens is not known before
        assert abs(again.nbytes - plan.nbytes) < 600
    assert plan.nbytes > 0.8 * limit


def test_a_translator_fits_its_size(tmp_path):
    from gatework.train import train

    said = []
    wanted = recipe(tmp_path, export={"max_size": 40_000, "weights": "fp32"})
    result = train(wanted, tmp_path / "m.gw", say=said.append)
    assert result.nbytes == (tmp_path / "m.gw").stat().st_size <= 40_000
    model = load(tmp_path / "m.gw")
    assert model.bundle.storage == "int8"
    assert model.bundle.architecture.vocabulary < 1200
    assert any("planned size" in sentence for sentence in said)
    assert model.predict("word1 word2").reason in ("end", "length")


def test_a_size_that_nothing_fits(tmp_path):
    wanted = recipe(tmp_path, export={"max_size": 2000})
    with pytest.raises(ConfigError, match=r"export\.max_size 2,000: the smallest model"):
        plan_size(TASKS["translate"].prepare(wanted, tmp_path))
