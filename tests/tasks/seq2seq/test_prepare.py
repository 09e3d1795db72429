"""From recipes to pairs of streams: units, vocabularies, what is held back and left out; and the codec of a bundle."""

import numpy as np
import pytest

from gatework.core.architecture import Architecture
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.tasks import TASKS
from gatework.tasks.seq2seq import Seq2SeqCodec, Settings, open_codec
from gatework.text import running

PAIRS = [("the cat", "die Katze"), ("the dog", "der Hund"), ("a cat", "eine Katze"), ("a dog", "ein Hund")]


def prepared(tmp_path, pairs=PAIRS, *, task="translate", dev=PAIRS[:1], said=None, **sections):
    data = {"train": str(tmp_path / "train.tsv"), **sections.pop("data", {})}
    for part, own in (("train", pairs), ("dev", dev)):
        if own is not None:
            text = "".join(f"{source}\t{target}\n" for source, target in own)
            (tmp_path / f"{part}.tsv").write_text(text, encoding="utf-8")
    if dev is not None:
        data["dev"] = str(tmp_path / "dev.tsv")
    given = {"input": {"min_count": 1, "unit": "word", "shared": False}, **sections}
    recipe = Recipe.model_validate({"task": task, "data": data, **given}).filled(TASKS[task].defaults)
    return TASKS[task].prepare(recipe, tmp_path, said.append if said is not None else lambda sentence: None)


def texts(stream, codec):
    return [codec.decode(stream.tokens[at:end]) for at, end in zip(stream.starts, stream.starts[1:], strict=False)]


def test_both_sides_are_kept_with_their_ends(tmp_path):
    made = prepared(tmp_path)
    assert texts(made.train.source, made.codec.source) == [source for source, _ in PAIRS]
    assert texts(made.train.target, made.codec.target) == [target for _, target in PAIRS]
    assert (made.train.source.tokens[made.train.source.starts[1:] - 1] == 2).all()
    assert made.train.lengths_N.tolist() == [6, 6, 6, 6]
    assert made.architecture.outputs == made.codec.target.vocabulary == 3 + 6
    assert made.architecture.vocabulary == made.codec.source.vocabulary == 3 + 4
    assert Architecture.from_dict(made.architecture.to_dict(), source="x") == made.architecture


def test_one_vocabulary_for_both(tmp_path):
    made = prepared(tmp_path, input={"unit": "word", "min_count": 1})
    assert made.codec.shared
    assert made.architecture.vocabulary == made.architecture.outputs == 3 + 10
    assert made.architecture.writer.shared
    assert not any(name.startswith("target/") for name in made.entries())


@pytest.mark.parametrize("shared", [True, False])
def test_subwords_once_learnt_are_taken_again(tmp_path, shared, monkeypatch):
    """Learning them again need not give the same ones, and a resumed run must have them."""
    sections = {"input": {"unit": "unigram", "subwords": 40, "shared": shared}}
    first = prepared(tmp_path, PAIRS * 5, **sections)
    monkeypatch.setattr(running, "train_subwords", None)
    again = prepared(tmp_path, PAIRS * 5, **sections)
    assert again.entries() == first.entries()
    assert len(list(tmp_path.glob("subwords-*-unigram-40.json"))) == (1 if shared else 2)


def test_case_is_kept(tmp_path):
    made = prepared(tmp_path)
    assert made.codec.target.decode(made.codec.encode_target("die Katze")) == "die Katze"


def test_units_of_the_tasks(tmp_path):
    said = []
    spoken = [("cat", "K AE1 T"), ("tack", "T AE1 K"), ("act", "AE1 K T")] * 10
    made = prepared(tmp_path, spoken, dev=spoken[:1], task="transduce", input={}, said=said)
    assert (made.codec.source.unit, made.codec.target.unit) == ("char", "word")
    assert "unit: char, of targets word" in said


@pytest.mark.parametrize("targets", [["2021-03-04", "1999-12-31"] * 50, ["teh cat sat", "a dgo ran"]])
def test_what_is_no_sequence_of_symbols_is_written_by_character(tmp_path, targets):
    """Single words, however often, and words of sentences, which are many."""
    pairs = [(f"source {number}", target) for number, target in enumerate(targets)]
    made = prepared(tmp_path, pairs, dev=pairs[:1], task="transduce", input={})
    assert (made.codec.source.unit, made.codec.target.unit) == ("char", "char")


