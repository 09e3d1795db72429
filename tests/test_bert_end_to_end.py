"""A BERT beside the token vectors, from the recipe to the answers of a bundle."""

import json
import shutil
from itertools import islice

import numpy as np
import pytest

from berts import write_folder
from gatework.core.bert_folder import BertFolder
from gatework.core.bundle import read_bundle
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.runtime import load
from gatework.runtime.bert import BertEncoder
from gatework.tasks import TASKS

torch = pytest.importorskip("torch")

LAYERS = {"mix": (), "one": (-1,)}
ATOL = 2e-5


def recipe_of(folder, **sections):
    """A small recipe on the made-up data of classification, with a random small BERT in `folder`/bert."""
    if not (folder / "bert").exists():
        write_folder(folder / "bert")
    own, _ = TASKS["classify"].sample(folder)
    own = {name: {**values, **sections.pop(name, {})} for name, values in own.items()}
    own["model"] = {"bert": str(folder / "bert"), "units": 6, "embedding": 4, **own.get("model", {})}
    recipe = Recipe.model_validate({"task": "classify", **own, **sections})
    return recipe.replace(train={"threads": 1, "epochs": 1}).filled(TASKS["classify"].defaults)


def trained(folder, **sections):
    from gatework.train import fit

    return fit(recipe_of(folder, **sections), run_folder=folder / "run")


def exported(result, path, storage="fp32"):
    from gatework.export import export_bundle

    task = TASKS["classify"]
    export_bundle(path, result.prepared, result.weights, task.settle(result.prepared, result.outputs), {}, storage)
    return path


def texts_of(result, count=9):
    return [*(one.text for one in islice(result.prepared.examples("dev"), count)), "", "中文 😀 great"]


@pytest.fixture(scope="module", params=LAYERS)
def frozen(request, tmp_path_factory):
    return trained(tmp_path_factory.mktemp(request.param), model={"bert_layers": LAYERS[request.param]})


@pytest.mark.parametrize("pieces", ["first", "mean"])
def test_trained_bert_at_the_start_is_the_frozen_one(tmp_path, pieces):
    from gatework.nn import to_tensors
    from gatework.train.fitting import build_network

    task = TASKS["classify"]
    outputs = []
    for fine in (False, True):
        recipe = recipe_of(tmp_path, model={"bert_trained": fine, "bert_pieces": pieces}, export={"weights": "fp32"})
        prepared = task.prepare(recipe, tmp_path)
        network = build_network(prepared).eval()
        batch = prepared.codec.collate([prepared.dev.encoded(index) for index in range(8)])
        assert (batch.pieces is None, batch.hidden_NLH is None) == (not fine, fine)
        with torch.no_grad():
            outputs.append(network.inputs.bert(to_tensors(batch)).numpy())
    assert outputs[0].any()
    np.testing.assert_allclose(*outputs, rtol=0, atol=4e-3)  # the frozen layers are kept as float16, of size 4 at most


def test_training_and_answering_agree(frozen, tmp_path):
    from gatework.nn import Network, to_tensors

    model = load(exported(frozen, tmp_path / "m.gw"))
    prepared, bert = frozen.prepared, frozen.prepared.architecture.bert
    network = Network(prepared.architecture).eval()
    network.load_weights({name: frozen.weights[name] for name, _ in network.named_weights()})
    batch = prepared.codec.collate([prepared.codec.encode(text) for text in texts_of(frozen)])
    encoder = BertEncoder.of(bert, BertFolder(prepared.recipe.model.bert).weights(bert.layers), source="test")
    known = to_tensors(batch)._replace(hidden_NLH=torch.from_numpy(encoder.hidden(batch.pieces)))
    with torch.no_grad():
        want = network(known).total.numpy()
    np.testing.assert_allclose(model.network(batch), want, rtol=0, atol=ATOL)


def test_a_fine_tuned_bert_answers_as_it_was_trained(tmp_path):
    from gatework.nn import Network, to_tensors

    before = BertFolder(write_and_name(tmp_path)).weights(2)
    result = trained(tmp_path, model={"bert_trained": True}, train={"bert_learning_rate": 1e-3})
    moved = {name for name, array in before.items() if not np.array_equal(array, result.weights[name])}
    assert moved == set(before)
    model = load(exported(result, tmp_path / "m.gw"))
    network = Network(result.prepared.architecture, bert_trained=True).eval()
    network.load_weights(result.weights)
    batch = result.prepared.codec.collate([result.prepared.codec.encode(text) for text in texts_of(result)])
    with torch.no_grad():
        want = network(to_tensors(batch)).total.numpy()
    np.testing.assert_allclose(model.network(batch), want, rtol=0, atol=ATOL)


def write_and_name(folder):
    write_folder(folder / "bert")
    return folder / "bert"


