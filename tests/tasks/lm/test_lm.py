"""The task lm without training: preparing, holding back, and exact evaluation against the definition in float64."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.runtime import language_model
from gatework.tasks import TASKS
from gatework.tasks.lm import LmCodec, Settings, open_codec
from gatework.tasks.lm.metrics import Totals
from gatework.text import running
from gatework.text.documents import Piece
from language_models import language_architecture, language_model_of, language_weights, nats

LM = TASKS["lm"]
LINES = [
    "the cat sat",
    "",
    "a dog",
    "on the mat the cat sat down",
    "a dog",
    "cat",
    "the dog ran",
    "down",
    "on",
    "mat a",
]


def recipe(folder, text, name="train.txt", **sections):
    (folder / name).write_text(text)
    values = {"task": "lm", "data": {"train": str(folder / name)}, "input": {"unit": "word", "min_count": 1}}
    for section, options in sections.items():
        values[section] = {**values.get(section, {}), **options}
    return Recipe.model_validate(values).filled(LM.defaults)


def prepared(folder, text, **sections):
    (folder / "prepared").mkdir(exist_ok=True)
    said = []
    return LM.prepare(recipe(folder, text, **sections), folder / "prepared", said.append), said


def text_of(made, part):
    stream = getattr(made, part)
    return [
        made.codec.decode(stream.tokens[begin:end])
        for begin, end in zip(stream.starts[:-1], stream.starts[1:], strict=True)
    ]


def test_subwords_once_learnt_are_taken_again(tmp_path, monkeypatch):
    text, sections = "the cat sat on the mat and the dog ate it all\n" * 40, {"input": {"unit": "bpe", "subwords": 40}}
    first, _ = prepared(tmp_path, text, **sections)
    monkeypatch.setattr(running, "train_subwords", None)
    again, _ = prepared(tmp_path, text, **sections)
    assert again.entries() == first.entries()


def test_the_end_of_running_text_is_held_back_by_characters(tmp_path):
    text = "".join(f"line {number}\n\n" for number in range(40))
    made, _ = prepared(tmp_path, text, input={"unit": "char"}, data={"dev": 0.1})
    border = int(len(text) * 0.9)
    assert text_of(made, "train") == [text[:border]]
    assert text_of(made, "dev") == [text[border:]]
    assert 2 not in made.train.tokens
    assert (made.train.characters, made.dev.characters) == (border, len(text) - border)
    assert "".join(piece.text for piece in made.examples("dev")) == text[border:]


def test_the_last_lines_are_held_back_where_lines_are_read_on(tmp_path):
    made, said = prepared(tmp_path, "\n".join(LINES), data={"dev": 0.2, "documents": "line"})
    assert text_of(made, "train") == LINES[:8]
    assert text_of(made, "dev") == LINES[8:]
    assert made.carry
    assert "a document a line" in said[0]
    assert made.facts["files"]["dev"]["held_back"]


def test_documents_alone_are_drawn_equal_ones_together(tmp_path):
    seen = set()
    for seed in range(8):
        made, _ = prepared(
            tmp_path, "\n".join(LINES), data={"dev": 0.3, "documents": "line", "carry": False}, train={"seed": seed}
        )
        train, dev = ([piece.text for piece in made.examples(part)] for part in ("train", "dev"))
        assert (len(made.train), len(made.dev)) == (len(train), len(dev))
        assert sorted(train + dev) == sorted(LINES)
        assert not set(train) & set(dev)
        seen.add(tuple(dev))
    assert len(seen) > 2


def test_rows_are_documents_read_alone(tmp_path):
    rows = "".join(f"{number}\ttitle {number}\n" for number in range(10))
    made, _ = prepared(tmp_path, rows, name="train.tsv", data={"template": "{1}\n{0}"})
    assert not made.carry
    assert made.settings == Settings(documents="rows", carry=False, template="{1}\n{0}")
    assert len(made.train) == 9
    assert text_of(made, "train")[0].startswith("title")


@pytest.mark.parametrize(
    ("sections", "fault", "message"),
    [
        ({"model": {"cutoffs": [2]}}, ConfigError, "need each other"),
        ({"model": {"softmax": "adaptive"}}, ConfigError, "need each other"),
        ({"model": {"softmax": "adaptive", "cutoffs": [4, 2]}}, ConfigError, "must rise"),
        ({"model": {"softmax": "adaptive", "cutoffs": [4, 2000]}}, ConfigError, "there are 9 tokens"),
        ({"model": {"softmax": "sampled"}, "train": {"label_smoothing": 0.1}}, ConfigError, "needs all tokens"),
        ({"train": {"metric": "accuracy"}}, ConfigError, r"train\.metric 'accuracy'"),
        ({"train": {"pretrain_epochs": 1}}, ConfigError, "not for language models"),
        ({"input": {"unit": "zh-char"}}, ConfigError, "none of running text"),
        ({"data": {"documents": "file", "carry": False}}, ConfigError, "needs documents"),
        ({"input": {"min_count": 100}}, DataError, "no token occurs 100 times"),
    ],
)
def test_mistakes_are_told(tmp_path, sections, fault, message):
    with pytest.raises(fault, match=message):
        prepared(tmp_path, "\n".join(LINES), **{"data": {"documents": "line"}, **sections})


@pytest.mark.parametrize("text", ["", "x"])
def test_text_too_short_to_hold_any_back(tmp_path, text):
    with pytest.raises(DataError, match="held back"):
        prepared(tmp_path, text, data={"documents": "file"})


def test_facts_tell_of_every_file(tmp_path):
    (tmp_path / "test.txt").write_text("a b\nc d e\n")
    made, _ = prepared(tmp_path, "\n".join(LINES), data={"documents": "line", "test": str(tmp_path / "test.txt")})
    files = made.facts["files"]
    assert {part: files[part]["examples"] for part in files} == {"train": 9, "test": 2, "dev": 1}
    assert files["test"]["characters"] == 10
    assert files["test"]["tokens"] == round(10 * files["train"]["tokens"] / files["train"]["characters"])
    assert set(files["test"]) == {"file", "bytes", "sha256", "examples", "characters", "tokens"}
    json.dumps(made.facts, allow_nan=False)


@pytest.mark.parametrize("part", ["dev", "test"])
def test_an_empty_file(tmp_path, part):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match=rf"empty\.txt: no text for {part}"):
        prepared(tmp_path, "a b", data={part: str(tmp_path / "empty.txt"), "documents": "file"})


def test_metrics_by_hand():
    found = Totals(nats=20.0, documents=2, tokens=10, unknown=1, characters=40, bytes=50).metrics()
    assert found["perplexity"] == pytest.approx(math.exp(2.0))
    assert found["nats_per_char"] == 0.5
    assert found["bits_per_char"] == pytest.approx(0.5 / math.log(2))
    assert found["bits_per_byte"] == pytest.approx(0.4 / math.log(2))
    assert (found["n"], found["tokens"], found["unknown"]) == (2, 10, 0.1)


TEXTS = ["abc", "", "cab abc", "b", "abcabcab cab"]


def small_model(tmp_path, *, carry, directions=("forward",), documents="line"):
    """A model with random weights, its bundle parts, and a function for a document's ids."""
    from gatework.core.recipe import InputSection
    from gatework.text.running import RunningCodec

    codec = RunningCodec.fit(lambda: TEXTS, InputSection(unit="char", min_count=1, lowercase=False, fold_width=False))
    architecture = language_architecture(vocabulary=codec.vocabulary, language={"directions": directions})
    weights = language_weights(architecture)
    network = language_model_of(architecture, weights)
    bundle = SimpleNamespace(architecture=architecture)
    settings = Settings(documents=documents, carry=carry)
    return SimpleNamespace(network=network, codec=LmCodec(codec, settings), bundle=bundle), architecture, weights


