"""`gatework evaluate` of a tagger: scores as conlleval counts them, files of predictions and mistakes."""

import csv
import json

import numpy as np
import pytest

from gatework.core.tag_scheme import SCHEMES, Converter, from_inside
from gatework.runtime import load
from gatework.tasks.tag.errors import COLUMNS, KINDS
from oracles import conlleval
from taggers import CLASSES, SENTENCES, SPANS, tag_codec, write_tagger

WORDS = sorted({word for tokens in SENTENCES for word in tokens} | {"Zoe", "unseen"})


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    path = tmp_path_factory.mktemp("tagger") / "ner.gw"
    write_tagger(path, codec=tag_codec(), seed=1)
    return path


def write_data(path, tagger, scheme="bio", count=120, seed=0):
    """Sentences with random spans, in some places those that the model gives; ORG is no type of the model."""
    rng = np.random.default_rng(seed)
    model, blocks = load(tagger), []
    for _ in range(count):
        tokens = [str(word) for word in rng.choice(WORDS, int(rng.integers(1, 12)))]
        share = [0.4, 0.2, 0.1, 0.1, 0.1, 0.1]
        drawn = rng.choice(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG"], len(tokens), p=share)
        given = model.predict([tokens])[0].tags
        cut = int(rng.integers(0, len(tokens) + 1))
        tags = from_inside(Converter("bio")((*given[:cut], *map(str, drawn[cut:]))), scheme)
        blocks.append("".join(f"{token}\t{tag}\n" for token, tag in zip(tokens, tags, strict=True)))
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    return path


def columns(path):
    """[(true, predicted), ...] of each sentence of a predictions file."""
    blocks = path.read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n")
    return [[tuple(line.split("\t")[1:]) for line in block.split("\n")] for block in blocks]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scores_are_those_of_conlleval(gatework, tagger, tmp_path, scheme):
    data, told = write_data(tmp_path / "test.conll", tagger, scheme), tmp_path / "told.conll"
    done = gatework("evaluate", tagger, data, "--json", "--predictions", told, "--set", f"data.scheme={scheme}")
    assert done.status == 0, done.err
    got = json.loads(done.out)["metrics"]
    want = conlleval.evaluate(columns(told))  # the model's own scheme is bio, whatever the data's
    for name in ("accuracy", "precision", "recall", "f1", "right", "found", "gold"):
        assert got[name] == pytest.approx(want[name]), name
    assert got["types"] == {kind: pytest.approx(scores) for kind, scores in want["types"].items()}
    assert 0 < got["right"] < got["found"]
    assert got["interval"]["f1"][0] <= got["f1"] <= got["interval"]["f1"][1]
    assert 0 < got["oov"]["tokens"] < got["tokens"]


@pytest.mark.parametrize("name", ["errors.tsv", "errors.csv", "errors.jsonl"])
def test_every_mistake_is_listed_once(gatework, tagger, tmp_path, name):
    data, path = write_data(tmp_path / "test.conll", tagger), tmp_path / name
    done = gatework("evaluate", tagger, data, "--json", "--errors", path)
    got = json.loads(done.out)["metrics"]
    with path.open(encoding="utf-8", newline="") as file:
        if name.endswith("jsonl"):
            rows = [json.loads(line) for line in file]
        else:
            rows = list(csv.DictReader(file, delimiter="\t" if name.endswith("tsv") else ","))
    assert set(rows[0]) == set(COLUMNS)
    kinds = [row["error"] for row in rows]
    assert {kind: kinds.count(kind) for kind in KINDS} == got["errors"]
    assert all(kinds.count(kind) for kind in KINDS)
    paired = sum(bool(row["true"]) and bool(row["predicted"]) for row in rows)
    assert got["gold"] - got["right"] == kinds.count("missed") + paired
    assert got["found"] - got["right"] == kinds.count("invented") + paired
    lines = data.read_text(encoding="utf-8").split("\n")
    for row in rows:
        if row["true"]:
            first = int(row["line"]) - 1 + int(row["start"])
            assert lines[first].split("\t")[0] == row["true_text"].split(" ")[0]


def test_classes(gatework, tmp_path):
    write_tagger(tmp_path / "pos.gw", codec=tag_codec(), layers=(CLASSES,))
    (tmp_path / "test.conll").write_text("Ann\tN\nmet\tV\n\nLee\tQ\n", encoding="utf-8")
    done = gatework(
        "evaluate", tmp_path / "pos.gw", tmp_path / "test.conll", "--json", "--errors", tmp_path / "e.jsonl"
    )
    got = json.loads(done.out)["metrics"]
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["error"] for row in rows} == {"wrong tag"}
    assert got["accuracy"] == pytest.approx(1 - len(rows) / 3)
    assert "f1" not in got


def test_other_layers_than_the_model_has(gatework, tagger, tmp_path):
    data = write_data(tmp_path / "test.conll", tagger)
    done = gatework("evaluate", tagger, data, "--set", "data.also=[1]")
    assert done.status == 2
    assert "line 1: 2 layers of tags, the model has 1: " in done.err
    assert SPANS.name in done.err


@pytest.mark.parametrize("option", ["--confusion", "--reliability"])
def test_pictures_are_for_classifiers(gatework, tagger, tmp_path, option):
    done = gatework("evaluate", tagger, write_data(tmp_path / "test.conll", tagger), option, tmp_path / "x.png")
    assert (done.status, "--errors FILE tells" in done.err) == (2, True)