def test_its_learning_rate_is_its_own(tmp_path):
    from gatework.train.fitting import build_network
    from gatework.train.optimisers import Optimisers

    recipe = recipe_of(tmp_path, model={"bert_trained": True})
    network = build_network(TASKS["classify"].prepare(recipe, tmp_path))
    named = dict(network.named_parameters())
    rates = {}
    for group in Optimisers(network, named, recipe.train)._optimisers[0].param_groups:
        rates |= {id(parameter): group["lr"] for parameter in group["params"]}
    for name, parameter in named.items():
        if id(parameter) in rates:
            fine = name.startswith("inputs.bert.encoder.")
            assert rates[id(parameter)] == (recipe.train.bert_learning_rate if fine else recipe.train.learning_rate)


def test_a_text_alone_is_as_in_a_batch(frozen, tmp_path):
    model = load(exported(frozen, tmp_path / "m.gw"))
    texts = texts_of(frozen)
    for together, text in zip(model.predict(texts), texts, strict=True):
        alone = model.predict(text)
        assert alone.label == together.label
        assert alone.score == pytest.approx(together.score, abs=ATOL)


@pytest.mark.parametrize(("storage", "atol"), [("bf16", 0.05), ("int8", 0.1)])
def test_stored_in_fewer_bits(frozen, tmp_path, storage, atol):
    whole = load(exported(frozen, tmp_path / "m.gw"))
    small = load(exported(frozen, tmp_path / "s.gw", storage))
    assert (tmp_path / "s.gw").stat().st_size < (tmp_path / "m.gw").stat().st_size
    for want, got in zip(whole.predict(texts_of(frozen)), small.predict(texts_of(frozen)), strict=True):
        assert got.score == pytest.approx(want.score, abs=atol)


def test_hidden_layers_are_computed_once(tmp_path, monkeypatch):
    from gatework.train import hidden_layers

    result = trained(tmp_path)
    kept = tmp_path / "run" / "prepared" / "train.hidden.f16"
    lengths = result.prepared.train.lengths_N
    assert kept.stat().st_size == int(lengths.sum()) * 2 * 12 * 2
    monkeypatch.setattr(hidden_layers.BertEncoder, "of", lambda *_, **__: pytest.fail("computed again"))
    task = TASKS["classify"]
    again = task.prepare(result.prepared.recipe, tmp_path / "run" / "prepared")
    hidden_layers.attach_hidden_layers(again, lambda _: None)
    assert again.train.encoded(0).hidden.shape == (int(lengths[0]), 2, 12)
    monkeypatch.undo()
    write_folder(tmp_path / "bert", seed=1)
    again = task.prepare(result.prepared.recipe, tmp_path / "run" / "prepared")
    before = kept.read_bytes()
    hidden_layers.attach_hidden_layers(again, lambda _: None)
    assert kept.read_bytes() != before


def test_hidden_layers_come_from_the_weights_as_stored(tmp_path):
    from gatework.train.hidden_layers import CHUNK_TOKENS, as_stored, attach_hidden_layers

    prepared = TASKS["classify"].prepare(recipe_of(tmp_path, export={"weights": "int8"}), tmp_path)
    assert prepared.recipe.export.weights == "int8"
    batch = prepared.codec.collate([prepared.train.encoded(index) for index in range(5)])
    bert = prepared.architecture.bert
    weights = BertFolder(tmp_path / "bert").weights(bert.layers)
    rounded = BertEncoder.of(bert, as_stored(weights, "int8"), source="test").hidden(batch.pieces)
    exact = BertEncoder.of(bert, weights, source="test").hidden(batch.pieces)
    attach_hidden_layers(prepared, lambda _: None)
    kept = np.concatenate([prepared.train.encoded(index).hidden for index in range(5)])
    np.testing.assert_allclose(kept, rounded, rtol=0, atol=4e-3)
    assert np.abs(exact - rounded).max() > 1e-2
    assert CHUNK_TOKENS > 0


