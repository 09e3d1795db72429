"""`gatework demo`: its steps, with a smaller network than the real one so that the test is short."""

import json
from pathlib import Path

import pytest

import gatework as package
from gatework.cli import demo


@pytest.fixture
def small(monkeypatch):
    def train(recipe, output, **options):
        smaller = recipe.replace(train={"epochs": 1, "threads": 1}, model={"units": 8, "embedding": 8})
        return original(smaller, output, **options)

    original = demo.train_with_progress
    monkeypatch.setattr(demo, "train_with_progress", train)


def test_demo(gatework, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = gatework("demo")
    assert done.status == 0, done.err
    for word in (
        "dev: accuracy",
        "test:",
        "precision",
        "accuracy",
        "spam",
        "ham",
        "sms-spam.gw: ",
        "(an empty message)",
    ):
        assert word in done.out, word
    assert "SMS Spam Collection" in done.err
    assert package.load(tmp_path / "sms-spam.gw").labels == ("ham", "spam")


def test_demo_json(gatework, small, tmp_path):
    done = gatework("demo", "classify", "-o", tmp_path / "m.gw", "--seed", "5", "--json")
    result = json.loads(done.out)
    assert result["seed"] == 5
    assert result["metrics"]["test"]["accuracy"] > 0.86, "worse than always ham"


def test_demo_lm(gatework, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = gatework("demo", "lm")
    assert done.status == 0, done.err
    for word in ("perplexity a token", "ROMEO:\n", "shakespeare.gw", "--prompt"):
        assert word in done.out, word
    assert package.load(tmp_path / "shakespeare.gw").task == "lm"


def test_the_bundled_data_are_whole():
    folder = Path(demo.__file__).parent.parent / "data" / "sms_spam"
    lines = {part: (folder / f"{part}.tsv").read_bytes().decode().splitlines() for part in ("train", "dev", "test")}
    assert {part: len(rows) for part, rows in lines.items()} == {"train": 4528, "dev": 527, "test": 519}
    assert all(
        row.split("\t")[0] in ("ham", "spam") and row.count("\t") == 1 for rows in lines.values() for row in rows
    )
    assert "Almeida" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_messages_are_not_from_the_data():
    folder = Path(demo.__file__).parent.parent / "data" / "sms_spam"
    known = {
        line.split("\t")[1] for path in folder.glob("*.tsv") for line in path.read_text("utf-8").split("\n") if line
    }
    assert not known & set(demo.MESSAGES)