def definition(codec, architecture, weights, direction, *, carry):
    """Nats of TEXTS in float64, document by document or in one, as the direction reads them."""
    own = [codec.encode(text).tolist() for text in TEXTS]
    if direction == "backward":
        own = [ids[::-1] for ids in (own[::-1] if carry else own)]
    own = [[*ids, 2] for ids in own]
    whole = [[one for ids in own for one in ids]] if carry else own
    return sum(float(nats(architecture, weights, ids, direction).sum()) for ids in whole)


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("directions", [("forward",), ("backward",), ("forward", "backward")])
def test_evaluation_is_exact(tmp_path, carry, directions, monkeypatch):
    from gatework.tasks.lm import evaluate

    monkeypatch.setattr(evaluate, "CHUNK", 5)
    monkeypatch.setattr(evaluate, "TOGETHER", 2)
    monkeypatch.setattr(language_model, "GROUP_TOKENS", 4)
    model, architecture, weights = small_model(tmp_path, carry=carry, directions=directions)
    found = LM.evaluate(model, [Piece(text, True, 1) for text in TEXTS])
    characters = sum(len(text) + 1 for text in TEXTS)
    for direction in directions:
        want = definition(model.codec.text, architecture, weights, direction, carry=carry)
        have = found if direction == directions[0] else found[direction]
        assert have["nats_per_char"] * characters == pytest.approx(want, rel=1e-6)
        assert have["perplexity"] == pytest.approx(math.exp(want / characters), rel=1e-6)
    assert (found["n"], found["tokens"], found["characters"]) == (5, characters, characters)
    assert f"{found['perplexity']:.4f}" in LM.report(found)


