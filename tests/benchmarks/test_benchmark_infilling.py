"""The benchmark of gaps takes out what it says, and counts what is found again."""

import gzip
import random

import pytest

from benchmarks import infilling
from gatework.runtime import load
from language_models import write_model


@pytest.fixture
def play(tmp_path):
    words = random.Random(0).choices(["the", "cat", "sat", "on", "mats", "quietly"], k=4000)
    path = tmp_path / "input.txt"
    path.write_text(" ".join(words), encoding="utf-8")
    return path


def test_words_come_from_the_end_of_the_play(play):
    text = play.read_text(encoding="utf-8")
    held = text[int(0.9 * len(text)) :]
    known, unknown = infilling.plays(play, 20)
    assert known.gaps == unknown.gaps
    for gap in known.gaps:
        assert gap.before + gap.missing + gap.behind in held
        assert len(gap.missing) >= 3
        assert not (gap.before[-1] + gap.behind[0]).strip()
        assert known.options(gap.missing) == {"constraint": f"[A-Za-z]{{{len(gap.missing)}}}"}


def test_characters_come_from_the_lines_of_a_poem(tmp_path):
    poem = "床前明月光，疑是地上霜。"
    (tmp_path / "dev.tsv").write_text(f"5x2\t李白\t静夜思\t{poem}\n" * 9, encoding="utf-8")
    with gzip.open(tmp_path / "train.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("5x2\t李白\t月\t明月明月，明\n")
    cases = infilling.poems(tmp_path, "dev.tsv", "{0}\n{2}\n{3}", 5)
    assert [case.frequent("") for case in cases] == [["明", "月"], ["明月", "月明"]]
    for length, case in enumerate(cases, start=1):
        assert len(case.gaps) == 5
        for gap in case.gaps:
            assert gap.before + gap.missing + gap.behind == f"5x2\n静夜思\n{poem}"
            assert len(gap.missing) == length
            assert gap.missing.isalpha()


def test_what_is_found_is_counted(tmp_path):
    write_model(tmp_path / "m.gw", language={"directions": ("forward", "backward")})
    model = load(tmp_path / "m.gw")
    gap = infilling.Gap("the ", "cat", " sat")
    certain = infilling.Case(
        "certain", [gap], lambda word: {"constraint": {"choices": ["cat"]}}, lambda word: ["a", "cat"]
    )
    never = infilling.Case("never", [gap, gap], lambda word: {"constraint": {"choices": ["dog"]}}, lambda word: ["a"])
    records = infilling.measure(model, [certain, never], beams=4)
    ways = ["most frequent", *infilling.WAYS]
    assert [(one["case"], one["way"]) for one in records] == [
        (name, way) for name in ("certain", "never") for way in ways
    ]
    assert [one["at_1"] for one in records] == [0.0, 1.0, 1.0, 1.0] + [0.0] * 4
    assert [one["at_5"] for one in records] == [1.0] * 4 + [0.0] * 4
    assert infilling.table(records).count("\n") == 9
