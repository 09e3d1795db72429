"""`gatework evaluate`: the score, its rows, its pictures."""

import csv
import json

import pytest

from cli.reviews import write_reviews


def test_a_report(gatework, model, reviews):
    done = gatework("evaluate", model, reviews / "test.tsv")
    assert done.status == 0, done.err
    for word in ("precision", "recall", "accuracy", "95 % interval", "calibration", "confusion", "pos", "neg", "60"):
        assert word in done.out


def test_json(gatework, model, reviews):
    result = json.loads(gatework("evaluate", model, reviews / "test.tsv", "--json").out)
    assert result["task"] == "classify"
    assert result["data"] == str(reviews / "test.tsv")
    assert result["n"] == 60
    assert result["metrics"]["accuracy"] > 0.9
    low, high = result["metrics"]["interval"]["accuracy"]
    assert low <= result["metrics"]["accuracy"] <= high


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.tsv", "rows.csv"])
def test_predictions_hold_every_row(gatework, model, reviews, tmp_path, name):
    path = tmp_path / name
    assert gatework("evaluate", model, reviews / "test.tsv", "--predictions", path).status == 0
    with path.open(encoding="utf-8", newline="") as file:
        if name.endswith("jsonl"):
            rows = [json.loads(line) for line in file]
        else:
            rows = list(csv.DictReader(file, delimiter="\t" if name.endswith("tsv") else ","))
    assert [int(row["line"]) for row in rows] == list(range(1, 61))
    texts = [line.split("\t")[1] for line in (reviews / "test.tsv").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == texts


def test_pictures(gatework, model, reviews, tmp_path):
    pytest.importorskip("matplotlib")
    confusion, reliability = tmp_path / "c.png", tmp_path / "r.png"
    done = gatework(
        "evaluate", model, reviews / "test.tsv", "--confusion", confusion, "--reliability", reliability
    )  # fmt: skip
    assert done.status == 0, done.err
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (confusion, reliability))


def test_another_format_than_in_training(gatework, model, reviews, tmp_path):
    path = tmp_path / "test.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars", "label"])
        for line in (reviews / "test.tsv").read_text(encoding="utf-8").splitlines():
            label, text = line.split("\t")
            writer.writerow([text, "3", label])
    want = json.loads(gatework("evaluate", model, reviews / "test.tsv", "--json").out)["metrics"]["accuracy"]
    assert json.loads(gatework("evaluate", model, path, "--json").out)["metrics"]["accuracy"] == want
    done = gatework("evaluate", model, path, "--json", "--set", "data.label=label", "--set", "data.text=review")
    assert json.loads(done.out)["metrics"]["accuracy"] == want


MISTAKES = [
    ("good\ta film\n", r"test\.tsv:1: label 'good' is not among those of training\. Known: neg, pos"),
    ("", r"test\.tsv.*empty"),
    ("pos\ta\nneg\n", r"test\.tsv:2"),
]


@pytest.mark.parametrize(("data", "message"), MISTAKES)
def test_bad_data_names_the_line(gatework, model, tmp_path, data, message):
    import re

    path = tmp_path / "test.tsv"
    path.write_text(data)
    done = gatework("evaluate", model, path, "--predictions", tmp_path / "rows.csv")
    assert done.status == 2
    assert re.search(message, done.err), done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictions", "no/rows.csv"], "The folder does not exist"),
        (["--set", "data.labl=x"], "Did you mean 'label'?"),
        (["--set", "train.epochs=3"], "only keys of [data] matter here"),
        (["--set", "data.label=stars"], "stars"),
    ],
)
def test_mistakes(gatework, model, reviews, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = gatework("evaluate", model, reviews / "test.tsv", *arguments)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_missing_data(gatework, model):
    assert "missing.tsv: no such file" in gatework("evaluate", model, "missing.tsv").err


def test_evaluation_imports_no_torch(model, reviews):
    import subprocess
    import sys

    code = (
        f"import sys; from gatework.cli import main\nassert main(['evaluate', {str(model)!r}, "
        f"{str(reviews / 'test.tsv')!r}]) == 0\nprint('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.split()[-1] == "False", done.stderr


def test_the_shared_data_are_as_they_were(reviews, tmp_path):
    assert (reviews / "test.tsv").read_text() == write_reviews(tmp_path / "t.tsv", 60, 3).read_text()
