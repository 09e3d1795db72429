"""Training and answering are one model: the same weights give the same logits, to 1e-5, on ragged batches."""

from dataclasses import replace

import numpy as np
import pytest

from bundles import LABELS, architecture, text_codec
from gatework import kernels
from gatework.cells import CELLS
from gatework.core.architecture import Characters
from gatework.core.bundle import write_bundle
from gatework.export.storage import store
from gatework.runtime import load
from gatework.runtime.shapes import weight_shapes

torch = pytest.importorskip("torch")

ATOL = 1e-5
BATCHES = (
    [""],
    ["great"],
    ["a great film", "", "the plot of a dull film was great , great , great", "acting"],
    ["unheard of words", "dull " * 8, "dull " * 9, "the acting was great " * 30, ""],
)
"""Ragged: empty texts, one token, exactly a window, one more, many windows."""

CASES = {
    "no n-grams": ({"ngrams": 0}, {}),
    "n-grams without vectors": ({}, {"ngram_embedding": 0}),
    "one direction": ({}, {"encoder": {"bidirectional": False}}),
    "three layers": ({}, {"encoder": {"layers": 3}}),
    "residual": ({}, {"encoder": {"layers": 3, "residual": True}}),
    "residual from the first layer": ({}, {"encoder": {"units": 9, "bidirectional": False, "residual": True}}),
    "one long window": ({"window": 4096}, {}),
    "short windows, two layers": ({"window": 8}, {"encoder": {"layers": 2}}),
    "characters cnn": ({"characters": "cnn"}, {}),
    "characters cnn of even width": ({"characters": "cnn"}, {"characters": {"width": 4}}),
    "characters cnn wider than any word": ({"characters": "cnn"}, {"characters": {"width": 40}}),
    "characters bilstm": ({"characters": "bilstm"}, {"characters": {"kind": "bilstm"}}),
    "subwords": ({"unit": "bpe", "subwords": 40}, {}),
    **{
        f"pooling {'+'.join(kinds)}": ({}, {"pooling": kinds, "attention": 7 if "attention" in kinds else 0})
        for kinds in (("last",), ("mean",), ("max",), ("attention",), ("attention", "last", "max", "mean"))
    },
    "last of one direction": ({}, {"pooling": ("last",), "encoder": {"bidirectional": False}}),
    **{
        f"{name} {ways}": ({}, {"encoder": {"cell": name, "bidirectional": ways == 2, "projection": 4 * cell.projects}})
        for name, cell in CELLS.items()
        for ways in (1, 2)
    },
}


def built(input_options, changes):
    """A codec, an architecture and an nn network of a case, with weights large enough to be told apart."""
    from gatework.nn import Network

    codec = text_codec(**input_options)
    changes = dict(changes)
    characters = changes.pop("characters", {})
    shape_of = architecture(codec, **changes)
    if characters:
        shape_of = replace(shape_of, characters=replace(shape_of.characters, **characters))
    network = Network(shape_of)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
        for name, parameter in network.named_weights():
            if name in ("embedding.weight", "local.weight", "characters.embedding.weight"):
                parameter[0] = 0.0
    return codec, network.eval()


def exported(path, codec, network, storage="fp32"):
    stored = store(network.to_weights(), storage)
    labels = ('["' + '","'.join(LABELS) + '"]').encode()
    write_bundle(
        path,
        config={"task": "classify", "architecture": network.architecture.to_dict()},
        weights=stored.tensors,
        entries={**codec.to_entries(), "labels.json": labels},
        bfloat16=stored.bfloat16,
    )
    return load(path)


def network_logits(network, codec, texts):
    from gatework.nn import to_tensors

    with torch.no_grad():
        return network(to_tensors(codec.collate([codec.encode(text) for text in texts]))).total.numpy()


def check_alone(model, texts, want, atol=ATOL):
    """The short way of single texts, where there is one: twice, as the second time products are there already."""
    for _ in range(2):
        for text, row_C in zip(texts, want, strict=True):
            one = model.network.alone(model.codec.encode(text))
            if one is not None:
                np.testing.assert_allclose(one[0], row_C, rtol=0, atol=atol)


