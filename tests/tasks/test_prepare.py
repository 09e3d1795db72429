"""From a recipe to encoded examples: what is inferred, kept, split, refused."""

import gzip
import hashlib
import json

import numpy as np
import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.tasks import TASKS


@pytest.fixture
def say():
    return []


@pytest.fixture
def prepare(tmp_path, say):
    def prepare(files, **sections):
        for name, content in files.items():
            path = tmp_path / name
            path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        data = sections.setdefault("data", {})
        for part in ("train", "dev", "test"):
            if isinstance(data.get(part), str):
                data[part] = str(tmp_path / data[part])
        data["unlabelled"] = tuple(str(tmp_path / name) for name in data.get("unlabelled", ()))
        folder = tmp_path / "prepared"
        folder.mkdir(exist_ok=True)
        return TASKS["classify"].prepare(Recipe.model_validate(sections), folder, say.append)

    return prepare


def _rows(count, labels=("no", "yes"), words=("word", "other", "more")):
    """Different texts, labels in turn."""
    return "".join(
        f"{labels[index % len(labels)]}\t{words[index % 3]} {words[index % 2]} number {index}\n"
        for index in range(count)
    )


def test_one_file_is_split_counted_and_described(prepare, say, tmp_path):
    got = prepare({"train.tsv": _rows(100)}, data={"train": "train.tsv"})
    assert (len(got.train), len(got.dev)) == (90, 10)
    assert got.labels == ("no", "yes")
    assert got.train.targets.dtype == np.int64
    assert np.bincount(got.dev.targets).tolist() == [5, 5]
    assert got.prior == (0.5, 0.5)
    assert got.loss == "softmax"
    assert got.architecture.outputs == 2
    assert got.architecture.vocabulary == len(got.codec.vocabulary)
    assert got.architecture.ngram_rows == len(got.codec.ngrams) > 0
    entry = got.facts["files"]["train"]
    assert entry["sha256"] == hashlib.sha256((tmp_path / "train.tsv").read_bytes()).hexdigest()
    assert (entry["examples"], entry["used"], entry["held_back"]) == (100, 90, 10)
    assert str(tmp_path) not in json.dumps(got.facts), "a bundle does not tell where its maker keeps files"
    assert any("TSV" in sentence for sentence in say)
    assert "100 training examples, 10 of them held back for dev, 2 labels" in say


def test_nothing_is_left_to_infer_and_a_resolved_recipe_gives_the_same(prepare, tmp_path):
    got = prepare({"train.tsv": _rows(60)}, data={"train": "train.tsv"})
    assert got.recipe.input.unit == "word"
    assert got.recipe.data.format == "tsv"
    assert got.recipe.data.header is False
    assert (got.recipe.data.text, got.recipe.data.label, got.recipe.data.language) == (1, 0, "en")
    folder = tmp_path / "again"
    folder.mkdir()
    again = TASKS["classify"].prepare(got.recipe, folder)
    assert again.recipe == got.recipe
    assert again.entries() == got.entries()
    for one, other in ((again.train, got.train), (again.dev, got.dev)):
        assert np.array_equal(one.targets, other.targets)
        assert all(np.array_equal(one.encoded(i).tokens, other.encoded(i).tokens) for i in range(len(one)))


def test_the_seed_decides_the_split(prepare):
    files = {"train.tsv": _rows(60)}
    one = prepare(files, data={"train": "train.tsv"}, train={"seed": 1}).entries()
    assert one == prepare(files, data={"train": "train.tsv"}, train={"seed": 1}).entries()
    assert one != prepare(files, data={"train": "train.tsv"}, train={"seed": 2}).entries()


def test_chinese_gets_the_unit_for_it(prepare, say):
    rows = "".join(f"{'好坏'[i % 2]}\t这家酒店很{'不错干净'[i % 4]}第{i}次\n" for i in range(40))
    got = prepare({"train.tsv.gz": rows}, data={"train": "train.tsv.gz"})
    assert got.recipe.input.unit == "zh-char"
    assert got.recipe.data.language == "zh"
    assert any("zh-char" in sentence for sentence in say)


def test_header_columns_by_name_and_a_dev_file_in_another_order(prepare):
    train = "id,review,stars\n" + "".join(f"{i},a longer text of number {i},{i % 3}\n" for i in range(30))
    dev = "stars,id,review\n" + "".join(f"{i % 3},{i},a text {i}\n" for i in range(9))
    got = prepare({"train.csv": train, "dev.csv": dev}, data={"train": "train.csv", "dev": "dev.csv", "label": "stars"})
    assert got.labels == ("0", "1", "2")
    assert (got.recipe.data.text, got.recipe.data.label) == ("review", "stars")
    assert got.dev.targets.tolist() == [0, 1, 2] * 3


