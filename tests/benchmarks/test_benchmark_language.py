"""The tables of the language models, from results as the benchmark writes them."""

from __future__ import annotations

import json

import pytest

from benchmarks import language_report
from benchmarks.language_sets import SETS, choose

MACHINE = {"cpu": "a processor", "cores": 2, "system": "Linux x86_64", "python": "3.11", "load": 0.5}


def record(system, name, perplexity, **more):
    figures = {"perplexity": perplexity, "bits_per_char": 1.3, "nats_per_char": 0.9, "bytes": 2_000_000}
    about = {"machine": MACHINE, "date": "2026-11-21", "command": "python -m benchmarks.language_models"}
    return json.dumps({"system": system, "set": name, **figures, **more, **about})


def rendered(*lines):
    return language_report.render(language_report.merge(lines))


def test_scores_stand_beside_what_was_set_out_for():
    text = rendered(
        record("gatework", "lm-ptb-small", 100.004, train_seconds=600, interval={"perplexity": [97.5, 102.25]}),
        record("gatework", "lm-ptb", 90.01),
    )
    small, best = (line for line in text.splitlines() if line.startswith("| PTB"))
    assert "| 100.00 | target | 97.50–102.25 | 2.00 | 10.0 | 20 |" in small
    assert "| 90.01 | - |" in best


def test_storage_is_told_in_percent_of_perplexity():
    text = rendered(record("gatework", "lm-ptb", 81.0, fp32={"perplexity": 80.0, "bytes": 8_000_000}))
    assert "| 81.000 | 80.000 | +1.25 | 2.00 | 8.00 |" in text


def test_a_later_line_replaces_an_earlier_one_and_cells_stand_side_by_side():
    lines = [record(system, "lm-tang", value) for system, value in [("gatework", 999.0), ("gatework", 90.0)]]
    assert "### Tang poems: cells" not in rendered(*lines)
    text = rendered(*lines, record("kneser-ney-4", "lm-tang", 126.0), record("gatework-gru", "lm-tang", 95.0))
    rows = [line.split(" | ")[:2] for line in text[text.index("cells and counts") :].splitlines() if "| " in line]
    assert rows[2:5] == [["| 4-gram Kneser-Ney", "126.00"], ["| GRU", "95.00"], ["| LSTM, the recipe", "90.00"]]
    assert "999" not in text


def test_models_of_words_are_read_three_ways():
    ways = {name: {"perplexity": value} for name, value in (("cache", 76.0), ("dynamic", 75.0))}
    assert "| 80.00 | 76.00 | 75.00 |" in rendered(record("gatework", "lm-ptb", 80.0, **ways))


def test_the_scored_part_is_the_one_that_training_held_back(tmp_path, monkeypatch):
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    (folder / "input.txt").write_text("a" * 18 + "bc", encoding="utf-8")
    monkeypatch.setenv("GATEWORK_DATA", str(tmp_path))
    with SETS["lm-shakespeare"].text() as text:
        assert text.read_text(encoding="utf-8") == "bc"


def test_an_unknown_set_ends_the_program():
    with pytest.raises(SystemExit, match="unknown set 'lm-none'"):
        choose(["lm-none"])
