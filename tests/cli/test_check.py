"""`gatework check`: every problem with its place, and a status that a script can use."""

import json


def test_sound_data(gatework, reviews):
    done = gatework("check", reviews)
    assert done.status == 0, done.out
    for word in ("train.tsv", "dev.tsv", "test.tsv", "pos", "neg"):
        assert word in done.out + done.err


def test_every_problem_has_its_place(gatework, tmp_path):
    rows = [f"{'ab'[i % 2]}\ttext number {i}" for i in range(40)]
    rows[4] = "a\t"
    rows[9] = "no tab"
    rows[14] = "\tno label"
    rows[19] = "a\ttext number 0"
    rows[24] = "b\ttext number 0"
    rows[29] = "a\tnul \x00 here"
    path = tmp_path / "d.tsv"
    path.write_bytes("\n".join(rows).encode() + b"\na\t\xff\n")
    done = gatework("check", path, "--set", "data.header=false")
    assert done.status == 2
    for line in (5, 10, 15, 20, 25, 30, 41):
        assert f"{path}:{line}" in done.out, line


def test_leakage(gatework, tmp_path):
    (tmp_path / "train.tsv").write_text("".join(f"{'ab'[i % 2]}\ttext number {i}\n" for i in range(40)))
    (tmp_path / "test.tsv").write_text("a\ttext number 0\nb\tsomething new\n")
    done = gatework("check", tmp_path)
    assert f"{tmp_path / 'test.tsv'}:1" in done.out


def test_json(gatework, reviews):
    done = gatework("check", reviews / "train.tsv", "--json")
    assert done.status == 0
    assert isinstance(json.loads(done.out), dict)


def test_a_recipe(gatework, reviews, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(f'[data]\ntrain = "{reviews}/train.tsv"\n')
    assert gatework("check", recipe).status == 0


def test_task(gatework, reviews):
    assert "Did you mean 'classify'?" in gatework("check", reviews, "--task", "clasify").err