def test_numbers_are_ordered_by_value(prepare):
    got = prepare({"t.tsv": _rows(120, labels=[str(i) for i in range(12)])}, data={"train": "t.tsv", "dev": 0.2})
    assert got.labels == tuple(str(i) for i in range(12))


def test_positive_is_the_rarer_label(prepare, say):
    got = prepare({"t.tsv": _rows(90, labels=("a", "b", "b"))}, data={"train": "t.tsv"})
    assert got.positive == 0
    assert any(sentence.startswith("positive label: a") for sentence in say)
    assert prepare({"t.tsv": _rows(90)}, data={"train": "t.tsv"}).positive == 1, "the second where both are as frequent"
    assert prepare({"t.tsv": _rows(90, labels="abc")}, data={"train": "t.tsv"}).positive is None


def test_identical_texts_are_not_in_both_parts(prepare):
    rows = "".join(f"{'ab'[i % 2]}\ttext number {i % 40}\n" for i in range(400))
    got = prepare({"t.tsv": rows}, data={"train": "t.tsv", "dev": 0.25}, input={"min_count": 1})
    texts = [{tuple(part.encoded(i).tokens.tolist()) for i in range(len(part))} for part in (got.train, got.dev)]
    known = {text for text in texts[1] if 1 not in text}
    assert len(got.dev) == 100
    assert not texts[0] & known


def test_the_vocabulary_knows_nothing_of_dev(prepare):
    files = {"t.tsv": _rows(40), "d.tsv": "yes\tmarmalade marmalade marmalade\nno\tword\n"}
    got = prepare(files, data={"train": "t.tsv", "dev": "d.tsv"})
    assert "word" in got.codec.vocabulary
    assert "marmalade" not in got.codec.vocabulary


def test_empty_texts_are_kept_and_said(prepare, say):
    rows = _rows(40) + "yes\t\nno\t   \n"
    got = prepare({"t.tsv": rows, "d.tsv": _rows(10)}, data={"train": "t.tsv", "dev": "d.tsv"})
    assert len(got.train) == 42
    assert got.train.encoded(40).empty
    assert got.train.encoded(41).empty
    assert got.facts["files"]["train"]["empty"] == 2
    assert any("2 empty texts, kept" in sentence for sentence in say)


def test_long_training_texts_are_cut_and_said_dev_texts_are_not(prepare, say):
    rows = _rows(20) + "yes\t" + "long " * 50 + "\n"
    got = prepare({"t.tsv": rows, "d.tsv": rows}, data={"train": "t.tsv", "dev": "d.tsv"}, input={"max_tokens": 20})
    assert got.train.lengths_N.max() == 20
    assert got.dev.lengths_N.max() == 50
    assert any("1 texts are longer than 20 tokens" in sentence for sentence in say)
    assert got.facts["files"]["train"]["cut"] == 1


def test_several_labels(prepare):
    rows = "".join(f"{('red', 'red;blue', '', 'blue;green')[i % 4]}\tthing number {i}\n" for i in range(80))
    got = prepare({"t.tsv": rows}, data={"train": "t.tsv", "label_separator": ";", "label": 0, "text": 1, "dev": 0.25})
    assert got.multi_label
    assert got.loss == "sigmoid"
    assert got.labels == ("blue", "green", "red")
    assert got.train.targets.shape == (60, 3)
    assert got.train.targets.dtype == np.float32
    assert got.prior == pytest.approx([0.5, 0.25, 0.5], abs=0.04)
    assert got.positive is None


def test_fasttext_with_several_labels(prepare):
    rows = "".join(f"__label__a {'__label__b ' * (i % 2)}text {i}\n" for i in range(40))
    assert prepare({"t.txt": rows}, data={"train": "t.txt"}).multi_label


def test_unlabelled_texts_count_for_the_vocabulary_when_pretraining(prepare, say):
    files = {"t.tsv": _rows(40), "more.txt": "zebra zebra crossing\n\nzebra number\n"}
    data = {"train": "t.tsv", "unlabelled": ["more.txt"]}
    got = prepare(files, data=dict(data), train={"pretrain_epochs": 1})
    assert "zebra" in got.codec.vocabulary
    assert len(got.unlabelled) == 3
    assert "unlabelled 1" in got.facts["files"]
    without = prepare(files, data=dict(data))
    assert without.unlabelled is None
    assert "zebra" not in without.codec.vocabulary
    assert any("left unread" in sentence for sentence in say)
    assert len(got.codec.ngrams) == len(without.codec.ngrams), "n-grams are learnt from labels"