@pytest.fixture(scope="module")
def referring(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    result = trained(folder, export={"bert": "reference"})
    return result, exported(result, folder / "m.gw")


def test_a_bundle_may_refer_to_the_folder(referring, frozen, tmp_path):
    result, path = referring
    bundle = read_bundle(path)
    assert not any(name.startswith("bert.0.") for name in bundle.weights)
    assert bundle.config["bert"]["sha256"] == BertFolder(result.prepared.recipe.model.bert).sha256
    want = [one.score for one in load(path).predict(texts_of(result))]
    inside = json.loads(json.dumps(bundle.config["architecture"]))
    assert inside["bert"]["inside"] is False
    assert len(want) == 11


def test_the_folder_is_found_beside_the_bundle_or_by_the_variable(referring, tmp_path, monkeypatch):
    result, path = referring
    want = [one.score for one in load(path).predict(texts_of(result))]
    folder = BertFolder(result.prepared.recipe.model.bert).path
    moved = tmp_path / "moved" / "m.gw"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    hidden = folder.with_name("elsewhere")
    folder.rename(hidden)
    try:
        with pytest.raises(
            BundleError, match=r"m\.gw: its BERT .* is not to be had: .*there is no such folder.*GATEWORK_BERT"
        ):
            load(moved)
        monkeypatch.setenv("GATEWORK_BERT", str(hidden))
        assert [one.score for one in load(moved).predict(texts_of(result))] == want
        monkeypatch.delenv("GATEWORK_BERT")
        shutil.copytree(hidden, moved.parent / folder.name)
        assert [one.score for one in load(moved).predict(texts_of(result))] == want
        write_folder(moved.parent / folder.name, seed=1)
        with pytest.raises(BundleError, match="is not the BERT of training"):
            load(moved)
    finally:
        hidden.rename(folder)


def test_mistakes(tmp_path):
    task = TASKS["classify"]
    with pytest.raises(ConfigError, match=r"export\.bert 'reference' with model\.bert_trained"):
        task.prepare(recipe_of(tmp_path, model={"bert_trained": True}, export={"bert": "reference"}), tmp_path)
    with pytest.raises(ConfigError, match=r"model\.bert_layers 7: the model has layers 0"):
        task.prepare(recipe_of(tmp_path, model={"bert_layers": (7,)}), tmp_path)
    (tmp_path / "bert" / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors: the file is missing"):
        task.prepare(recipe_of(tmp_path), tmp_path)


@pytest.fixture(scope="module", params=["frozen", "trained"])
def tagger(request, tmp_path_factory):
    """A tagger with a BERT, trained for a moment, and its bundle."""
    from gatework.export import export_bundle
    from gatework.train import fit

    folder, task = tmp_path_factory.mktemp(request.param), TASKS["tag"]
    write_folder(folder / "bert")
    own, _ = task.sample(folder)
    model = {"bert": str(folder / "bert"), "units": 6, "embedding": 4, "bert_trained": request.param == "trained"}
    own = {**own, "model": {**own.get("model", {}), **model}}
    recipe = Recipe.model_validate({"task": "tag", **own}).replace(
        train={"threads": 1, "epochs": 1}, input={"window": 8}
    )
    result = fit(recipe.filled(task.defaults), run_folder=folder / "run")
    decode = task.settle(result.prepared, result.outputs)
    export_bundle(folder / "m.gw", result.prepared, result.weights, decode, {}, "fp32")
    return result, load(folder / "m.gw")


def test_a_tagger_answers_as_it_was_trained(tagger):
    """Emissions of sentences shorter and longer than the window; a frozen BERT's hidden layers are given exactly."""
    from gatework.core.windows import cut
    from gatework.nn import Tagger, to_tensors

    result, model = tagger
    prepared, bert = result.prepared, result.prepared.architecture.bert
    fine = prepared.recipe.model.bert_trained
    network = Tagger(prepared.architecture, constraints=prepared.constraints, bert_trained=fine).eval()
    network.load_weights({name: result.weights[name] for name, _ in network.named_weights()})
    sentences = [["the", "Actors", "was", "dull"], ["film"], ["great", "中文", "😀", ",", "actors", "a"] * 4, []]
    encoded = [prepared.codec.encode_tokens(tokens) for tokens in sentences]
    encoded = [*encoded[:2], *(cut(encoded[2], start, start + 8) for start in (0, 5, 16)), encoded[3]]
    batch = prepared.codec.collate(encoded)
    tensors = to_tensors(batch)
    if not fine:
        encoder = BertEncoder.of(bert, result.weights, source="test")
        tensors = tensors._replace(hidden_NLH=torch.from_numpy(encoder.hidden(batch.pieces)))
    with torch.no_grad():
        want_WTC = network(tensors)[0].numpy()
    got_TWC = model.network.emissions(batch)[0]
    live_WT = np.arange(batch.tokens_WT.shape[1]) < batch.lengths_W[:, None]
    np.testing.assert_allclose(got_TWC.swapaxes(0, 1)[live_WT], want_WTC[live_WT], rtol=0, atol=ATOL)


def test_a_sentence_alone_is_tagged_as_in_a_batch(tagger):
    result, model = tagger
    sentences = [list(one.tokens) for one in islice(result.prepared.examples("dev"), 6)]
    sentences.append([token for tokens in sentences for token in tokens])  # longer than the window
    for together, tokens in zip(model.predict(sentences), sentences, strict=True):
        alone = model.predict([tokens])[0]
        assert [token.tag for token in alone.tokens] == [token.tag for token in together.tokens]
        scores = [token.score for token in together.tokens]
        assert [token.score for token in alone.tokens] == pytest.approx(scores, abs=1e-4)


def test_stored_hidden_layers_are_those_of_the_sentence(tagger):
    result, _ = tagger
    prepared = result.prepared
    one = prepared.train.encoded(0)
    assert (one.hidden is None) == prepared.recipe.model.bert_trained
    if one.hidden is not None:
        sentence = next(iter(prepared.examples("dev")))
        dev = prepared.dev.encoded(0).hidden
        bert = prepared.architecture.bert
        pieces = prepared.codec.encode_tokens(sentence.tokens).pieces
        encoder = BertEncoder.of(bert, BertFolder(prepared.recipe.model.bert).weights(bert.layers), source="test")
        np.testing.assert_allclose(dev, encoder.hidden(prepared.codec.pieces.collate([pieces])), rtol=0, atol=0.2)
