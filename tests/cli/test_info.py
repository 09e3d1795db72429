"""`gatework info` and `gatework export`."""

import json

import numpy as np
import pytest

import gatework as package


def test_info(gatework, model):
    done = gatework("info", model)
    assert done.status == 0
    for word in ("classify", "neg, pos", "lstm", "accuracy", "sha256", "gatework train", package.__version__):
        assert word in done.out, word
    assert all(len(line.split(None, 1)) == 2 for line in done.lines)


def test_info_json(gatework, model):
    facts = json.loads(gatework("info", model, "--json").out)
    assert facts["task"] == "classify"
    assert sorted(facts["labels"]) == ["neg", "pos"]
    assert facts["bytes"] == model.stat().st_size


def test_a_damaged_file_is_told(gatework, model, tmp_path):
    path = tmp_path / "cut.gw"
    path.write_bytes(model.read_bytes()[:-100])
    for command in (["info", path], ["predict", path, "x"], ["export", path, "--to", "fp32"]):
        done = gatework(*command)
        assert (done.status, done.out) == (2, "")
        assert "cut.gw" in done.err
        assert done.err.count("\n") == 1


@pytest.mark.parametrize("form", ["int8", "bf16", "fp32"])
def test_export(gatework, model, tmp_path, form):
    path = tmp_path / "m.gw"
    done = gatework("export", model, "--to", form, "-o", path)
    assert done.status == 0, done.err
    assert f"{path}: " in done.out
    texts = ["great film", "awful", "", "电影 很棒"]
    before, after = (package.load(one).logits(texts) for one in (model, path))
    np.testing.assert_allclose(after, before, atol=0.1)
    assert json.loads(gatework("info", path, "--json").out)["labels"] == list(package.load(model).labels)


def test_forms_differ_in_size(gatework, model, tmp_path):
    sizes = []
    for form in ("int8", "bf16", "fp32"):
        done = gatework("export", model, "--to", form, "-o", tmp_path / f"{form}.gw", "--json")
        sizes.append(json.loads(done.out)["bundle"]["bytes"])
        assert sizes[-1] == (tmp_path / f"{form}.gw").stat().st_size
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


def test_export_names_its_output(gatework, model, tmp_path):
    copy = tmp_path / "m.gw"
    copy.write_bytes(model.read_bytes())
    assert gatework("export", copy, "--to", "bf16").status == 0
    assert (tmp_path / "m-bf16.gw").is_file()
