"""The benchmarks of taggers: reading, scoring, timing, the rival network, the report."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import tag_speed
from benchmarks.install_size import folder_bytes
from benchmarks.report import place
from benchmarks.tag_score import score
from benchmarks.tag_sets import SETS, Sentence, in_characters, of_length, read, repaired
from benchmarks.tagging_report import BEGIN, END, merge, reached, render
from benchmarks.trained import course, in_float32

RESUME, EWT, PFR = SETS["ner-resume"], SETS["pos-ewt"], SETS["pos-pfr"]


def test_reads_sentences_and_the_column_of_tags(tmp_path: Path) -> None:
    content = "\nA\tDET\tDT\nb\u2028\tNOUN\tNN\n\n\nC\tX\tFW\r\n"
    for path in (tmp_path / "x.conll", tmp_path / "x.conll.gz"):
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
        assert list(read(EWT, path)) == [Sentence(["A", "b\u2028"], ["DET", "NOUN"]), Sentence(["C"], ["X"])]


def test_reads_the_tokens_and_spans_that_gatework_reads(tmp_path: Path) -> None:
    from gatework.core.tag_scheme import Converter
    from gatework.tasks.tag.reading import read_labelled

    path = tmp_path / "x.conll"
    path.write_text("吴\tB-NAME\n重\tI-NAME\n，\tO\n\n京\tI-LOC\n人\tO\n某\tI-NAME\n\n", encoding="utf-8")
    ours, theirs = list(read_labelled(path, options={"scheme": "bio"})), list(read(RESUME, path))
    assert [list(one.tokens) for one in ours] == [one.tokens for one in theirs]
    convert = Converter("bio")
    assert [list(one.tags[0]) for one in ours] == [list(convert(repaired(one.tags))) for one in theirs]


def test_repair_begins_a_span_where_none_goes_on() -> None:
    tags = ["I-A", "I-A", "O", "I-A", "I-B", "B-B", "I-B"]
    assert repaired(tags) == ["B-A", "I-A", "O", "B-A", "B-B", "B-B", "I-B"]
    assert repaired(repaired(tags)) == repaired(tags)


def test_words_as_characters() -> None:
    assert in_characters(Sentence(["我", "今天", "看电影"], ["r", "t", "v"])) == Sentence(
        list("我今天看电影"), ["S-r", "B-t", "E-t", "B-v", "I-v", "E-v"]
    )


def test_sentences_of_a_length() -> None:
    sentences = [["a"] * count for count in (5, 17, 18, 22, 23, 20)]
    assert [len(one) for one in of_length(sentences)] == [18, 22, 20]
    assert len(of_length(sentences, most=1)) == 1


def test_scores_count_spans_as_conlleval_does() -> None:
    gold = [["B-A", "I-A", "O"], ["B-B", "O", "B-A"]]
    found = [["B-A", "I-A", "O"], ["I-B", "O", "B-B"]]
    figures = score(RESUME, gold, found)
    assert (figures["right"], figures["found"], figures["gold"]) == (2, 3, 3)
    assert figures["f1"] == pytest.approx(2 / 3)
    assert score(EWT, [["X", "Y"]], [["X", "Z"]])["accuracy"] == 0.5
    assert score(PFR, [["B-n", "E-n", "S-v"]], [["B-v", "E-v", "S-v"]])["seg_f1"] == 1.0
    with pytest.raises(ValueError, match="2 true tags, 1 given"):
        score(EWT, [["X", "Y"]], [["X"]])


def test_speed_reports_every_figure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sentences, seen = [["a"] * length for length in (3, 20, 40)] * 20, []
    monkeypatch.setattr("benchmarks.measure.TIMED", 5)
    monkeypatch.setattr("benchmarks.measure.WARM_UP", 1)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(sentences)))
    tag_speed.child(lambda chunk: seen.append(len(chunk)))
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"batch_rate", "single_rate", "p50", "p99"}
    assert set(seen) == {1, 28, 32}


def test_turns_take_medians_of_rounds(tmp_path: Path) -> None:
    counter = tmp_path / "count"
    program = (
        "import json, pathlib, sys; p = pathlib.Path(sys.argv[1]); n = len(p.read_text()) if p.exists() else 0;"
        "p.write_text('x' * (n + 1)); print('noise'); print(json.dumps({'batch_rate': [5.0, 1.0, 3.0][n]}))"
    )
    figures = tag_speed.turns({"one": [sys.executable, "-c", program, str(counter)]}, [["a"]])
    assert figures == {"one": {"batch_rate": 3.0}}


def sample(folder: Path, **sections: dict[str, Any]) -> Any:
    """A small tagging recipe on made-up data."""
    from gatework.core.recipe import Recipe
    from gatework.tasks import TASKS

    own, _ = TASKS["tag"].sample(folder)
    merged = {name: own.get(name, {}) | sections.get(name, {}) for name in {*own, *sections}}
    return Recipe(task="tag", **merged).filled(TASKS["tag"].defaults)


@pytest.mark.skipif(importlib.util.find_spec("torchcrf") is None, reason="needs pytorch-crf")
@pytest.mark.parametrize("characters", ["none", "cnn", "bilstm"])
def test_rival_is_the_same_network(tmp_path: Path, characters: str) -> None:
    from benchmarks.rivals import pytorch_bilstm_crf as rivals
    from benchmarks.rivals.bilstm_crf_network import Rival
    from gatework.tasks import TASKS
    from gatework.train.fitting import build_network
    from gatework.train.tagging import Tagging

    settings = {"window": 64, "characters": characters, "lexicon": "train"}
    prepared = TASKS["tag"].prepare(sample(tmp_path, input=settings, model={"layers": 2}), tmp_path)
    ours = build_network(prepared)
    rival = Rival(ours)
    stage = Tagging(TASKS["tag"], prepared, ours)
    rivals.check(prepared, stage, ours, rival)
    with torch.no_grad():
        rival.linear.weight += 0.1 * torch.randn_like(rival.linear.weight)
    with pytest.raises(SystemExit, match="the networks differ"):
        rivals.check(prepared, stage, ours, rival)


@pytest.mark.skipif(importlib.util.find_spec("torchcrf") is None, reason="needs pytorch-crf")
def test_rival_learns(tmp_path: Path) -> None:
    from benchmarks.rivals import pytorch_bilstm_crf as rivals
    from gatework.tasks import TASKS

    task = TASKS["tag"]
    prepared = task.prepare(sample(tmp_path, input={"window": 64}, train={"epochs": 12}), tmp_path)
    rival, how = rivals.train(task, prepared, tmp_path / "rival.run")
    test = list(read(RESUME, tmp_path / "test.conll"))
    found = rivals.tagged(prepared, rival, RESUME, [one.tokens for one in test])
    assert how["epochs"] <= 12
    assert score(RESUME, [one.tags for one in test], found)["f1"] > 0.7
    rates = rivals.speed(task, prepared, 0.0)
    assert rates["gatework_rate"] > 0
    assert rates["ratio"] == pytest.approx(rates["gatework_rate"] / rates["pytorch_rate"])


def test_float32_weights_come_from_the_run(tmp_path: Path) -> None:
    from gatework.core.bundle import read_bundle
    from gatework.runtime import load
    from gatework.train.pipeline import train

    recipe = sample(tmp_path, train={"epochs": 1})
    bundle, whole = tmp_path / "m.gw", tmp_path / "whole.gw"
    assert course(bundle) == {}
    train(recipe, bundle)
    assert course(bundle)["epochs"] == 1
    assert in_float32(bundle, whole)
    assert (read_bundle(bundle).storage, read_bundle(whole).storage) == ("int8", "fp32")
    exact, rounded = (read_bundle(path).weights["encoder.0.forward.w_GI"] for path in (whole, bundle))
    assert exact.dtype == np.float32
    assert rounded.dtype == np.int8
    assert load(whole).predict("met Paris").tags


def line(system: str, name: str = "ner-resume", **figures: Any) -> str:
    common = {
        "machine": {"cpu": "CPU", "cores": 2, "system": "Linux", "python": "3.11", "load": 0.5},
        "date": "2026-01-02", "command": f"python -m {system}", "version": f"{system} 1",
    }  # fmt: skip
    return json.dumps({"system": system, "set": name} | common | figures)


SPEED = {"batch_rate": 50_000.0, "single_rate": 30_000.0, "p50": 0.25, "p99": 0.5}


def test_report_has_every_table() -> None:
    trained = {"f1": 0.9381, "bytes": 2 * 10**6, "train_seconds": 90.0, "epochs": 12}
    rates = {"gatework_rate": 30_000.0, "pytorch_rate": 10_000.0, "ratio": 3.0}
    text = render(merge([
        line("gatework", f1=0.5),
        line("gatework", **trained, speed=SPEED, fp32={"f1": 0.9391, "bytes": 8 * 10**6}),
        line("spacy", f1=0.9, bytes=6 * 10**6, train_seconds=600, epochs=3, reason="time", speed=SPEED,
             gatework_speed=SPEED | {"batch_rate": 40_000.0}),
        line("spacy", "install", install_bytes=250 * 10**6),
        line("pytorch", f1=0.93, epochs=12, training=rates, left_out=[]),
    ]))  # fmt: skip
    assert "| 93.8 | 95.5 | 93.81 | floor | 93.91 | +0.10 | 2.00 | 1.5 | 15 |" in text
    assert "| Resume NER | characters | 50,000 | 30,000 | 0.250 | 0.500 |" in text
    assert "| Resume NER | Gatework | 93.81 | 2.00 |  | 40,000 | 30,000 |" in text
    assert "| Resume NER | spaCy | 90.00 | 6.00 | 250 | 50,000 |" in text
    assert "| Resume NER | 30,000 | 10,000 | 3.00 | 93.81 | 93.00 | 12 | 12 | - |" in text
    assert "Resume NER 4 epochs, ended by time" in text
    for part in ("CPU, 2 cores", "2026-01-02", "spacy 1", "python -m gatework"):
        assert part in text


def test_goals_count_as_shown() -> None:
    goal = RESUME.goals[0]
    assert (goal.floor, goal.target) == (93.8, 95.5)
    assert [reached(value, goal) for value in (93.794, 93.796, 95.4951, 95.49)] == ["-", "floor", "target", "floor"]


def test_report_goes_between_its_markers() -> None:
    assert place(f"a\n{BEGIN}\nold\n{END}\nb\n", "new", BEGIN, END) == f"a\n{BEGIN}\n\nnew\n{END}\nb\n"


def test_bytes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"x" * 100)
    (tmp_path / "hard").hardlink_to(tmp_path / "sub" / "a")
    (tmp_path / "b").write_bytes(b"y" * 11)
    assert folder_bytes(tmp_path) == 111


def test_every_set_with_a_recipe_names_its_files() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    for one in SETS.values():
        path = recipes / f"{one.name}.toml"
        if path.exists():
            recipe = path.read_text(encoding="utf-8")
            assert all(f"$GATEWORK_DATA/{one.folder}/{name}" in recipe for name in (one.train, one.test))
