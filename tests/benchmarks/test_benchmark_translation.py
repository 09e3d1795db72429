"""The benchmark of translation compares like with like: PyTorch's loop writes what the bundle writes."""

import math

import pytest

import gatework
import seq2seqs
from benchmarks import translation_speed
from gatework.core.recipe import InputSection
from gatework.text.running import RunningCodec

torch_translator = pytest.importorskip("benchmarks.torch_translator")


@pytest.fixture
def small(tmp_path, monkeypatch):
    for name, value in (("VOCABULARY", 40), ("EMBEDDING", 16), ("UNITS", 16), ("LOOKS", 8)):
        monkeypatch.setattr(translation_speed, name, value)
    translation_speed.random_model(tmp_path / "m.gw")
    return gatework.load(tmp_path / "m.gw"), translation_speed.random_sentences(9)


def test_the_loop_in_pytorch_writes_the_same(small):
    model, sentences = small
    want = [one.text for one in model.predict(sentences, beams=1, max_tokens=12)]
    found = torch_translator.TorchTranslator(model).all(sentences, 12)
    assert [model.codec.target.decode(ids) for ids in found] == want
    assert all(len(ids) == 12 for ids in found)


@pytest.mark.parametrize("case", ["general", "additive", "two layers"])
def test_the_loop_in_pytorch_knows_other_networks(tmp_path, case):
    text = RunningCodec.fit(lambda: ["the cat sat on the mat"], InputSection(unit="char", min_count=1))
    seq2seqs.write_model(tmp_path / "m.gw", text, case=case)
    model = gatework.load(tmp_path / "m.gw")
    sentences = ["the cat", "sat on a mat", "t"]
    want = [one.text for one in model.predict(sentences, beams=1, max_tokens=9, replace_unknown=False)]
    translator = torch_translator.TorchTranslator(model)
    translator.bias[model.codec.target.unknown] = -math.inf  # never written where it may not be replaced
    found = translator.all(sentences, 9)
    assert [model.codec.target.decode(ids) for ids in found] == want


def test_the_loop_in_pytorch_says_what_it_does_not_know(tmp_path):
    text = RunningCodec.fit(lambda: ["the cat"], InputSection(unit="char", min_count=1))
    seq2seqs.write_model(tmp_path / "m.gw", text, case="coverage")
    with pytest.raises(ValueError, match="the loop here knows"):
        torch_translator.TorchTranslator(gatework.load(tmp_path / "m.gw"))


def test_the_transformer_answers_every_sentence(small, tmp_path):
    pytest.importorskip("ctranslate2")
    _, sentences = small
    translator = translation_speed.ctranslate2_random(tmp_path / "t", "int8", 1, 2, sentences)
    assert len(translator.all()) == len(sentences)
    assert len(translator.one(3)) == 1


def test_sentences_one_at_a_time_are_timed_after_a_few(small):
    asked = []
    runs = {"a": translation_speed.Contestant(lambda: None, asked.append)}
    taken, worst = translation_speed.alone(runs, 4)["a"]
    assert asked == [0, 1, 2, 3, 0, 1, 2, 3] * translation_speed.ROUNDS
    assert taken.calls == 4 * translation_speed.ROUNDS
    assert worst >= taken.median >= 0
