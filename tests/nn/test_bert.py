"""The BERT that is trained is the one that answers, and its gradients are those of what it computes."""

from dataclasses import replace

import numpy as np
import pytest

from berts import write_folder
from gatework.core.bert_folder import BertFolder
from gatework.core.errors import BundleError
from gatework.runtime.bert import BertEncoder as Answering
from gatework.runtime.bert import mix_weights
from gatework.runtime.shapes import bert_shapes
from gatework.text.hugging_face import piece_cutter

torch = pytest.importorskip("torch")

from gatework.nn.bert import BertEncoder, BertMix  # noqa: E402
from gatework.nn.tensors import piece_tensors  # noqa: E402

SENTENCES = [["the", "actors", "was", "dull"], ["film"], ["great", "中文", "acting", ",", "actors", "a"] * 5]


def both(path, family, **changes):
    write_folder(path, family)
    folder = BertFolder(path)
    settings = replace(folder.architecture, **{"chosen": (0, 1, 2), **changes})
    weights = folder.weights(settings.layers)
    module = BertEncoder(settings)
    module.load(weights)
    cutter = piece_cutter(folder)
    batch = cutter.collate([cutter.encode(one) for one in SENTENCES])
    return settings, weights, module.eval(), batch


@pytest.mark.parametrize("family", ["bert", "electra", "distilbert", "roberta"])
@pytest.mark.parametrize("pieces", ["first", "mean"])
def test_training_and_answering_agree(tmp_path, family, pieces):
    settings, weights, module, batch = both(tmp_path, family, pieces=pieces)
    want = Answering.of(settings, weights, source="test").hidden(batch)
    with torch.no_grad():
        got = module(piece_tensors(batch)).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


def test_names_and_shapes_of_weights(tmp_path):
    settings, _, module, _ = both(tmp_path, "electra")
    assert {f"bert.{name}": tuple(weight.shape) for name, weight in module.weights()} == bert_shapes(settings)
    assert {id(weight) for _, weight in module.weights()} == {id(weight) for weight in module.parameters()}


def test_weights_of_another_shape(tmp_path):
    _, weights, module, _ = both(tmp_path, "bert")
    weights["bert.1.inner.weight"] = weights["bert.1.inner.weight"][:, 1:]
    with pytest.raises(BundleError, match=r"bert\.1\.inner\.weight has shape \(20, 11\), wanted \(20, 12\)"):
        module.load(weights)


def test_every_weight_that_was_read_has_a_gradient(tmp_path):
    _, _, module, batch = both(tmp_path, "electra")
    module.train()
    module(piece_tensors(batch)).square().sum().backward()
    for name, weight in module.weights():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().sum()) > 0, name


def test_dropout_is_for_training_alone(tmp_path):
    _, _, module, batch = both(tmp_path, "bert")
    tensors = piece_tensors(batch)
    with torch.no_grad():
        assert torch.equal(module(tensors), module(tensors))
        module.train()
        assert not torch.allclose(module(tensors), module(tensors))


def test_the_mix_is_what_the_runtime_makes_of_it():
    mix = BertMix(3)
    with torch.no_grad():
        mix.mix.copy_(torch.tensor([0.2, -1.0, 0.7]))
        mix.gamma.fill_(1.3)
        hidden = torch.randn(5, 3, 4)
        got = mix(hidden).numpy()
    weights = mix_weights(mix.mix.detach().numpy(), mix.gamma.detach().numpy())
    np.testing.assert_allclose(got, np.einsum("l,nlh->nh", weights, hidden.numpy()), rtol=0, atol=1e-6)
    assert torch.equal(mix(hidden.half()), mix(hidden.half().float()))