def test_characters_and_attention_reach_the_architecture(prepare):
    got = prepare(
        {"t.tsv": _rows(40)},
        data={"train": "t.tsv"},
        input={"characters": "cnn", "ngrams": 0},
        model={"pooling": ("last", "attention"), "attention": 7, "character_units": 5},
    )
    assert got.architecture.ngram_rows == 0
    assert got.architecture.attention == 7
    assert got.architecture.characters.vocabulary == len(got.codec.characters)
    assert got.architecture.characters.units == 5


MISTAKES = {
    "one class only": (
        {"t.tsv": "a\tx y\na\tz w\n"},
        {"label": 0, "text": 1},
        r"t\.tsv:1: every example has the one label 'a'",
    ),
    "empty file": ({"t.tsv": ""}, {}, r"t\.tsv:1: the file is empty"),
    "header alone": ({"t.csv": "text,label\n"}, {"train": "t.csv", "header": True}, r"t\.csv: no examples|t\.csv:1"),
    "single text": (
        {"t.tsv": _rows(20) + "rare\tonce\nrare\tonce\n"},
        {},
        r"t\.tsv:21: label 'rare' has a single text",
    ),
    "unknown label in dev": (
        {"t.tsv": _rows(20), "d.tsv": "yes\tone\nyess\ttwo\n"},
        {"dev": "d.tsv"},
        r"d\.tsv:2: label 'yess' is not among those of training\. Known: no, yes\. Did you mean 'yes'\?",
    ),
    "unknown label in test": (
        {"t.tsv": _rows(20), "e.tsv": "yes\tone\nmaybe\ttwo\n"},
        {"test": "e.tsv"},
        r"e\.tsv:2: label 'maybe' is not among",
    ),
    "one label in dev": (
        {"t.tsv": _rows(20), "d.tsv": "yes\tone\nyes\ttwo\n"},
        {"dev": "d.tsv"},
        r"t\.tsv:1: label 'no' has no example in the dev file .*d\.tsv",
    ),
    "missing label": ({"t.tsv": _rows(20) + "\tno label\n"}, {}, r"t\.tsv:21: the label is empty"),
    "no file": (
        {"train.tsv": _rows(20)},
        {"train": "tarin.tsv"},
        r"tarin\.tsv: no such file\. Did you mean 'train\.tsv'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_file_and_line(prepare, name):
    files, data, message = MISTAKES[name]
    with pytest.raises(DataError, match=message) as caught:
        prepare(files, data={"train": "t.tsv", **data})
    assert "\n" not in str(caught.value)


def test_a_rare_label_may_be_missing_from_a_dev_file(prepare, say):
    files = {"t.tsv": _rows(200) + "rare\tone\nrare\ttwo\n", "d.tsv": _rows(20)}
    prepare(files, data={"train": "t.tsv", "dev": "d.tsv"})
    assert any("t.tsv:201: label 'rare' has no example in dev" in sentence for sentence in say)


def test_a_frequent_label_may_not(prepare):
    files = {"t.tsv": _rows(120, labels="abc"), "d.tsv": _rows(40, labels="ab")}
    with pytest.raises(DataError, match=r"t\.tsv:3: label 'c' has no example in the dev file"):
        prepare(files, data={"train": "t.tsv", "dev": "d.tsv"})


def test_options_are_checked_before_files_are_read(prepare):
    with pytest.raises(ConfigError, match=r"train\.metric 'accurracy' is unknown\..*Did you mean 'accuracy'"):
        prepare({}, data={"train": "nowhere.tsv"}, train={"metric": "accurracy"})
    with pytest.raises(ConfigError, match=r"data\.train is not set"):
        prepare({})


def test_many_known_labels_are_not_all_listed(prepare):
    labels = [f"topic-{index:03}" for index in range(50)]
    files = {"t.tsv": _rows(200, labels=labels), "e.tsv": "topic-0l7\tsome words\n"}
    with pytest.raises(DataError, match=r"There are 50 known labels\. Did you mean 'topic-0\d7'\?"):
        prepare(files, data={"train": "t.tsv", "test": "e.tsv", "text": 1, "label": 0})


@pytest.mark.parametrize("unit", ["bpe", "unigram"])
def test_a_kept_subword_model_is_taken_again(prepare, tmp_path, unit):
    files, sections = (
        {"train.tsv": _rows(100)},
        {"data": {"train": "train.tsv"}, "input": {"unit": unit, "subwords": 60}},
    )
    first = prepare(files, **sections)
    kept = tmp_path / "prepared" / f"subwords-{unit}-60.json"
    stamp = kept.stat().st_mtime_ns
    again = prepare(files, **sections)
    assert kept.stat().st_mtime_ns == stamp
    assert again.entries() == first.entries()
