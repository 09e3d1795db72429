"""The benchmark of generation compares like with like: every float32 writer writes the same text."""

import pytest

from benchmarks import generation


def test_writers_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "WRITTEN", 40)
    path = generation.random_model(tmp_path, 16)
    weights = generation.Weights(path)
    text = generation.gatework(path, "float32")()
    assert len(text) == 40
    assert len(set(text)) > 2
    for kind in ("LSTM", "LSTMCell"):
        assert generation.torch_writer(weights, kind)() == text
    pytest.importorskip("onnxruntime")
    assert generation.onnxruntime(weights, "float32")() == text


def test_every_way_writes_what_it_is_counted_for(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "WRITTEN", 30)
    monkeypatch.setattr(generation, "PRECISIONS", ("float32",))
    for name, (count, write) in generation.ways(generation.random_model(tmp_path, 16)).items():
        assert len(write()) == count, name
