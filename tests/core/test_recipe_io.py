"""Recipes from files, data and overrides; and what each mistake is told."""

import pytest

from gatework.core.errors import ConfigError
from gatework.core.recipe import Recipe
from gatework.core.recipe_io import DATA_VARIABLE, load_recipe, parse_override, recipe_for_data


def _load(tmp_path, text, *overrides):
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, overrides=overrides)


def test_an_empty_recipe_is_the_defaults(tmp_path):
    assert _load(tmp_path, "") == Recipe()


def test_paths_are_relative_to_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "sets"))
    monkeypatch.chdir("/")
    recipe = _load(
        tmp_path,
        '[data]\ntrain = "a.tsv"\ndev = "../b.tsv"\ntest = "$GATEWORK_DATA/c.tsv"\nunlabelled = ["d.txt"]\n'
        '[input]\nvectors = "${GATEWORK_DATA}/v.vec"\n',
    )
    assert recipe.data.train == str(tmp_path / "a.tsv")
    assert recipe.data.dev == str(tmp_path.parent / "b.tsv")
    assert recipe.data.test == str(tmp_path / "sets" / "c.tsv")
    assert recipe.data.unlabelled == (str(tmp_path / "d.txt"),)
    assert recipe.input.vectors == str(tmp_path / "sets" / "v.vec")


def test_override_paths_are_relative_to_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe = _load(tmp_path, '[data]\ntrain = "a.tsv"\n', "data.train=b.tsv", "data.dev=0.2")
    assert recipe.data.train == str(tmp_path / "here" / "b.tsv")
    assert recipe.data.dev == 0.2


def test_unset_data_variable_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"r\.toml:2: \$GATEWORK_DATA is not set"):
        _load(tmp_path, '[data]\ntrain = "$GATEWORK_DATA/a.tsv"\n')


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("train.epochs=3", ("train", "epochs"), 3),
        ("train.learning_rate=1e-3", ("train", "learning_rate"), 1e-3),
        ("model.bidirectional=false", ("model", "bidirectional"), False),
        ("model.pooling=mean,last", ("model", "pooling"), ["mean", "last"]),
        ('model.pooling=["max"]', ("model", "pooling"), ["max"]),
        ("data.label_separator=,", ("data", "label_separator"), ","),
        ("data.text=2", ("data", "text"), 2),
        ('data.text="2"', ("data", "text"), "2"),
        ("data.label=class name", ("data", "label"), "class name"),
        ("data.label=a=b", ("data", "label"), "a=b"),
        ("data.text=2001-01-01", ("data", "text"), "2001-01-01"),
        ("task=classify", ("task",), "classify"),
    ],
)
def test_overrides_are_toml_or_plain_text(text, keys, value):
    assert parse_override(text) == (keys, value)


def test_later_overrides_win(tmp_path):
    assert _load(tmp_path, "[train]\nepochs = 1\n", "train.epochs=2", "train.epochs=3").train.epochs == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nunit = 3\n", r"r\.toml:2: unknown key 'model\.unit'\. Did you mean 'units'\?"),
        ("[model]\nlearning_rate = 3\n", r"r\.toml:2: .* Did you mean 'train\.learning_rate'\?"),
        ("\nepochs = 3\n", r"r\.toml:2: unknown key 'epochs'\. It belongs to a section: train\.epochs\."),
        ("[trian]\nepochs = 3\n", r"r\.toml:1: unknown key 'trian'\. .*Did you mean 'train'\?"),
        ("[train]\n# x\nepochs = -1\n", r"r\.toml:3: train\.epochs is -1: should be greater than or equal to 0"),
        ("train.epochs = -1\n", r"r\.toml:1: train\.epochs is -1"),
        ('[train]\nschedule = "cosin"\n', r"r\.toml:2: .*'cosine', 'linear'.* Did you mean 'cosine'\?"),
        ('[train]\nepochs = "many"\n', r"train\.epochs is 'many': should be a valid integer"),
        ("[data]\ndev = 1.5\n", r"data\.dev is 1\.5: a fraction must lie between 0 and 1"),
        ("train = 3\n", r"r\.toml:1: \[train\] is a section, got 3"),
        ("[data]\ntrain = abc\n", r"r\.toml:2: not valid TOML"),
        ("[data\n", r"r\.toml:1: not valid TOML"),
    ],
)
def test_mistakes_name_file_line_and_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", r"--set epochs: expected key=value"),
        ("=3", r"expected key=value"),
        ("train.epoch=3", r"--set train\.epoch=3: unknown key 'train\.epoch'\. Did you mean 'epochs'\?"),
        ("train.epochs=x", r"--set train\.epochs=x: train\.epochs is 'x'"),
        ("model.pooling=mean,lost", r"model\.pooling is 'lost'"),
        ("task.x=3", r"--set task\.x=3: 'task' is a single value"),
    ],
)
def test_mistakes_in_overrides_name_the_override(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, 'task = "classify"\n', override)


def test_missing_recipe_names_the_nearest(tmp_path):
    (tmp_path / "thucnews.toml").write_text("")
    with pytest.raises(ConfigError, match=r"no such recipe\. Did you mean .*thucnews\.toml"):
        load_recipe(tmp_path / "thucnew.toml")
    with pytest.raises(ConfigError, match=r"no such recipe"):
        load_recipe(tmp_path / "nowhere" / "x.toml")


def test_recipe_that_is_no_utf8(tmp_path):
    path = tmp_path / "r.toml"
    path.write_bytes(b'task = "\xff"\n')
    with pytest.raises(ConfigError, match=r"not UTF-8 at byte 8"):
        load_recipe(path)


def test_recipe_for_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for_data("a.csv", overrides=["train.seed=7"], test="b.csv")
    assert recipe.data.train == str(tmp_path / "a.csv")
    assert recipe.data.test == str(tmp_path / "b.csv")
    assert recipe.train.seed == 7
    assert recipe.data.dev == 0.1
