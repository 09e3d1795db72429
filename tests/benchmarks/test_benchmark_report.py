from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import measure
from benchmarks.report import BEGIN, END, MEASURES, losses, merge, place, render, table

ACCURACY, _, SIZE, SECONDS = MEASURES[:4]


def line(system: str, name: str = "trec6", **figures: Any) -> str:
    common = {
        "machine": {"cpu": "CPU", "cores": 2, "system": "Linux", "python": "3.11", "load": 0.5},
        "date": "2026-01-02", "command": f"python -m {system}", "version": f"{system} 1",
    }  # fmt: skip
    usual = {"system": system, "set": name, "accuracy": 0.9, "bytes": 10**6, "train_seconds": 5.0}
    return json.dumps(usual | common | figures)


def test_later_line_replaces_earlier_with_its_nested_variants() -> None:
    old = line("fasttext", quantised=[{"rows": 10, "accuracy": 0.5, "seconds": 1.0}], refit={"accuracy": 0.91})
    results = merge([old, line("fasttext", accuracy=0.8), line("fasttext", "agnews"), ""])
    assert set(results) == {("fasttext", "trec6"), ("fasttext", "agnews")}
    assert results["fasttext", "trec6"]["accuracy"] == 0.8


def test_plain_run_is_not_a_variant_of_the_recipe_run() -> None:
    results = merge([line("gatework-plain"), line("gatework")])
    assert {system for system, _ in results} == {"gatework-plain", "gatework"}


def test_quantised_model_pays_for_training_too() -> None:
    small = {"rows": 10_000, "accuracy": 0.88, "seconds": 7.0, "bytes": 600_000}
    results = merge([line("fasttext", quantised=[small])])
    assert results["fasttext-10000", "trec6"]["train_seconds"] == 12.0
    assert "12.0" in table(SECONDS, results)[-2]


def test_best_of_a_row_is_bold_and_gaps_stay_empty() -> None:
    results = merge([line("gatework", accuracy=0.931), line("fasttext", accuracy=0.934), line("gatework", "agnews")])
    rows = [row for row in table(ACCURACY, results) if row.startswith("| ")]
    assert rows[0] == "| set | floor | target | Gatework | fastText |"
    assert "| AG News (10k of 120k) | 87 | 89.5 | **90.00** |  |" in rows
    assert "| TREC-6 | 90 | 93 | 93.10 | **93.40** |" in rows


def test_smaller_is_better_for_size() -> None:
    results = merge([line("gatework", bytes=400_000), line("fasttext", bytes=803_313_594)])
    assert "| TREC-6 | 1 | **0.4** | 803 |" in table(SIZE, results)


def test_losses_name_the_rival_and_both_figures() -> None:
    results = merge([line("gatework", accuracy=0.93, bytes=1), line("fasttext", accuracy=0.94, bytes=2)])
    assert losses(MEASURES[:3], results) == ["- Accuracy, %: TREC-6 (fastText 94.00, Gatework 93.00)."]


def test_our_other_run_is_no_rival() -> None:
    results = merge([line("gatework", accuracy=0.9), line("gatework-plain", accuracy=0.95)])
    assert losses([ACCURACY], results) == ["- nowhere in these results"]


def test_a_tie_as_shown_is_no_loss() -> None:
    results = merge([line("gatework", accuracy=0.90001), line("fasttext", accuracy=0.90002)])
    assert losses([ACCURACY], results) == ["- nowhere in these results"]


def test_report_says_machine_date_version_and_command() -> None:
    text = render(merge([line("gatework", help_seconds=0.21), line("fasttext")]))
    for part in ("CPU, 2 cores", "2026-01-02", "fasttext 1", "python -m gatework", "`gatework --help`: 0.21 s"):
        assert part in text


def test_rivals_alone_claim_nothing_about_us() -> None:
    assert "Where a rival is better" not in render(merge([line("fasttext")]))
    assert "Where a rival is better" in render(merge([line("gatework")]))


def test_place_replaces_only_between_the_markers() -> None:
    once = place(f"top\n{BEGIN}\nold\n{END}\nbottom\n", "new")
    assert once == f"top\n{BEGIN}\n\nnew\n{END}\nbottom\n"
    assert place(once, "new") == once
    with pytest.raises(SystemExit, match="must hold the lines"):
        place("nothing here", "new")


def test_measures_of_quality() -> None:
    assert measure.accuracy(["a", "b", "b"], ["a", "b", "a"]) == pytest.approx(2 / 3)
    assert measure.f1(["a", "b", "b"], ["a", "b", "a"], "b") == pytest.approx(2 / 3)
    assert measure.f1(["a"], ["a"], "b") == 0.0


def test_latencies_are_ordered() -> None:
    found = measure.latencies(len, ["x", "yy"])
    assert 0.0 < found["p50"] <= found["p99"]
