"""The states of a character language model beside the token vectors, from the recipe to the answers of a bundle."""

import shutil
from itertools import islice

import numpy as np
import pytest

from gatework.core.bundle import read_bundle
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.core.states_bundle import StatesBundle
from gatework.core.windows import cut
from gatework.runtime import load
from gatework.runtime.states import StateEncoder
from gatework.tasks import TASKS
from language_models import language_model_of, log_p, write_model
from oracles import run

torch = pytest.importorskip("torch")

MODELS = {
    "both": {"language": {"directions": ("forward", "backward")}},
    "backward, two layers": {"language": {"directions": ("backward",)}, "encoder": {"layers": 2, "residual": True}},
}
ATOL = 2e-5


def recipe_of(folder, task="classify", language="both", **sections):
    """A small recipe on made-up data, with a random small language model in `folder`/chars.gw."""
    if not (folder / "chars.gw").exists():
        write_model(folder / "chars.gw", **MODELS[language])
    own, _ = TASKS[task].sample(folder)
    own = {name: {**values, **sections.pop(name, {})} for name, values in own.items()}
    small = {"language_model": str(folder / "chars.gw"), "language_model_projection": 5, "units": 6, "embedding": 4}
    own["model"] = {**small, **own.get("model", {}), **sections.pop("model", {})}
    recipe = Recipe.model_validate({"task": task, **own, **sections})
    return recipe.replace(train={"threads": 1, "epochs": 1}, input={"window": 8}).filled(TASKS[task].defaults)


def trained(folder, **options):
    from gatework.train import fit

    return fit(recipe_of(folder, **options), run_folder=folder / "run")


def exported(result, path, storage="fp32"):
    from gatework.export import export_bundle

    task = TASKS[result.prepared.recipe.task]
    export_bundle(path, result.prepared, result.weights, task.settle(result.prepared, result.outputs), {}, storage)
    return path


def exact(result, batch):
    """The batch as tensors, its states computed by the definition in float64 of the layers."""
    from gatework.nn import to_tensors

    path = result.prepared.recipe.model.language_model
    return to_tensors(batch)._replace(hidden_NLH=torch.from_numpy(states_of(path, batch.pieces)[:, None]))


def states_of(path, batch):
    """Forward state after a token's last character, backward state before its first, in float64, (N, H)."""
    bundle = StatesBundle(path)
    settings, weights = bundle.architecture(), bundle.weights()
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    rows = []
    for row, begin, end in zip(batch.row_N, batch.begin_N, batch.end_N, strict=True):
        ids = batch.ids_RP[row, : batch.lengths_R[row]]
        found = []
        for way in settings.directions:
            read = ids[:end] if way == "forward" else ids[begin:][::-1]
            x = w["states.embedding.weight"][read][:, None]
            for layer in range(settings.encoder.layers):
                prefix = f"states.{layer}.{way}."
                p = {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}
                zeros = {part: np.zeros((1, settings.encoder.units)) for part in ("h", "c")}
                y = run(settings.encoder.cell, x, np.array([len(read)]), p, zeros)[0]
                x = y + x if settings.encoder.residual and y.shape == x.shape else y
            found.append(x[-1, 0])
        rows.append(np.concatenate(found))
    return np.array(rows, dtype=np.float32)


def texts_of(result, count=5):
    return [*(one.text for one in islice(result.prepared.examples("dev"), count)), "", "中文 😀 great", "ok  ok\tok"]


