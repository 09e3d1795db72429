"""The table of contextual string embeddings, from results as the benchmark writes them."""

from __future__ import annotations

import json

import pytest

from benchmarks import contextual, contextual_report

MACHINE = {"cpu": "a processor", "cores": 2, "system": "Linux x86_64", "python": "3.11", "load": 0.5}


def record(name, test, **more):
    figures = {"dev": {"value": test + 0.04, "interval": None}, "test": {"value": test, "interval": [0.8, 0.9]}}
    figures |= {"bytes": 2_800_000, "batch_rate": 40_000.4, "single_rate": 30_000.0, "metric": "f1"}
    about = {"machine": MACHINE, "date": "2026-11-21", "command": "python -m benchmarks.contextual --bundles models"}
    return json.dumps({"system": "gatework", "set": name, **figures, **more, **about})


def test_with_stands_below_without():
    lines = [record("ner-conll2003-contextual", 0.91, train_seconds=600), record("ner-conll2003", 0.8658)]
    text = contextual_report.render(contextual_report.merge(lines))
    plain, states = (line for line in text.splitlines() if line.startswith("| CoNLL-2003"))
    assert plain == "| CoNLL-2003, entity F1 | - | 90.58 | 86.58 | 80.00–90.00 | 2.80 |  | 40,000 | 30,000 |"
    assert "| news | 95.00 | 91.00 |" in states
    assert "| 10.0 |" in states
    assert "SST-2" not in text


def test_texts_are_tokens_or_strings(tmp_path):
    ner, sst = contextual.PAIRS
    (tmp_path / "a.conll").write_text("EU\tX\nrejects\tX\n\n\nOK\tX\n", encoding="utf-8")
    assert contextual.texts(ner, tmp_path / "a.conll") == [["EU", "rejects"], ["OK"]]
    (tmp_path / "a.tsv").write_text("1\ta film\n0\tno\tfilm\n", encoding="utf-8")
    assert contextual.texts(sst, tmp_path / "a.tsv") == ["a film", "no\tfilm"]


def test_rates_count_every_word_once():
    calls = []
    rates = contextual.rates(calls.append, ["a b", "c"] * 40)
    assert set(rates) == {"batch_rate", "single_rate"}
    sizes = [len(call) for call in calls]
    assert sizes[:2] + sizes[2:5] == [32, 32, 32, 32, 16]
    assert sizes[5:].count(1) == 64 + 80


@pytest.mark.parametrize("pair", contextual.PAIRS)
def test_recipes_are_there(pair):
    for name in (pair.plain, pair.contextual):
        assert (contextual.RECIPES / f"{name}.toml").is_file()
