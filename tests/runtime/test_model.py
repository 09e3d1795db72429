"""A model answers: types, order, threads, long texts, mistakes; and it starts light."""

import json
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bundles import LABELS, TEXTS, write_small
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.runtime import Model, load

MIXED = [*TEXTS, "", " ", "dull " * 100, "never seen", "a", "\n", "great\u2028film", "\x00", "film " * 9]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.gw"
    write_small(path, storage=request.param, input={"characters": "cnn"})
    return path


@pytest.fixture(scope="module")
def model(path):
    return load(path)


def test_one_text_gives_one_answer(model):
    answer = model.predict("a great film")
    assert answer.label in LABELS
    assert answer.label == max(answer.scores, key=answer.scores.get)
    assert sum(answer.scores.values()) == pytest.approx(1)
    assert json.loads(json.dumps(answer.to_dict()))["label"] == answer.label


def test_several_texts_give_a_list_in_their_order(model):
    for texts in (MIXED, tuple(MIXED), iter(MIXED)):
        answers = model.predict(texts)
        assert isinstance(answers, list)
        for text, answer in zip(MIXED, answers, strict=True):
            alone = model.predict(text)
            assert answer.label == alone.label
            assert answer.scores == pytest.approx(alone.scores, abs=1e-6)
    assert model.predict([]) == []
    assert model.logits([]).shape == (0, len(LABELS))


def test_texts_tell_answers_apart(model):
    assert np.ptp(model.logits(TEXTS), axis=0).min() > 0.01


def test_chunks_and_batches_do_not_show(model, monkeypatch):
    import gatework.runtime.model as runtime_model
    import gatework.runtime.network as runtime_network

    want = model.logits(MIXED)
    monkeypatch.setattr(runtime_model, "CHUNK", 3)
    monkeypatch.setattr(runtime_network, "MAX_BATCH", 2)
    np.testing.assert_allclose(model.logits(MIXED), want, rtol=0, atol=1e-6)
    assert len(model.predict_batch(MIXED)) == len(MIXED)


def test_empty_text_gets_the_shares_of_training(model):
    for text in ("", "  \t\n"):
        answer = model.predict(text)
        assert answer.empty
        assert answer.label == LABELS[0]
        assert list(answer.scores.values()) == pytest.approx([0.5, 0.3, 0.2])
    assert not model.predict("a").empty


def test_options_reach_the_decoder(model):
    assert len(model.predict("film", top_k=2).scores) == 2
    assert [len(one.scores) for one in model.predict_batch(["film", "a"], top_k=1)] == [1, 1]
    assert model.predict("film", threshold=1.0).uncertain is True
    assert model.predict("film", threshold=0.0).uncertain is False
    with pytest.raises(ConfigError, match="top_k"):
        model.predict("film", top_k=0)
    with pytest.raises(ConfigError, match="threshold"):
        model.predict_batch(["film"], threshold=2.0)


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["a", None], ["a", b"b"], [["a"]]])
def test_what_is_no_text(model, wrong):
    with pytest.raises(DataError, match="string") as caught:
        model.predict(wrong)
    assert "\n" not in str(caught.value)


def test_any_string_gets_an_answer(model):
    for text in ("\ud800", "a\udfffb", "\U0010ffff", "\0" * 50, "é" * 5000, "中文", "a" * 100_000, "<br/>", "İ" * 20):
        assert model.predict(text).label in LABELS


def test_many_threads_share_a_model(model):
    want = model.logits(MIXED)

    def ask(turn):
        rng = np.random.default_rng(turn)
        order = rng.permutation(len(MIXED))
        for index in order.tolist():
            encoded = [model.codec.encode(MIXED[index])]
            got = model.network(model.codec.collate(encoded))
            np.testing.assert_allclose(got[0], want[index], rtol=0, atol=1e-6)
        batch = model.logits([MIXED[index] for index in order.tolist()])
        np.testing.assert_allclose(batch, want[order], rtol=0, atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(24)))