def test_one_running_text_in_pieces_is_one_text(tmp_path):
    model, architecture, weights = small_model(tmp_path, carry=True, documents="file")
    text = "".join(TEXTS)
    found = LM.evaluate(model, [Piece(text[:7], False, 1), Piece(text[7:], False, 1)])
    want = float(nats(architecture, weights, model.codec.text.encode(text), "forward").sum())
    assert found["nats_per_char"] * len(text) == pytest.approx(want, rel=1e-6)
    assert (found["n"], found["tokens"]) == (1, len(text))
    with pytest.raises(DataError, match="no text"):
        LM.evaluate(model, [], source="empty.txt")


def test_a_file_of_documents_with_their_nats(tmp_path):
    model, *_ = small_model(tmp_path, carry=False)
    pieces = [Piece(text, True, line) for line, text in enumerate(TEXTS, start=1)]
    found = LM.evaluate(model, pieces, predictions=tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    assert sum(row["nats"] for row in rows) == pytest.approx(found["nats_per_char"] * found["characters"])
    assert rows[3]["perplexity"] == pytest.approx(math.exp(rows[3]["nats"] / 2))


@pytest.mark.parametrize("carry", [True, False])
def test_intervals_come_from_blocks_of_the_text(tmp_path, carry, monkeypatch):
    from gatework.tasks.lm import evaluate

    monkeypatch.setattr(evaluate, "BLOCK", 8)
    model, *_ = small_model(tmp_path, carry=carry)
    pieces = [Piece(text, True, 1) for text in TEXTS]
    assert "interval" not in LM.evaluate(model, pieces)
    found = LM.evaluate(model, pieces * 8)
    low, high = found["interval"]["perplexity"]
    assert 1.0 < low < found["perplexity"] < high
    assert found["interval"]["nats_per_char"] == pytest.approx([math.log(low), math.log(high)])
    assert f"interval {low:.4f} to {high:.4f}" in LM.report(found)
    assert LM.evaluate(model, pieces * 8, seed=1)["interval"] != found["interval"]
    assert "interval" not in LM.evaluate(model, pieces * 8, resamples=0)
    wider = LM.evaluate(model, pieces * 4)["interval"]["perplexity"]
    assert wider[1] - wider[0] > high - low


def test_blocks_are_means_of_what_was_drawn():
    from gatework.tasks.lm.evaluate import _Blocks

    nats = np.random.default_rng(1).gamma(2.0, 1.0, 4000)
    blocks = _Blocks(40)
    for part in np.split(nats, [3, 700, 701, 2500]):
        blocks.add(part)
    means = blocks.means(4000, 0)
    assert means.mean() == pytest.approx(nats.mean(), rel=0.01)
    assert means.std() == pytest.approx(nats.std() / math.sqrt(4000), rel=0.2)


def cached_by_definition(nats_T, h_TP, wanted, size, weight, flatness):
    """Grave et al.'s equations, place by place, in float64."""
    h_TP, found = h_TP.astype(np.float64), []
    for t, token in enumerate(wanted):
        seen = range(max(0, t - size), t)
        p = math.exp(-float(nats_T[t]))
        if seen:
            mass = np.array([math.exp(flatness * float(h_TP[t] @ h_TP[i])) for i in seen])
            share = mass[[wanted[i] == token for i in seen]].sum() / mass.sum()
            p = (1 - weight) * p + weight * share
        found.append(-math.log(p))
    return np.array(found)


@pytest.mark.parametrize("carry", [True, False])
def test_the_neural_cache_is_its_definition(tmp_path, carry, monkeypatch):
    from gatework.tasks.lm import cache, evaluate

    monkeypatch.setattr(evaluate, "CHUNK", 7)
    monkeypatch.setattr(cache, "BLOCK", 4)
    model, *_ = small_model(tmp_path, carry=carry)
    pieces = [Piece(text, True, 1) for text in TEXTS]
    options = {"cache": 5, "cache_weight": 0.3, "cache_flatness": 0.7}
    found = LM.evaluate(model, pieces, **options)
    ids = [[*model.codec.encode(text).tolist(), 2] for text in TEXTS]
    total = 0.0
    for own in [[one for text in ids for one in text]] if carry else ids:
        read = np.array([2, *own[:-1]])[:, None]
        y, _ = model.network.read(read, np.array([len(own)]), model.network.start().recurrent, "forward")
        plain, _ = model.network.nll(np.array(own))
        total += cached_by_definition(plain, y[:, 0], own, 5, 0.3, 0.7).sum()
    assert found["nats_per_char"] * found["characters"] == pytest.approx(total, rel=1e-5)
    assert found["perplexity"] != LM.evaluate(model, pieces)["perplexity"]
    for bad in ({"cache": -1}, {"cache": 5, "cache_weight": 1.0}, {"cache": 5, "cache_flatness": 0.0}):
        with pytest.raises(ConfigError, match="cache"):
            LM.evaluate(model, pieces, **bad)


def test_unknown_tokens_are_counted_and_said(tmp_path):
    model, *_ = small_model(tmp_path, carry=True)
    found = LM.evaluate(model, [Piece("abz?", True, 1)])
    assert found["unknown"] == 0.4
    assert "40.00% of the tokens are unknown" in LM.report(found)


def test_the_codec_of_a_bundle(tmp_path):
    model, architecture, _ = small_model(tmp_path, carry=True)
    entries, decode = model.codec.text.to_entries(), model.codec.settings.to_dict()
    config = {"decode": decode, "architecture": architecture.to_dict()}
    codec = open_codec(config, entries)
    np.testing.assert_array_equal(codec.encode("abc"), model.codec.encode("abc"))
    for bad in ({}, {**decode, "carry": 1}, {**decode, "documents": "page"}, {**decode, "more": 1}, []):
        with pytest.raises(BundleError, match="decode"):
            open_codec({**config, "decode": bad}, entries)
    with pytest.raises(BundleError, match="the network 99"):
        open_codec({**config, "architecture": {"vocabulary": 99}}, entries)
    with pytest.raises(DataError, match="reads strings"):
        codec.encode(["a"])
    with pytest.raises(ConfigError, match="generate"):
        codec.decode(None, [])


def test_files_are_read_as_in_training(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a b\n\nc\n")
    decode = {"documents": "line", "carry": True, "template": ""}
    assert [piece.text for piece in LM.read(path, {"decode": decode}, {})] == ["a b", "", "c"]
    assert [piece.text for piece in LM.read(path, {"decode": decode}, {"documents": "blank"})] == ["a b", "c"]
    rows = tmp_path / "a.tsv"
    rows.write_text("x\ty\n")
    decode = {"documents": "rows", "carry": False, "template": "{1}{0}"}
    assert [piece.text for piece in LM.read(rows, {"decode": decode}, {})] == ["yx"]
    assert [piece.text for piece in LM.read(rows, {"decode": decode}, {"documents": "line"})] == ["x\ty"]
    with pytest.raises(ConfigError, match=r"data\.label"):
        LM.read(path, {}, {"label": 0})
