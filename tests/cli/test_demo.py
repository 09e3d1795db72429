"""`gatework demo`: its steps, with a smaller network than the real one so that the test is short."""

import json
from datetime import date
from pathlib import Path

import pytest

import gatework as package
from gatework.cli import dates, demo


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


def test_demo_transduce(gatework, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = gatework("demo", "transduce")
    assert done.status == 0, done.err
    for word in ("edits a token", "dates.gw", "2008年8月8日", "(an empty text)", "--task transduce"):
        assert word in done.out, word
    assert package.load(tmp_path / "dates.gw").task == "transduce"


def test_days_are_written_as_they_are_read(tmp_path):
    """Every way of writing a day, against what the calendar says of it."""
    day = date(2021, 12, 23)
    assert [way(day) for way in dates.WAYS] == [
        "23 December 2021", "December 23, 2021", "the 23rd of December, 2021", "Thursday, December 23rd 2021",
        "Dec 23 2021", "23.12.2021", "2021年12月23日", "2021年12月23号", "二〇二一年十二月二十三日",
    ]  # fmt: skip
    assert [way(date(1910, 10, 11)) for way in dates.WAYS][2::6] == [
        "the 11th of October, 1910",
        "一九一〇年十月十一日",
    ]
    paths = dates.write(tmp_path, {"train": 300, "dev": 20}, 1)
    rows = {name: path.read_text(encoding="utf-8").splitlines() for name, path in paths.items()}
    assert {name: len(lines) for name, lines in rows.items()} == {"train": 300, "dev": 20}
    assert not set(rows["train"]) & set(rows["dev"])
    for said, iso in (row.split("\t") for row in rows["train"]):
        assert said in [way(date.fromisoformat(iso)) for way in dates.WAYS]
    assert dates.pairs(50, 1) == dates.pairs(50, 1) != dates.pairs(50, 2)


@pytest.mark.parametrize("there", ["dates.data", "dates.data/dev.tsv"])
def test_what_stands_where_the_days_go_is_kept(gatework, small, tmp_path, monkeypatch, there):
    monkeypatch.chdir(tmp_path)
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    done = gatework("demo", "transduce")
    assert done.status == 2
    assert there in done.err
    assert "Traceback" not in done.err
    assert (tmp_path / there).read_text() == "mine"


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
