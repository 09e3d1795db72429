"""Gates over a text: exactly what the encoder made of it, in every kind of model."""

import numpy as np
import pytest

import language_models
import seq2seqs
import taggers
from bundles import TEXTS, write_small
from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import InputSection
from gatework.runtime import load
from gatework.runtime.trace import trace
from gatework.text.running import RunningCodec


@pytest.fixture
def classifier(tmp_path):
    def make(**encoder):
        write_small(tmp_path / "c.gw", input={"ngrams": 2}, encoder=encoder)
        return load(tmp_path / "c.gw")

    return make


def joined(found, layer):
    """Outputs of a layer, both directions side by side."""
    return np.concatenate([one.values["h"] for one in found.layers if one.layer == layer], axis=1)


@pytest.mark.parametrize("cell", ["rnn", "gru", "gru-reset-before", "lstm", "lstm-peephole", "lstm-coupled"])
@pytest.mark.parametrize("shape", [{}, {"layers": 2}, {"bidirectional": False, "layers": 3, "residual": True}])
def test_the_top_layer_is_what_the_encoder_gives(classifier, cell, shape):
    model = classifier(cell=cell, **shape)
    text = "the plot of a great film"
    found = trace(model, text)
    batch = model.codec.collate([model.codec.encode(text)])
    y_TWP = model.network._encoder(model.network.vectors(batch), batch.lengths_W)
    top = max(one.layer for one in found.layers)
    ours = joined(found, top)
    if shape.get("residual"):
        ours = ours + joined(found, 1) + joined(found, 0)  # what the first layer reads is wider and is not added
    np.testing.assert_allclose(ours, y_TWP[:, 0], atol=2e-6)
    assert found.tokens == tuple(text.split())
    assert [text[start:end] for start, end in found.offsets] == list(found.tokens)


def test_the_gates_give_the_state(classifier):
    found = trace(classifier(cell="lstm"), "the plot of a great film")
    for one in found.layers:
        step = 1 if one.direction == "forward" else -1
        gates = {name: rows[::step] for name, rows in one.values.items()}
        c_TH = np.zeros_like(gates["c"])
        held = np.zeros(c_TH.shape[1])
        for t in range(len(c_TH)):
            held = gates["f"][t] * held + gates["i"][t] * gates["g"][t]
            c_TH[t] = held
        np.testing.assert_allclose(gates["c"], c_TH, atol=1e-6)
        np.testing.assert_allclose(gates["h"], gates["o"] * np.tanh(gates["c"]), atol=1e-6)


def test_a_long_text_is_followed_to_the_limit(classifier):
    model = classifier()
    found = trace(model, "a great film " * 9)
    assert len(found.tokens) == model.bundle.architecture.window == 8
    assert found.left_out == 27 - 8
    assert trace(model, "a great film " * 9, limit=3).tokens == ("a", "great", "film")


def test_a_tagger_is_followed_sentence_by_sentence(tmp_path):
    taggers.write_tagger(tmp_path / "t.gw", encoder={"layers": 2})
    model = load(tmp_path / "t.gw")
    text = "Mr Smith met Ann. New York is far."
    found, answer = trace(model, text), model.predict(text)
    assert found.tokens == tuple(token.text for token in answer.tokens)[: len(found.tokens)]
    assert found.offsets == tuple((token.start, token.end) for token in answer.tokens)[: len(found.tokens)]
    example = model.codec.encode(text)
    batch = model.codec.collate(example.encoded[:1])
    y_TWP = model.network._encoder(model.network.vectors(batch), batch.lengths_W)
    np.testing.assert_allclose(joined(found, 1)[: len(y_TWP)], y_TWP[:, 0], atol=2e-6)


@pytest.mark.parametrize("case", ["tied", "two layers", "residual from the start", "both directions", "gru"])
def test_a_language_model_has_read_the_end_before_the_text(tmp_path, case):
    changes = {name: value for name, value in language_models.CASES[case].items() if name != "vocabulary"}
    language_models.write_model(tmp_path / "l.gw", **changes)
    model = load(tmp_path / "l.gw")
    ids_T = model.codec.encode("the cat")
    found = trace(model, "the cat")
    for way in model.bundle.architecture.language.directions:
        read_T = ids_T if way == "forward" else ids_T[::-1]
        edge_T = np.concatenate([[model.codec.text.end], read_T])
        zeros = model.network.start(way).recurrent
        y_TBP, _ = model.network.read(edge_T[:, None], np.array([len(edge_T)]), zeros, way)
        own = [one for one in found.layers if one.direction == way]
        step = 1 if way == "forward" else -1
        ours = own[-1].values["h"][::step]
        if "residual" in case:
            ours = ours + model.network.vectors(read_T) + sum(one.values["h"][::step] for one in own[:-1])
        np.testing.assert_allclose(ours, y_TBP[1:, 0], atol=2e-6)


def test_a_source_is_followed_with_its_end(tmp_path):
    text = RunningCodec.fit(lambda: TEXTS, InputSection(unit="char", min_count=1))
    seq2seqs.write_model(tmp_path / "s.gw", text, case="everything")
    model = load(tmp_path / "s.gw")
    source = model.codec.encode("a film")
    found = trace(model, "a film")
    memory = model.network.model.encode([source.tokens])
    np.testing.assert_allclose(joined(found, 1), memory.m_NP, atol=2e-6)
    assert found.tokens == model.codec.source_tokens(source)


def test_a_picture_keeps_the_units_that_vary_most(classifier):
    found = trace(classifier(cell="lstm"), "the plot of a great film")
    one = found.to_dict(most_units=2)["layers"][0]
    spread = found.layers[0].values["h"].std(axis=0)
    assert one["units"] == sorted(np.argsort(-spread)[:2].tolist())
    assert set(one["values"]) == {"i", "f", "g", "o", "c", "h"}
    np.testing.assert_allclose(one["values"]["f"], found.layers[0].values["f"][:, one["units"]].T, atol=6e-4)


def test_mistakes(classifier):
    model = classifier()
    with pytest.raises(DataError, match="nothing to read"):
        trace(model, "   ")
    with pytest.raises(DataError, match="must be a string, got list"):
        trace(model, ["a"])
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        trace(model, "a", limit=0)