def test_memory_of_the_network_does_not_grow_with_the_text(model, monkeypatch):
    import gatework.runtime.encoder as runtime_encoder

    monkeypatch.setattr(runtime_encoder, "GROUP_TOKENS", 256)

    def peak(words):
        batch = model.codec.collate([model.codec.encode("great film dull plot " * (words // 4))])
        tracemalloc.start()
        model.network(batch)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    short, long = peak(2_000), peak(64_000)
    assert long < 1.5 * short + 64 * 1024, "a text 32 times as long takes the same room, but for two numbers a window"


def test_tables_stay_in_the_file(path):
    """The large tables are views of the mapped file: no copy in this process, shared with others."""
    model = load(path)
    table = model.network._inputs.embedding.stored[0]
    assert not table.flags.writeable
    base = table
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview)
    assert table.dtype == (np.int8 if model.bundle.storage == "int8" else np.float32)


def test_info_tells_what_the_bundle_is(model, path):
    facts = model.info()
    json.dumps(facts)
    assert facts["task"] == "classify"
    assert facts["path"] == str(path)
    assert facts["bytes"] == path.stat().st_size
    assert facts["labels"] == list(LABELS)
    assert facts["storage"] == model.bundle.storage
    shapes = [slot.shape for name, slot in model.bundle.weights.slots.items() if not name.endswith(".scale")]
    assert facts["parameters"] == sum(int(np.prod(shape)) for shape in shapes)
    assert facts["architecture"]["encoder"]["cell"] == "lstm"
    assert "m.gw" in repr(model)


def test_evaluate_reads_a_file_or_examples(model, tmp_path):
    data = tmp_path / "data.tsv"
    lines = [f"{text}\t{LABELS[index % 3]}" for index, text in enumerate(TEXTS * 4)]
    data.write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    measured = model.evaluate(data)
    assert measured["n"] == len(lines)
    right = [answer.label == LABELS[index % 3] for index, answer in enumerate(model.predict(TEXTS * 4))]
    assert measured["accuracy"] == pytest.approx(np.mean(right))
    turned = tmp_path / "turned.tsv"
    turned.write_text("a\tb\tc\n" + "\n".join("\t".join([*reversed(line.split("\t")), "x"]) for line in lines) + "\n")
    assert model.evaluate(turned, ["data.label=a", "data.text=b"])["accuracy"] == measured["accuracy"]
    assert model.evaluate(turned, {"label": "a", "text": "b"})["accuracy"] == measured["accuracy"]
    from gatework.text import read_examples

    assert model.evaluate(read_examples(data))["accuracy"] == measured["accuracy"]
    with pytest.raises(DataError, match=r"none\.tsv"):
        model.evaluate(tmp_path / "none.tsv")
    with pytest.raises(ConfigError, match="--set train"):
        model.evaluate(data, ["train.epochs=3"])
    with pytest.raises(ConfigError, match=r"data\.lable"):
        model.evaluate(data, ["data.lable=a"])


def test_a_batch_of_another_model_is_refused(tmp_path, model):
    write_small(tmp_path / "words.gw")
    other = load(tmp_path / "words.gw")
    batch = other.codec.collate([other.codec.encode("a film")])
    with pytest.raises(BundleError, match="characters"):
        model.network(batch)
    with pytest.raises(BundleError, match="ids beyond"):
        other.network(batch._replace(tokens_WT=batch.tokens_WT + 10_000))


def test_the_file_may_be_replaced_while_it_is_open(tmp_path):
    path = tmp_path / "m.gw"
    write_small(path, seed=1)
    model = load(path)
    want = model.logits(TEXTS)
    write_small(path, seed=2)
    np.testing.assert_array_equal(model.logits(TEXTS), want)
    assert np.abs(load(path).logits(TEXTS) - want).max() > 0.01


COLD = """
import sys
import gatework.runtime
print(gatework.runtime.load(sys.argv[1]).predict("a great film").label)
heavy = {"torch", "pydantic", "rich", "tokenizers", "sklearn", "scipy", "typer", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""


def test_starts_without_anything_heavy(path):
    done = subprocess.run([sys.executable, "-c", COLD, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in LABELS


def test_models_are_made_from_bundles_too(path):
    from gatework.core.bundle import parse_bundle

    model = Model(parse_bundle(memoryview(path.read_bytes()), source="memory"))
    np.testing.assert_array_equal(model.logits(TEXTS), load(path).logits(TEXTS))


def test_a_smaller_precision_is_near_and_an_unknown_one_an_error(path, model):
    from gatework import kernels

    for precision in ("bfloat16", "int8"):
        got, want = load(path, precision=precision).logits(MIXED), model.logits(MIXED)
        assert np.abs(got - want).max() < 0.2 * max(1.0, np.abs(want).max())
        assert np.array_equal(got, want) == (kernels.level() == "numpy")
    with pytest.raises(ConfigError, match="float16"):
        load(path, precision="float16")
