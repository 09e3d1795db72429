"""What RECIPE|DATA leads to."""

import pytest

from gatework.cli.source import default_output, recipe_of
from gatework.core.errors import DataError


@pytest.fixture
def said():
    return []


def _touch(folder, *names):
    for name in names:
        (folder / name).write_text("a\tb\n")


def test_a_recipe_is_read(tmp_path, said):
    (tmp_path / "r.toml").write_text('[data]\ntrain = "x.tsv"\n')
    recipe = recipe_of(tmp_path / "r.toml", overrides=["train.epochs=2"], say=said.append)
    assert recipe.data.train == str(tmp_path / "x.tsv")
    assert recipe.train.epochs == 2
    assert said == []


def test_a_data_file_alone(tmp_path, said):
    _touch(tmp_path, "reviews.tsv", "dev.tsv", "test.tsv")
    recipe = recipe_of(tmp_path / "reviews.tsv", overrides=[], say=said.append)
    assert (recipe.data.dev, recipe.data.test) == (0.1, None)
    assert said == []


@pytest.mark.parametrize("dev", ["dev.tsv", "valid.tsv", "val.tsv", "validation.tsv.gz"])
def test_files_beside_train_are_used_and_said(tmp_path, said, dev):
    _touch(tmp_path, "train.tsv.gz", dev, "test.tsv", "test.csv")
    recipe = recipe_of(tmp_path / "train.tsv.gz", overrides=[], say=said.append)
    assert recipe.data.dev == str(tmp_path / dev)
    assert recipe.data.test == str(tmp_path / "test.tsv")
    assert len(said) == 2
    assert all(name in " ".join(said) for name in (dev, "test.tsv"))


def test_overrides_win_over_files_beside(tmp_path, said):
    _touch(tmp_path, "train.tsv", "dev.tsv")
    assert recipe_of(tmp_path / "train.tsv", overrides=["data.dev=0.2"], say=said.append).data.dev == 0.2


def test_a_folder_with_train(tmp_path, said):
    _touch(tmp_path, "train.csv", "test.csv")
    recipe = recipe_of(tmp_path, overrides=[], say=said.append)
    assert recipe.data.train == str(tmp_path / "train.csv")
    _touch(tmp_path, "train.tsv")
    with pytest.raises(DataError, match=r"found train\.csv, train\.tsv"):
        recipe_of(tmp_path, overrides=[], say=said.append)


def test_default_outputs(tmp_path):
    _touch(tmp_path, "train.tsv")
    assert default_output(tmp_path / "thucnews.toml").name == "thucnews.gw"
    assert default_output(tmp_path / "reviews.tsv.gz").name == "reviews.gw"
    assert default_output(tmp_path / "train.tsv").name == f"{tmp_path.name}.gw"
    assert default_output(tmp_path).name == f"{tmp_path.name}.gw"
