"""The benchmark of translation compares like with like: PyTorch's loop writes what the bundle writes."""

import pytest

import gatework
from benchmarks import translation_speed


@pytest.fixture
def small(tmp_path, monkeypatch):
    for name, value in (("VOCABULARY", 40), ("EMBEDDING", 16), ("UNITS", 16), ("LOOKS", 8)):
        monkeypatch.setattr(translation_speed, name, value)
    translation_speed.random_model(tmp_path / "m.gw")
    return gatework.load(tmp_path / "m.gw"), translation_speed.random_sentences(9)


def test_the_loop_in_pytorch_writes_the_same(small):
    model, sentences = small
    want = [one.text for one in model.predict(sentences, beams=1, max_tokens=12)]
    found = translation_speed.torch_greedy(model, sentences, 12)()
    assert [model.codec.target.decode(ids) for ids in found] == want
    assert all(len(ids) == 12 for ids in found)


def test_the_transformer_answers_every_sentence(small, tmp_path):
    pytest.importorskip("ctranslate2")
    _, sentences = small
    answers = translation_speed.ctranslate2_greedy(tmp_path / "t", "int8", 1, 2, sentences)()
    assert len(answers) == len(sentences)
