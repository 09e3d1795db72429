"""Language models as bundles: what fits a size, and what the card says."""

import random

import pytest

from gatework.core.errors import ConfigError
from gatework.core.recipe import Recipe
from gatework.runtime import load
from gatework.tasks import TASKS

torch = pytest.importorskip("torch")


def recipe(folder, **sections):
    rng = random.Random(1)
    words = [f"word{rng.randrange(10**6)}" for _ in range(600)]
    for part, count in (("train", 400), ("dev", 40)):
        text = "\n".join(" ".join(rng.choices(words, k=12)) for _ in range(count))
        (folder / f"{part}.txt").write_text(text)
    values = {
        "task": "lm",
        "data": {part: str(folder / f"{part}.txt") for part in ("train", "dev")},
        "input": {"unit": "word", "min_count": 1},
        "model": {"embedding": 32, "units": 32},
        "train": {"epochs": 1, "threads": 1},
    }
    for name, options in sections.items():
        values[name] = {**values.get(name, {}), **options}
    return Recipe.model_validate(values).filled(TASKS["lm"].defaults)


@pytest.mark.parametrize("unit", ["word", "bpe"])
def test_a_language_model_fits_its_size(tmp_path, unit):
    from gatework.train import train

    said = []
    wanted = recipe(tmp_path, export={"max_size": 30_000, "weights": "fp32"}, input={"unit": unit, "subwords": 700})
    result = train(wanted, tmp_path / "m.gw", say=said.append)
    assert result.nbytes == (tmp_path / "m.gw").stat().st_size <= 30_000
    model = load(tmp_path / "m.gw")
    assert model.bundle.storage == "int8"
    assert model.bundle.architecture.vocabulary < 600
    assert any("planned size" in sentence for sentence in said)


def test_a_size_that_nothing_fits(tmp_path):
    from gatework.train import fit

    with pytest.raises(ConfigError, match=r"export\.max_size 2,000: the smallest model"):
        fit(recipe(tmp_path, export={"max_size": 2000}), run_folder=tmp_path / "run")


def test_the_card_says_what_it_is(tmp_path):
    from gatework.train import train

    wanted = recipe(tmp_path, model={"directions": "both", "tied": False, "softmax": "adaptive", "cutoffs": [50]})
    result = train(wanted, tmp_path / "m.gw")
    card = bytes(load(tmp_path / "m.gw").bundle.entries["README.md"]).decode()
    for said in ("model.generate", "reading forward and backward", "table of their own, in 2 clusters", "No test data"):
        assert said in card
    assert f"{result.metrics['dev']['perplexity']:.4f}" in card


def test_int8_storage_costs_less_than_a_percent_of_perplexity(tmp_path):
    """On text with a grammar, so that perplexity is low and rounding would show."""
    from gatework.core.bundle import CONFIG, WEIGHTS, write_bundle
    from gatework.export.storage import store
    from gatework.train import train

    rng = random.Random(3)

    def sentence():
        noun, verb = rng.choice(["cats", "dogs", "birds"]), rng.choice(["see", "hear"])
        return f"the {noun} {verb} {rng.choice(['a tree', 'the sky', f'other {noun}'])} at {rng.choice('1234')} o'clock"

    steps = {"epochs": 6, "streams": 8, "bptt": 40, "learning_rate": 0.01}
    wanted = recipe(tmp_path, input={"unit": "char"}, model={"units": 64, "dropout": 0.0}, train=steps)
    for part, count in (("train", 900), ("dev", 150)):
        (tmp_path / f"{part}.txt").write_text("\n".join(sentence() for _ in range(count)))
    wanted = wanted.model_copy(update={"export": wanted.export.model_copy(update={"weights": "fp32"})})
    train(wanted, tmp_path / "fp32.gw")
    whole = load(tmp_path / "fp32.gw").bundle
    weights = {name: whole.weights[name] for name in whole.weights.slots}
    entries = {name: bytes(data) for name, data in whole.entries.items() if name not in (CONFIG, WEIGHTS)}
    config = {name: value for name, value in whole.config.items() if name != "format"}
    write_bundle(tmp_path / "int8.gw", config=config, weights=store(weights, "int8").tensors, entries=entries)
    exact, small = (
        load(tmp_path / name).evaluate(tmp_path / "dev.txt", resamples=0)["perplexity"]
        for name in ("fp32.gw", "int8.gw")
    )
    assert 1.0 < exact < 1.6
    assert small != exact
    assert small == pytest.approx(exact, rel=0.01)
