from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.sets import SETS, Example, TextSet, hold_out, load, read, sentences, tokens

RECIPES = Path(__file__).parents[2] / "recipes"


def examples(count: int) -> list[Example]:
    """Two labels 4 : 1, every tenth text three times."""
    made = []
    for number in range(count):
        made += [Example("rare" if number % 5 == 0 else "common", f"text {number}")] * (3 if number % 10 == 0 else 1)
    return made


def test_dev_split_loses_nothing_and_keeps_order() -> None:
    all_examples = examples(500)
    train, dev = hold_out(all_examples)
    assert Counter(train) + Counter(dev) == Counter(all_examples)
    position = {one: number for number, one in reversed(list(enumerate(all_examples)))}
    assert [position[one] for one in dev] == sorted(position[one] for one in dev)


def test_dev_split_is_stratified_and_keeps_copies_together() -> None:
    all_examples = examples(500)
    train, dev = hold_out(all_examples)
    assert not {one.text for one in train} & {one.text for one in dev}
    share = Counter(one.label for one in dev)
    for label, count in Counter(one.label for one in all_examples).items():
        assert share[label] == pytest.approx(count / 10, abs=2)


def test_dev_split_depends_on_seed_alone() -> None:
    assert hold_out(examples(300)) == hold_out(examples(300))
    assert hold_out(examples(300), seed=1)[1] != hold_out(examples(300), seed=2)[1]


def test_conflicting_labels_of_one_text_stay_together() -> None:
    train, dev = hold_out([Example(label, f"t{number}") for number in range(50) for label in ("a", "b")], fraction=0.5)
    assert train
    assert dev
    assert not {one.text for one in train} & {one.text for one in dev}


@pytest.mark.parametrize("packed", [False, True])
def test_reads_first_and_last_column(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("x.tsv.gz" if packed else "x.tsv")
    content = "pos\tphone\tgood\x85one\nneg\tbook\t差\n".encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    assert list(read(path)) == [Example("pos", "good\x85one"), Example("neg", "差")]


def test_load_uses_dev_file_or_holds_out(tmp_path: Path) -> None:
    for name, count in (("train", 100), ("dev", 7), ("test", 9)):
        (tmp_path / f"{name}.tsv").write_text("".join(f"a\t{name} {n}\n" for n in range(count)), encoding="utf-8")
    with_dev = TextSet(name="x", title="x", folder=".", language="en", goal=SETS["trec6"].goal, dev="dev.tsv")
    without = TextSet(name="x", title="x", folder=".", language="en", goal=SETS["trec6"].goal)
    assert [len(part) for part in load(with_dev, tmp_path)[:3]] == [100, 7, 9]
    assert [len(part) for part in load(without, tmp_path)[:3]] == [90, 10, 9]
    assert load(without, tmp_path).held_out


def test_every_set_has_a_recipe_and_the_recipe_its_files() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} >= set(SETS)
    for one in SETS.values():
        recipe = (RECIPES / f"{one.name}.toml").read_text(encoding="utf-8")
        for file in (one.train, one.test, *([one.dev] if one.dev else [])):
            assert f"$GATEWORK_DATA/{one.folder}/{file}" in recipe


def test_tokens() -> None:
    assert tokens("Don't go: 3pm!", "en") == ["don", "'", "t", "go", ":", "3pm", "!"]
    assert tokens("买iPhone15 吧", "zh") == ["买", "iphone", "15", "吧"]


def test_sentences_have_exactly_the_length() -> None:
    made = sentences([f"word{n} and, more" for n in range(100)], "en", length=20, most=7)
    assert len(made) == 7
    assert {len(tokens(one, "en")) for one in made} == {20}