def test_empty_sides_of_training_are_left_out_and_said(tmp_path):
    said = []
    made = prepared(tmp_path, [*PAIRS, ("word", ""), ("", "Wort")], said=said)
    assert len(made.train) == 4
    assert any("train.tsv:5: 2 pairs with an empty side left out" in sentence for sentence in said)
    with pytest.raises(DataError, match=r"dev\.tsv:1: the target is empty"):
        prepared(tmp_path, dev=[("word", "")])


def test_long_texts(tmp_path):
    """Sources are cut, pairs with longer targets are no examples; answers are given from cut sources, and say so."""
    said = []
    pairs = [*PAIRS, ("a cat a dog a cat", "Hund"), ("dog", "ein Hund ein Hund ein Hund")]
    made = prepared(
        tmp_path, pairs, input={"min_count": 1, "unit": "word", "shared": False, "max_tokens": 4}, said=said
    )
    assert texts(made.train.source, made.codec.source)[-1] == "a cat a dog"
    assert len(made.train) == 5
    assert any("1 pairs left out, whose targets are longer" in sentence for sentence in said)
    encoded = made.codec.encode("a cat a dog a cat")
    assert (len(encoded.tokens), encoded.left_out) == (5, 2)


def test_pairs_of_one_source_are_held_back_together(tmp_path):
    many = [(f"word {place // 2}", f"Wort {place}") for place in range(200)]
    made = prepared(tmp_path, many, dev=None, data={"dev": 0.2}, input={"unit": "char", "min_count": 1})
    train, dev = (set(texts(one.source, made.codec.source)) for one in (made.train, made.dev))
    assert not train & dev
    assert 10 <= len(dev) <= 32
    assert len(made.train) + len(made.dev) == 200
    assert [pair.source for pair in made.examples("dev")] == texts(made.dev.source, made.codec.source)


def test_empty_sides_where_dev_is_held_back(tmp_path):
    said = []
    many = [(f"word {place}", f"Wort {place}" if place % 10 else "") for place in range(100)]
    made = prepared(tmp_path, many, dev=None, data={"dev": 0.3}, said=said)
    assert len(made.train) + len(made.dev) == 90
    assert len(list(made.examples("dev"))) == len(made.dev)
    assert sum("10 pairs with an empty side left out" in sentence for sentence in said) == 1


def test_two_files_side_by_side(tmp_path):
    for name, text in (("a.en", "the cat\nthe dog\n"), ("a.de", "die Katze\nder Hund\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = {"train": tmp_path / "a.en", "train_target": tmp_path / "a.de"}
    files = {**paths, "dev": paths["train"], "dev_target": paths["train_target"]}
    recipe = {"task": "translate", "data": {name: str(path) for name, path in files.items()}}
    recipe["input"] = {"min_count": 1, "unit": "char"}
    made = TASKS["translate"].prepare(Recipe.model_validate(recipe).filled(TASKS["translate"].defaults), tmp_path)
    assert texts(made.train.target, made.codec.target) == ["die Katze", "der Hund"]
    assert made.facts["files"]["train"]["target"]["file"] == "a.de"
    del recipe["data"]["dev_target"]
    (tmp_path / "b.en").write_text("the cat\n", encoding="utf-8")
    recipe["data"]["dev"] = str(tmp_path / "b.en")
    with pytest.raises(ConfigError, match=r"data\.dev_target is not set"):
        TASKS["translate"].prepare(Recipe.model_validate(recipe).filled(TASKS["translate"].defaults), tmp_path)


def test_targets_beside_their_sources_are_found(tmp_path):
    for name, text in (
        ("train.en", "the cat\n"),
        ("train.de", "die Katze\n"),
        ("dev.en", "cat\n"),
        ("dev.de", "Katze\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "dev.fr").write_text("chat\n", encoding="utf-8")
    data = {"train": str(tmp_path / "train.en"), "dev": str(tmp_path / "dev.en")}
    recipe = Recipe.model_validate({"task": "translate", "data": data, "input": {"min_count": 1, "unit": "char"}})
    said = []
    made = TASKS["translate"].prepare(recipe.filled(TASKS["translate"].defaults), tmp_path, said.append)
    assert texts(made.dev.target, made.codec.target) == ["Katze"], "the language of the training targets"
    assert any("train: targets from train.de (beside train.en" in sentence for sentence in said)
    (tmp_path / "train.fr").write_text("le chat\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.en: several files may hold its targets: train\.de, train\.fr"):
        TASKS["translate"].prepare(recipe.filled(TASKS["translate"].defaults), tmp_path)


def test_what_is_usual_and_scripts_of_sources(tmp_path):
    many = [("a " * (1 + place % 10) + "b", "x") for place in range(200)] + [("猫 是 猫", "x")]
    made = prepared(tmp_path, many, data={"dev": 0.1}, dev=None)
    assert made.settings.scripts == ("Latin",), "rare ones are none"
    assert made.settings.usual == int(np.quantile(made.train.source.lengths_N, 0.99)) > 0
    assert made.codec.settings == made.settings


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"model": {"pooling": ("last",)}}, r"model\.pooling is not for sequence to sequence"),
        ({"train": {"bptt": 3}}, r"train\.bptt is not"),
        ({"train": {"metric": "accuracy"}}, r"train\.metric 'accuracy' is unknown"),
        ({"input": {"unit": "char", "target_unit": "word"}}, r"input\.shared = true needs one unit"),
        ({"model": {"copy_source": True}}, r"model\.copy_source needs attention and input\.shared"),
        ({"model": {"coverage": True, "attention_kind": "dot"}}, r"model\.coverage needs"),
        (
            {"model": {"attention_kind": "dot", "units": 8}},
            "dot attention needs units of the encoder's width: 8 against 16",
        ),
        ({"model": {"cell": "lstm-projection", "projection": 4}}, r"model\.projection is not"),
    ],
)
def test_options_that_do_nothing_or_contradict(tmp_path, sections, says):
    with pytest.raises(ConfigError, match=says):
        prepared(tmp_path, **sections)


