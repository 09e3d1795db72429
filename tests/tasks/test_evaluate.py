"""Measuring a model on a stream of examples, with a model of known answers."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from gatework.core.errors import ConfigError, DataError, OutputError
from gatework.tasks import TASKS
from gatework.tasks.classify import ClassifyCodec, Settings
from gatework.tasks.classify import evaluate as module
from gatework.tasks.classify.reading import read_labelled
from gatework.text import Example, infer

LABELS = ("ham", "spam")


class FakeModel:
    """Says spam for texts with "win" in them; counts how many texts it was given at once."""

    def __init__(self, settings=None, labels=LABELS):
        settings = settings or Settings(prior=(0.9, 0.1), positive=1)
        text = SimpleNamespace(is_empty=lambda text: not text.strip())
        self.codec = ClassifyCodec(text, labels, settings)
        self.given = []

    def logits(self, texts):
        self.given.append(len(texts))
        return np.array([[0.0, 2.0 if "win" in text else -2.0] for text in texts], dtype=np.float32)


EXAMPLES = [
    Example("win now", ("spam",), 1),
    Example("hello", ("ham",), 2),
    Example("you win, she said", ("ham",), 4),
    Example("", ("spam",), 5),
]


def test_metrics_and_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    model = FakeModel()
    got = TASKS["classify"].evaluate(model, iter(EXAMPLES), resamples=50)
    assert model.given == [3, 1]
    assert got["confusion"] == [[1, 1], [1, 1]]
    assert got["n"] == 4
    assert set(got["interval"]) == {"accuracy", "f1"}


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_predictions_hold_every_row(tmp_path, name):
    path = tmp_path / name
    module.evaluate(FakeModel(), EXAMPLES, predictions=path, resamples=0)
    with path.open(encoding="utf-8", newline="") as file:
        if name.endswith("jsonl"):
            rows = [json.loads(line) for line in file]
        else:
            rows = list(csv.DictReader(file, delimiter="\t" if name.endswith("tsv") else ","))
    assert [int(row["line"]) for row in rows] == [1, 2, 4, 5]
    assert [row["text"] for row in rows] == [one.text for one in EXAMPLES]
    assert [row["true"] for row in rows] == ["spam", "ham", "ham", "spam"]
    assert [row["predicted"] for row in rows] == ["spam", "ham", "spam", "ham"]
    assert [str(row["right"]) for row in rows] == ["True", "True", "False", "False"]
    assert float(rows[3]["score"]) == 0.9, "an empty text is answered from the prior"


def test_several_labels_in_predictions(tmp_path):
    path = tmp_path / "rows.jsonl"
    model = FakeModel(Settings(multi_label=True))
    module.evaluate(model, [Example("win", ("spam", "ham"), 1)], predictions=path, resamples=0)
    [row] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (row["true"], row["predicted"], row["right"]) == ("ham|spam", "ham|spam", True)
    assert row["score"] == 0.5


def test_unknown_label_names_file_and_line_and_leaves_no_file(tmp_path):
    path = tmp_path / "rows.csv"
    with pytest.raises(DataError, match=r"^new\.tsv:9: label 'smap' is not .*Did you mean 'spam'\?$"):
        module.evaluate(FakeModel(), [*EXAMPLES, Example("x", ("smap",), 9)], source="new.tsv", predictions=path)
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_labels_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"^data:3: 2 labels, ham, spam, where exactly one is needed"):
        module.evaluate(FakeModel(), [Example("x", ("ham", "spam"), 3)])
    with pytest.raises(DataError, match=r"^data:3: no label, where exactly one is needed"):
        module.evaluate(FakeModel(), [Example("x", (), 3)])


def test_no_examples():
    with pytest.raises(DataError, match=r"^none\.csv: no examples"):
        module.evaluate(FakeModel(), [], source="none.csv")


def test_predictions_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        module.evaluate(FakeModel(), EXAMPLES, predictions=tmp_path / "none" / "rows.csv")


@pytest.fixture
def trained_on_tsv(tmp_path):
    """The format of a training file with the label first, in a bundle's JSON."""
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"{'ab'[i % 2]}\tx{i % 3}\tsome longer text {i}\n" for i in range(20)))
    return json.loads(json.dumps(infer(path).to_dict()))


def test_read_like_the_training_file(tmp_path, trained_on_tsv):
    path = tmp_path / "test.tsv"
    path.write_text("a\ta much longer value in another column\tshort\nb\tyet another one that is long\tx\n")
    got = list(read_labelled(path, like=trained_on_tsv))
    assert got == [Example("short", ("a",), 1), Example("x", ("b",), 2)]


def test_a_file_of_another_format_is_inferred_afresh(tmp_path, trained_on_tsv):
    path = tmp_path / "test.csv"
    path.write_text("text,label\nwell then,a\nnow,b\n")
    assert list(read_labelled(path, like=trained_on_tsv))[1] == Example("now", ("b",), 3)


def test_fewer_columns_are_inferred_afresh(tmp_path, trained_on_tsv):
    path = tmp_path / "test.tsv"
    path.write_text("".join(f"{'ab'[i % 2]}\tsome text {i}\n" for i in range(6)))
    assert next(read_labelled(path, like=trained_on_tsv)) == Example("some text 0", ("a",), 1)


def test_options_come_first(tmp_path, trained_on_tsv):
    path = tmp_path / "test.tsv"
    path.write_text("one text\tb\ta\nanother\ta\tb\n")
    options = {"text": 0, "label": 2}
    assert next(read_labelled(path, like=trained_on_tsv, options=options)) == Example("one text", ("a",), 1)
    with pytest.raises(ConfigError, match=r"data\.lable is no option.*Did you mean 'label'"):
        read_labelled(path, like=trained_on_tsv, options={"lable": 1})


def test_without_a_known_format(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("text,label\nwell then,a\nnow,b\n")
    assert len(list(read_labelled(path))) == 2
    assert len(list(read_labelled(path, like={"of": "another version"}))) == 2