@pytest.fixture(scope="module", params=MODELS)
def classifier(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    result = trained(folder, language=request.param)
    return result, exported(result, folder / "m.gw")


def test_a_classifier_answers_as_it_was_trained(classifier):
    from gatework.nn import Network

    result, path = classifier
    model, prepared = load(path), result.prepared
    network = Network(prepared.architecture).eval()
    network.load_weights({name: result.weights[name] for name, _ in network.named_weights()})
    batch = prepared.codec.collate([prepared.codec.encode(text) for text in texts_of(result)])
    with torch.no_grad():
        want = network(exact(result, batch)).total.numpy()
    np.testing.assert_allclose(model.network(batch), want, rtol=0, atol=ATOL)


def test_a_text_alone_is_as_in_a_batch(classifier):
    result, path = classifier
    model, texts = load(path), texts_of(result)
    for together, text in zip(model.predict(texts), texts, strict=True):
        alone = model.predict(text)
        assert alone.label == together.label
        assert alone.score == pytest.approx(together.score, abs=ATOL)


def test_the_whole_model_is_inside(classifier, tmp_path):
    result, path = classifier
    moved = shutil.copy(path, tmp_path / "moved.gw")
    names = set(StatesBundle(result.prepared.recipe.model.language_model).weights())
    assert names < set(read_bundle(moved).weights)
    assert load(moved).info()["data"]["files"]["language model"]["file"] == "chars.gw"
    assert load(moved).info()["architecture"]["states"]["inside"]


@pytest.mark.parametrize(("storage", "atol"), [("bf16", 0.05), ("int8", 0.1)])
def test_stored_in_fewer_bits(classifier, tmp_path, storage, atol):
    result, path = classifier
    small = exported(result, tmp_path / "s.gw", storage)
    assert small.stat().st_size < path.stat().st_size
    for want, got in zip(load(path).predict(texts_of(result)), load(small).predict(texts_of(result)), strict=True):
        assert got.score == pytest.approx(want.score, abs=atol)


def test_states_are_computed_once_and_from_the_weights_as_stored(tmp_path, monkeypatch):
    from gatework.train import hidden_layers

    result = trained(tmp_path, export={"weights": "int8"})
    prepared = result.prepared
    kept = tmp_path / "run" / "prepared" / "train.hidden.f16"
    lengths = prepared.train.lengths_N
    assert kept.stat().st_size == int(lengths.sum()) * 16 * 2
    weights = StatesBundle(tmp_path / "chars.gw").weights()
    whole = TASKS["classify"].prepare(prepared.recipe, tmp_path)
    batch = whole.codec.collate([whole.train.encoded(index) for index in range(5)])
    near, far = (
        StateEncoder.of(prepared.architecture.states, each).states(batch.pieces)
        for each in (hidden_layers.as_stored(weights, "int8"), weights)
    )
    found = np.concatenate([prepared.train.encoded(index).hidden[:, 0] for index in range(5)])
    np.testing.assert_allclose(found, near, rtol=0, atol=1e-3)
    assert np.abs(far - near).max() > 5e-3
    monkeypatch.setattr(hidden_layers.StateEncoder, "of", lambda *_: pytest.fail("computed again"))
    again = TASKS["classify"].prepare(prepared.recipe, tmp_path / "run" / "prepared")
    hidden_layers.attach_hidden_layers(again, lambda _: None)
    assert again.train.encoded(0).hidden.shape == (int(lengths[0]), 1, 16)


def test_a_run_goes_on_with_the_same_language_model_alone(tmp_path):
    from gatework.train import fit

    recipe = recipe_of(tmp_path)
    result = fit(recipe, run_folder=tmp_path / "run")
    again = fit(recipe, run_folder=tmp_path / "run", resume=True)
    for name, array in result.weights.items():
        np.testing.assert_array_equal(again.weights[name], array, err_msg=name)
    write_model(tmp_path / "chars.gw", scale=0.6, **MODELS["both"])
    with pytest.raises(DataError, match="changed since the run began"):
        fit(recipe, run_folder=tmp_path / "run", resume=True)


@pytest.fixture(scope="module")
def referring(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    result = trained(folder, task="tag", export={"language_model": "reference"})
    return result, exported(result, folder / "m.gw")


def test_a_bundle_may_refer_to_another(referring, tmp_path, monkeypatch):
    result, path = referring
    bundle = read_bundle(path)
    assert [name for name in bundle.weights if name.startswith("states.")] == [
        "states.projection.weight",
        "states.projection.bias",
    ]
    sentence = ["the", "Actors", "was", "dull"]
    want = load(path).predict([sentence])[0].to_dict()
    other = StatesBundle(result.prepared.recipe.model.language_model)
    wanted = other.sha256
    moved = tmp_path / "moved" / "m.gw"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    away = other.path.rename(other.path.with_name("away.gw"))
    try:
        with pytest.raises(
            BundleError, match=r"m\.gw: its language model .*chars\.gw is not to be had: .*no such file"
        ):
            load(moved)
        monkeypatch.setenv("GATEWORK_LANGUAGE_MODEL", str(away))
        assert load(moved).predict([sentence])[0].to_dict() == want
        monkeypatch.delenv("GATEWORK_LANGUAGE_MODEL")
        shutil.copy(away, moved.with_name("chars.gw"))
        assert load(moved).predict([sentence])[0].to_dict() == want
        write_model(moved.with_name("chars.gw"), scale=0.6, **MODELS["both"])
        found = StatesBundle(moved.with_name("chars.gw")).sha256
        with pytest.raises(BundleError, match=rf"SHA-256 is {found}, wanted is {wanted}\. Put it beside .* set"):
            load(moved)
    finally:
        away.rename(other.path)


def test_a_tagger_answers_as_it_was_trained(referring):
    """Emissions of sentences shorter and longer than the window."""
    from gatework.nn import Tagger

    result, path = referring
    model, prepared = load(path), result.prepared
    network = Tagger(prepared.architecture, constraints=prepared.constraints).eval()
    network.load_weights({name: result.weights[name] for name, _ in network.named_weights()})
    sentences = [["the", "Actors", "was", "dull"], ["film"], ["great", "中文", "😀", ",", "actors", "a"] * 4, []]
    encoded = [prepared.codec.encode_tokens(tokens) for tokens in sentences]
    encoded = [*encoded[:2], *(cut(encoded[2], start, start + 8) for start in (0, 5, 16)), encoded[3]]
    batch = prepared.codec.collate(encoded)
    with torch.no_grad():
        want_WTC = network(exact(result, batch))[0].numpy()
    got_TWC = model.network.emissions(batch)[0]
    live_WT = np.arange(batch.tokens_WT.shape[1]) < batch.lengths_W[:, None]
    np.testing.assert_allclose(got_TWC.swapaxes(0, 1)[live_WT], want_WTC[live_WT], rtol=0, atol=ATOL)


def test_a_sentence_alone_is_tagged_as_in_a_batch(referring):
    result, path = referring
    model = load(path)
    sentences = [list(one.tokens) for one in islice(result.prepared.examples("dev"), 4)]
    sentences.append([token for tokens in sentences for token in tokens])  # longer than the window
    for together, tokens in zip(model.predict(sentences), sentences, strict=True):
        alone = model.predict([tokens])[0]
        assert [token.tag for token in alone.tokens] == [token.tag for token in together.tokens]
        scores = [token.score for token in together.tokens]
        assert [token.score for token in alone.tokens] == pytest.approx(scores, abs=1e-4)


def test_states_are_those_of_the_language_model_itself(tmp_path):
    """The likelihood of the character after a token, from its forward state, is what the model says of the text."""
    codec, architecture, weights = write_model(tmp_path / "chars.gw", **MODELS["both"])
    prepared = TASKS["tag"].prepare(recipe_of(tmp_path, task="tag"), tmp_path)
    tokens = ["the", "cat", "sat"]
    batch = prepared.codec.collate([prepared.codec.encode_tokens(tokens)]).pieces
    states_NH = StateEncoder.of(prepared.architecture.states, StatesBundle(tmp_path / "chars.gw").weights()).states(
        batch
    )
    ids = codec.encode(" ".join(tokens))
    model = language_model_of(architecture, weights)
    got = model.head.log_p(states_NH[:, :8], "forward")
    want = log_p(architecture, weights, [codec.end, *ids])
    np.testing.assert_allclose(got[:, 1:], want[[3, 7, 11], 1:], rtol=0, atol=1e-4)
    back = log_p(architecture, weights, [codec.end, *ids[::-1]], "backward")
    got = model.head.log_p(states_NH[:, 8:], "backward")
    np.testing.assert_allclose(got[:, 1:], back[[11, 7, 3], 1:], rtol=0, atol=1e-4)


def test_states_may_join_as_they_are(tmp_path):
    result = trained(tmp_path, model={"language_model_projection": 0})
    assert result.prepared.architecture.encoder_inputs >= 4 + 16
    model = load(exported(result, tmp_path / "m.gw"))
    assert model.predict("great film").label in model.labels


def test_mistakes(tmp_path):
    task = TASKS["classify"]
    with pytest.raises(ConfigError, match=r"model\.bert and model\.language_model: a model reads one of them"):
        task.prepare(recipe_of(tmp_path, model={"bert": str(tmp_path)}), tmp_path)
    with pytest.raises(ConfigError, match=r"pretrain_epochs with model\.language_model"):
        task.prepare(recipe_of(tmp_path, train={"pretrain_epochs": 1}), tmp_path)
    with pytest.raises(DataError, match=r"nowhere\.gw: there is no such file"):
        task.prepare(recipe_of(tmp_path, model={"language_model": str(tmp_path / "nowhere.gw")}), tmp_path)
    write_model(tmp_path / "words.gw", unit="word")
    with pytest.raises(DataError, match=r"words\.gw: a model of word tokens\. Give one of characters"):
        task.prepare(recipe_of(tmp_path, model={"language_model": str(tmp_path / "words.gw")}), tmp_path)
    shutil.copy(exported(trained(tmp_path), tmp_path / "m.gw"), tmp_path / "no.gw")
    with pytest.raises(DataError, match=r"no\.gw: a model of the task classify\. Give one of the task lm"):
        task.prepare(recipe_of(tmp_path, model={"language_model": str(tmp_path / "no.gw")}), tmp_path)
    (tmp_path / "cut.gw").write_bytes((tmp_path / "chars.gw").read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cut\.gw"):
        task.prepare(recipe_of(tmp_path, model={"language_model": str(tmp_path / "cut.gw")}), tmp_path)