def test_a_file_without_pairs(tmp_path):
    with pytest.raises(DataError, match=r"train\.tsv"):
        prepared(tmp_path, [("", "")])


# ── the codec of a bundle ─────────────────────────────────────────────────────────────────────────────────────────


def opened(made, **changes):
    config = {"decode": made.settings.to_dict(), "architecture": made.architecture.to_dict()}
    return open_codec({**config, **changes}, made.entries(), source="m.gw")


@pytest.mark.parametrize("shared", [True, False])
def test_codec_is_read_back(tmp_path, shared):
    made = prepared(tmp_path, input={"unit": "word", "min_count": 1, "shared": shared})
    codec = opened(made)
    assert codec.shared == shared
    for text in ("the dog", "", "unheard of"):
        np.testing.assert_array_equal(codec.encode(text).tokens, made.codec.encode(text).tokens)
        np.testing.assert_array_equal(codec.encode_target(text), made.codec.encode_target(text))
    assert codec.settings == made.settings


def test_a_codec_that_does_not_fit_is_an_error(tmp_path):
    made = prepared(tmp_path)
    values = made.settings.to_dict()
    for decode in (
        {},
        {**values, "beams": 0},
        {**values, "beams": True},
        {**values, "more": 1},
        {**values, "most": -1},
    ):
        with pytest.raises(BundleError, match=r"m\.gw: config\.json: decode"):
            opened(made, decode=decode)
    for name in ("vocabulary", "outputs"):
        with pytest.raises(BundleError, match=r"m\.gw: a tokenizer has"):
            opened(made, architecture={**made.architecture.to_dict(), name: 99})
    entries = {name: data for name, data in made.entries().items() if name != "target/vocabulary.json"}
    config = {"decode": values, "architecture": made.architecture.to_dict()}
    with pytest.raises(BundleError, match=r"m\.gw: target/: tokenizer/vocabulary\.json is missing"):
        open_codec(config, entries, source="m.gw")


def test_dialogues_are_sources(tmp_path):
    made = prepared(tmp_path)
    codec = Seq2SeqCodec(made.codec.source, made.codec.target, Settings(context=2))
    assert codec.encode(["a", "the cat", "a dog"]).text == "the cat\na dog"
    with pytest.raises(DataError, match="a dialogue is a list of strings"):
        codec.encode([])
    for odd in (3, ["a"]):
        with pytest.raises(DataError, match="a source is a string"):
            made.codec.encode(odd)
