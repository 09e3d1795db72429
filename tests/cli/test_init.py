"""`gatework init` and `gatework tasks`."""

import json
import tomllib

from gatework.cells import CELLS
from gatework.tasks import TASKS


def test_a_recipe_with_every_option(gatework, tmp_path):
    done = gatework("init", "classify")
    assert done.status == 0
    values = tomllib.loads(done.out)
    assert values["task"] == "classify"
    assert values["data"]["train"] == "train.tsv"
    assert gatework("init").out == done.out


def test_the_recipe_trains(gatework, reviews, tmp_path):
    recipe = tmp_path / "r.toml"
    assert gatework("init", "-o", recipe).status == 0
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.tsv").write_bytes((reviews / f"{part}.tsv").read_bytes())
    done = gatework("train", recipe, "-o", tmp_path / "m.gw", "--set", "train.epochs=1", "--set", "model.units=8")
    assert done.status == 0, done.err


def test_a_file_is_never_written_over(gatework, tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("mine")
    done = gatework("init", "-o", path)
    assert done.status == 2
    assert "exists and is kept" in done.err
    assert path.read_text() == "mine"


def test_tasks_lists_tasks_cells_and_units(gatework):
    done = gatework("tasks")
    assert done.status == 0
    for name in [*TASKS, *CELLS, "zh-char", "bpe"]:
        assert name in done.out
    values = json.loads(gatework("tasks", "--json").out)
    assert set(values["tasks"]) == set(TASKS)
    assert set(values["cells"]) == set(CELLS)
