"""How likely texts are: against the definition in float64, in chunks, in batches, and from a state on."""

import numpy as np
import pytest

from gatework.core.architecture import Architecture
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.runtime import language_model, next_token
from gatework.runtime.language_state import RECENT, LanguageState
from language_models import CASES, language_architecture, language_model_of, language_weights, nats, tensor_file

IDS = np.random.default_rng(3).integers(1, 17, 40)


def built(case="tied", **options):
    architecture = language_architecture(**CASES[case])
    weights = language_weights(architecture)
    return architecture, weights, language_model_of(architecture, weights, **options)


def ids_for(architecture, ids=IDS):
    return ids % (architecture.vocabulary - 1) + 1


@pytest.mark.parametrize("case", CASES)
def test_nats_are_those_of_the_definition(case):
    architecture, weights, model = built(case)
    ids = ids_for(architecture)
    for direction in architecture.language.directions:
        have, state = model.nll(ids, direction=direction)
        np.testing.assert_allclose(have, nats(architecture, weights, ids, direction), atol=2e-5)
        assert (state.position, state.last, state.direction) == (40, ids[-1], direction)


@pytest.mark.parametrize("case", CASES)
def test_all_tokens_but_padding_share_the_probability(case):
    architecture, _, model = built(case)
    way = architecture.language.directions[0]
    y_NP = np.random.default_rng(1).normal(0, 1, (6, architecture.encoder.outputs)).astype(np.float32)
    log_p = model.head.log_p(y_NP, way)
    assert np.all(log_p[:, 0] == -np.inf)
    np.testing.assert_allclose(np.exp(log_p.astype(np.float64)).sum(1), 1.0, atol=1e-5)
    for token in range(1, architecture.vocabulary):
        np.testing.assert_allclose(model.head.nats(y_NP, np.full(6, token), way), -log_p[:, token], atol=1e-5)


@pytest.mark.parametrize("case", ["two layers", "residual", "projection", "clusters"])
def test_a_text_in_pieces_has_the_same_nats(case, monkeypatch):
    _, _, model = built(case)
    whole, end = model.nll(IDS % 16 + 1)
    state, pieces = model.start(), []
    for piece in np.split(IDS % 16 + 1, [1, 1, 14, 39]):
        own, state = model.nll(piece, LanguageState.from_bytes(state.to_bytes()))
        pieces.append(own)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)
    assert state.to_bytes() == end.to_bytes()
    monkeypatch.setattr(language_model, "GROUP_TOKENS", 7)
    monkeypatch.setattr(next_token, "LOGITS", 3 * 17)
    chunked, state = model.nll(IDS % 16 + 1)
    np.testing.assert_allclose(chunked, whole, atol=1e-6)
    assert state.to_bytes() == end.to_bytes()


def test_several_texts_have_their_own_nats_in_their_order(monkeypatch):
    _, _, model = built("two layers")
    monkeypatch.setattr(language_model, "MAX_BATCH", 3)
    texts = [IDS[:n] % 16 + 1 for n in (3, 0, 17, 1, 17, 8)]
    together, states = model.nlls(texts)
    for text, have, state in zip(texts, together, states, strict=True):
        alone, end = model.nll(text)
        np.testing.assert_allclose(have, alone, atol=1e-6)
        assert state.to_bytes() == end.to_bytes()


def test_a_state_remembers_a_bounded_number_of_ids():
    _, _, model = built()
    ids = np.tile(IDS % 16 + 1, 60)
    _, state = model.nll(ids)
    assert state.position == len(ids)
    assert state.recent.tolist() == ids[-RECENT:].tolist()
    _, longer = model.nll(ids, state)
    assert len(longer.to_bytes()) == len(state.to_bytes())


@pytest.mark.parametrize("level", ["numpy", "portable"])
def test_levels_agree(level, monkeypatch):
    architecture, weights, model = built("two layers")
    want, _ = model.nll(IDS % 16 + 1)
    monkeypatch.setenv("GATEWORK_LEVEL", level)
    have, _ = language_model_of(architecture, weights).nll(IDS % 16 + 1)
    np.testing.assert_allclose(have, want, atol=1e-5)


@pytest.mark.parametrize("storage", ["bf16", "int8"])
def test_smaller_storage_is_near(storage):
    architecture = language_architecture()
    weights = language_weights(architecture, scale=0.4)
    want, _ = language_model_of(architecture, weights).nll(IDS % 16 + 1)
    have, _ = language_model_of(architecture, weights, storage=storage).nll(IDS % 16 + 1)
    assert 0 < np.abs(have - want).max() < 0.05


@pytest.mark.parametrize("ids", [[0], [17], [-1], [1.5], [[1, 2]]])
def test_ids_outside_the_vocabulary_are_a_mistake(ids):
    with pytest.raises(DataError, match=r"ids|Ids"):
        built()[2].nll(np.array(ids))


def test_a_state_of_another_model_is_a_mistake():
    state = built("two layers")[2].start()
    with pytest.raises(DataError, match="state"):
        built()[2].nll(IDS % 16 + 1, state)
    both = built("both directions")[2]
    with pytest.raises(DataError, match="state"):
        both.nll(IDS % 16 + 1, both.start("backward"), direction="forward")
    with pytest.raises(ConfigError, match="forward"):
        built()[2].nll(IDS % 16 + 1, direction="backward")


def test_bytes_of_states_are_checked():
    _, _, model = built()
    raw = model.nll(IDS % 16 + 1)[1].to_bytes()
    for at in range(len(raw)):
        for bad in (raw[:at], raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]):
            with pytest.raises(DataError):
                LanguageState.from_bytes(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"language": None},
        {"head": "per_sequence"},
        {"pooling": ["mean"]},
        {"outputs": 16},
        {"outputs": 2, "vocabulary": 2},
        {"ngram_rows": 3},
        {"also": [3]},
        {"decoder": "crf"},
        {"language": {"directions": []}},
        {"language": {"directions": ["forward", "forward"]}},
        {"language": {"directions": "forward"}},
        {"language": {"directions": ["backward", "forward"]}},
        {"language": {"directions": ["forward"], "tied": 1}},
        {"language": {"directions": ["forward"], "cutoffs": [17]}},
        {"language": {"directions": ["forward"], "cutoffs": [2]}},
        {"language": {"directions": ["forward"], "cutoffs": [9, 9]}},
        {"language": {"directions": ["forward"], "cutoffs": [4.0]}},
        {"language": {"directions": ["forward"], "width": 3}},
    ],
)
def test_an_architecture_that_does_not_fit_is_an_error(change):
    values = language_architecture().to_dict()
    assert Architecture.from_dict(values, source="x") == language_architecture()
    with pytest.raises(BundleError, match=r"^x"):
        Architecture.from_dict({**values, **change}, source="x")


def test_weights_that_do_not_fit_are_an_error():
    architecture = language_architecture(embedding=5)
    weights = language_weights(architecture)
    for bad in (
        {name: value for name, value in weights.items() if name != "head.forward.projection"},
        {**weights, "head.weight": weights["embedding.weight"]},
        {**weights, "head.bias": weights["head.bias"][1:]},
    ):
        with pytest.raises(BundleError, match=r"small\.gw"):
            language_model.LanguageModel(architecture, tensor_file(bad), source="small.gw")