@pytest.mark.parametrize("case", ["three layers", "residual", "no n-grams", "gru 1", "lstm-layernorm 2"])
def test_single_texts_have_a_short_way(case, tmp_path):
    """Where the extension is there, and not for what it has no code for."""
    codec, network = built(*CASES[case])
    model = exported(tmp_path / "m.gw", codec, network)
    short = kernels.level() != "numpy"
    assert (model.network.alone(model.codec.encode("a great film")) is not None) == short
    assert model.network.alone(model.codec.encode("great " * 400)) is None
    strange = model.codec.encode("great")._replace(tokens=np.array([10**6], dtype=np.int32))
    assert model.network.alone(strange) is None
    for other in ("characters cnn", "pooling attention", "residual from the first layer"):
        codec, network = built(*CASES[other])
        assert exported(tmp_path / "o.gw", codec, network).network.alone(codec.encode("great")) is None


@pytest.mark.parametrize("case", list(CASES))
def test_logits_agree(case, tmp_path):
    codec, network = built(*CASES[case])
    model = exported(tmp_path / "m.gw", codec, network)
    spread = []
    for texts in BATCHES:
        want = network_logits(network, codec, texts)
        got = model.network(model.codec.collate([model.codec.encode(text) for text in texts]))
        np.testing.assert_allclose(got, want, rtol=0, atol=ATOL)
        np.testing.assert_allclose(model.logits(texts), want, rtol=0, atol=ATOL)
        check_alone(model, texts, want)
        spread.append(want)
    assert np.ptp(np.concatenate(spread), axis=0).min() > 0.05, "texts differ, so agreement means something"


def test_names_and_shapes_are_those_of_nn():
    for case in CASES.values():
        _, network = built(*case)
        named = {name: tuple(weight.shape) for name, weight in network.named_weights()}
        assert weight_shapes(network.architecture) == named


def test_a_group_of_windows_never_shows(tmp_path, monkeypatch):
    """However many windows run together, the answer is the same: pooling goes on across groups."""
    import gatework.runtime.encoder as runtime_encoder

    kinds = ("attention", "last", "max", "mean")
    codec, network = built({}, {"pooling": kinds, "attention": 7})
    model = exported(tmp_path / "m.gw", codec, network)
    texts = BATCHES[-1]
    want = network_logits(network, codec, texts)
    for tokens in (1, 8, 20, 100, 10_000):
        monkeypatch.setattr(runtime_encoder, "GROUP_TOKENS", tokens)
        np.testing.assert_allclose(model.logits(texts), want, rtol=0, atol=ATOL)


@pytest.mark.parametrize(("storage", "atol"), [("bf16", 0.15), ("int8", 0.15)])
def test_smaller_storage_is_near_and_exactly_what_is_stored(tmp_path, storage, atol):
    from gatework.nn import Network

    codec, network = built({"characters": "cnn"}, {"pooling": ("mean", "attention"), "attention": 7})
    model = exported(tmp_path / "m.gw", codec, network, storage)
    for texts in BATCHES:
        np.testing.assert_allclose(model.logits(texts), network_logits(network, codec, texts), rtol=0, atol=atol)
    from gatework.runtime.tables import dense

    rounded = Network(network.architecture).eval()
    rounded.load_weights({name: dense(model.bundle.weights, name) for name in network.to_weights()})
    for texts in BATCHES:
        np.testing.assert_allclose(model.logits(texts), network_logits(rounded, codec, texts), rtol=0, atol=ATOL)


@pytest.mark.parametrize("storage", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("name", list(CELLS))
def test_single_texts_of_stored_models(tmp_path, storage, name):
    """As training had the stored weights, whatever they are stored as; long texts too."""
    from gatework.nn import Network
    from gatework.runtime.tables import dense

    shape = {"cell": name, "units": 32, "projection": 16 * CELLS[name].projects, "layers": 2}
    codec, network = built({"window": 64}, {"encoder": shape})
    with torch.no_grad():  # larger weights of a plain RNN let rounding grow from step to step
        for parameter in network.parameters():
            parameter.mul_(0.3)
    model = exported(tmp_path / "m.gw", codec, network, storage)
    rounded = Network(network.architecture).eval()
    rounded.load_weights({key: dense(model.bundle.weights, key) for key in network.to_weights()})
    for texts in (*BATCHES[:3], ["the acting was great " * 15]):
        want = network_logits(rounded, codec, texts)
        check_alone(model, texts, want, ATOL * max(1.0, np.abs(want).max()))


def test_characters_of_the_cases_are_read():
    codec, network = built(*CASES["characters cnn"])
    assert isinstance(network.architecture.characters, Characters)
    assert codec.encode("film").characters.shape == (1, 4)
