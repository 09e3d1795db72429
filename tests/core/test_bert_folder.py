"""Folders of encoders: what is read of them, and what is said of those that do not fit."""

import json

import numpy as np
import pytest

from berts import CONFIGS, write_folder
from bundles import architecture, text_codec
from gatework.core.architecture import Architecture
from gatework.core.bert_folder import BertFolder, choose, resolve
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.tensors import save_tensors
from gatework.runtime.shapes import bert_shapes


@pytest.mark.parametrize("family", sorted(CONFIGS))
@pytest.mark.parametrize("prefix", ["", "own"])
def test_weights_have_the_shapes_of_the_architecture(tmp_path, family, prefix):
    write_folder(tmp_path, family, prefix=f"{family}." if prefix else "")
    folder = BertFolder(tmp_path)
    weights = folder.weights(folder.architecture.layers)
    assert {name: array.shape for name, array in weights.items()} == bert_shapes(folder.architecture)
    assert all(array.dtype == np.float32 for array in weights.values())


def test_old_names_of_norms(tmp_path):
    weights = write_folder(tmp_path)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in weights.items()
    }
    want = BertFolder(tmp_path).weights(2)
    save_tensors(tmp_path / "model.safetensors", renamed)
    got = BertFolder(tmp_path).weights(2)
    assert all(np.array_equal(got[name], want[name]) for name in want)


def test_half_precision_weights(tmp_path):
    weights = write_folder(tmp_path)
    save_tensors(tmp_path / "model.safetensors", {name: array.astype(np.float16) for name, array in weights.items()})
    found = BertFolder(tmp_path).weights(1)["bert.0.inner.weight"]
    assert np.array_equal(found, weights["encoder.layer.0.intermediate.dense.weight"].astype(np.float16))


def test_the_fingerprint_is_of_what_counts(tmp_path):
    write_folder(tmp_path / "one")
    write_folder(tmp_path / "two")
    write_folder(tmp_path / "three", seed=1)
    (tmp_path / "two" / "README.md").write_text("hello")
    one, two, three = (BertFolder(tmp_path / name).sha256 for name in ("one", "two", "three"))
    assert one == two != three


def _without(name):
    return lambda folder: (folder / name).unlink()


def _config(**changes):
    def change(folder):
        values = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))

    return change


def _pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _sharded(folder):
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")


def _tensor_gone(folder):
    weights = write_folder(folder)
    del weights["encoder.layer.1.output.dense.bias"]
    save_tensors(folder / "model.safetensors", weights)


def _nan(folder):
    weights = write_folder(folder)
    weights["encoder.layer.1.output.dense.bias"][3] = np.nan
    save_tensors(folder / "model.safetensors", weights)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("config.json"), r"config\.json: the file is missing\. Copy the whole folder"),
        (_without("model.safetensors"), r"model\.safetensors: the file is missing"),
        (_pickle_only, r"only pytorch_model\.bin, a pickle, which is never read\. Save the model as safetensors"),
        (_sharded, r"the weights are in several files"),
        (_config(model_type="gpt2"), r"model_type 'gpt2' is not supported\. Known: bert, distilbert, electra, roberta"),
        (_config(position_embedding_type="relative_key"), r"position_embedding_type is 'relative_key'; supported is"),
        (_config(is_decoder=True), r"is_decoder is True; supported is False"),
        (_config(hidden_act="silu"), r"hidden_act 'silu' is not supported\. Known: gelu,"),
        (_config(hidden_size=None), r"config\.json: hidden_size is missing"),
        (_config(hidden_size="12"), r"hidden_size must be a whole number from 1, got '12'"),
        (_config(num_attention_heads=5), r"12 units do not divide by 5 heads"),
        (_config(model_type="roberta", pad_token_id=14), r"1 positions"),
        (_config(vocab_size=99), r"word_embeddings\.weight has shape \(31, 12\), config\.json says \(99, 12\)"),
        (_config(num_hidden_layers=3), r"'encoder\.layer\.2\.attention\.self\.query\.weight' is missing"),
        (_tensor_gone, r"'encoder\.layer\.1\.output\.dense\.bias' is missing"),
        (_nan, r"encoder\.layer\.1\.output\.dense\.bias holds NaN or infinity"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not valid JSON"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), r"model\.safetensors: "),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path, damage, message):
    write_folder(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        _everything(tmp_path)


def _everything(path):
    folder = BertFolder(path)
    folder.weights(folder.architecture.layers)


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        resolve("nowhere")
    with pytest.raises(DataError, match="package:no_such: no such package is installed"):
        resolve("package:no_such")
    with pytest.raises(DataError, match=r"package:\.\./x: no such package"):
        resolve("package:../x")
    with pytest.raises(DataError, match="package:json: 0 model folders in the package"):
        resolve("package:json")


def test_a_folder_inside_a_package(tmp_path, monkeypatch):
    write_folder(tmp_path / "a_model_of_ours" / "data" / "model")
    (tmp_path / "a_model_of_ours" / "__init__.py").write_text("raise RuntimeError('must not run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("package:a_model_of_ours") == tmp_path / "a_model_of_ours" / "data" / "model"


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [((), (1, 2)), ((-1,), (2,)), ((0, 2), (0, 2)), ((2, 1), (1, 2)), ((-3, 1), (0, 1))],
)
def test_layers_that_are_read(tmp_path, layers, chosen):
    write_folder(tmp_path)
    found = choose(BertFolder(tmp_path).architecture, layers, pieces="mean", inside=False)
    assert (found.chosen, found.layers) == (chosen, chosen[-1])
    assert (found.pieces, found.inside) == ("mean", False)


@pytest.mark.parametrize("layers", [(3,), (-4,), (1, 1), (2, -1), (0,)])
def test_layers_that_are_not_there(tmp_path, layers):
    write_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.bert_layers .* layers 0 \(what the first reads\) to 2"):
        choose(BertFolder(tmp_path).architecture, layers, pieces="first", inside=True)


@pytest.mark.parametrize(
    "change",
    [
        {"chosen": [2, 1]},
        {"chosen": []},
        {"chosen": "12"},
        {"chosen": [1]},
        {"chosen": [-1, 2]},
        {"heads": 5},
        {"positions": 2},
        {"epsilon": 1},
        {"epsilon": 0.0},
        {"activation": "silu"},
        {"pieces": "last"},
        {"inside": 1},
        {"width": 0},
    ],
)
def test_hostile_architectures(tmp_path, change):
    write_folder(tmp_path)
    values = architecture(text_codec(), bert=BertFolder(tmp_path).architecture).to_dict()
    assert Architecture.from_dict(json.loads(json.dumps(values)), source="a").bert == BertFolder(tmp_path).architecture
    values["bert"] |= change
    with pytest.raises(BundleError, match="a: bert: "):
        Architecture.from_dict(values, source="a")
