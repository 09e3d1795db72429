"""The whole network: weights round trip, windows, regularisers, determinism, gradients."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gatework.cells import CELLS
from gatework.core.errors import BundleError, ConfigError
from gatework.nn import Loss, Network
from nn.cases import architecture, batch, full_architecture

LENGTHS = [3, 16, 7, 1, 9]


def network(made=None, **options) -> Network:
    torch.manual_seed(11)
    built = Network(made or full_architecture(), **options)
    if built.ngrams is not None:
        torch.nn.init.normal_(built.ngrams.weight)
    return built


@pytest.mark.parametrize("kind", ["cnn", "bilstm"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_round_trip(cell, kind):
    ours, other = network(full_architecture(kind, cell)), Network(full_architecture(kind, cell))
    weights = ours.to_weights()
    assert all(array.dtype == np.float32 for array in weights.values())
    assert sum(array.size for array in weights.values()) == sum(p.numel() for p in ours.parameters())
    other.load_weights(weights)
    given = batch(LENGTHS)
    with torch.no_grad():
        torch.testing.assert_close(other(given), ours(given), rtol=0, atol=0)


def test_weights_are_copies_under_the_names_of_the_architecture():
    ours = network()
    weights = ours.to_weights()
    want = {"embedding.weight", "local.weight", "ngrams.weight", "head.weight", "head.bias"}
    want |= {f"characters.{name}" for name in ("embedding.weight", "convolution.weight", "convolution.bias")}
    want |= {f"attention.{name}" for name in ("w_AP", "b_A", "v_A")}
    for layer in range(2):
        want |= {f"encoder.{layer}.{d}.{p}" for d in ("forward", "backward") for p in ("w_GI", "r_GH", "b_G")}
    assert set(weights) == want
    before = ours.head.bias.clone()
    weights["head.bias"] += 1
    torch.testing.assert_close(ours.head.bias, before)


def test_bad_weights():
    ours = network()
    weights = ours.to_weights()
    with pytest.raises(BundleError, match=r"'head\.bias' is missing"):
        ours.load_weights({name: w for name, w in weights.items() if name != "head.bias"})
    with pytest.raises(BundleError, match="'extra' is unknown"):
        ours.load_weights({**weights, "extra": np.zeros(1)})
    with pytest.raises(BundleError, match=r"head.bias has shape \(3,\), wanted \(4,\)"):
        ours.load_weights({**weights, "head.bias": np.zeros(3)})


def test_a_sequence_does_not_depend_on_its_batch():
    ours = network().eval()
    one, many = batch([16]), batch([16, 3, 1])
    with torch.no_grad():
        alone, among = ours(one).deep_BC, ours(_like_first(one, many)).deep_BC
    torch.testing.assert_close(among[0], alone[0], rtol=0, atol=1e-6)


def _like_first(one, many):
    """`many` with its first sequence's windows those of `one`."""
    parts = {name: getattr(many, name).clone() for name in ("tokens_WT", "local_WTM", "characters_WTK")}
    for name, part in parts.items():
        part[: len(one.tokens_WT)] = getattr(one, name)
    return many._replace(**parts)


@pytest.mark.parametrize(
    "option",
    [
        {"dropout": 0.5},
        {"embedding_dropout": 0.5},
        {"word_dropout": 0.5},
        {"feature_dropout": 0.5},
        {"variational_dropout": 0.5},
        {"weight_drop": 0.5},
        {"zoneout": 0.5},
    ],
    ids=str,
)
def test_each_regulariser_acts_in_training_alone(option):
    plain, ours, given = network(), network(**option), batch(LENGTHS)
    want = plain(given).deep_BC
    torch.manual_seed(1)
    once = ours(given).deep_BC
    other = ours(given).deep_BC
    torch.manual_seed(1)
    torch.testing.assert_close(ours(given).deep_BC, once, rtol=0, atol=0)
    assert not torch.allclose(once, want)
    assert not torch.allclose(once, other)
    torch.testing.assert_close(ours.eval()(given).deep_BC, want, rtol=0, atol=0)


def test_same_seed_same_bits_after_training():
    def trained() -> dict[str, np.ndarray]:
        ours = network(dropout=0.3, word_dropout=0.2, embedding_dropout=0.2, weight_drop=0.2, sparse_embedding=True)
        dense = torch.optim.AdamW(ours.dense_parameters(), lr=1e-2)
        sparse = torch.optim.SparseAdam(ours.sparse_parameters(), lr=1e-2)
        for step in range(3):
            ours.zero_grad()
            Loss()(ours(batch(LENGTHS, seed=step)), torch.tensor([0, 1, 2, 3, 0])).backward()
            dense.step()
            sparse.step()
        return ours.to_weights()

    first, second = trained(), trained()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize("sparse", [False, True])
def test_parameters_are_dense_or_sparse_as_said(sparse):
    ours = network(sparse_embedding=sparse)
    Loss()(ours(batch(LENGTHS)), torch.tensor([0, 1, 2, 3, 0])).backward()
    listed = ours.dense_parameters() + ours.sparse_parameters()
    assert sorted(map(id, listed)) == sorted(map(id, ours.parameters()))
    assert all(p.grad.is_sparse for p in ours.sparse_parameters())
    assert not any(p.grad.is_sparse for p in ours.dense_parameters())
    assert any(p is ours.inputs.embedding.weight for p in ours.sparse_parameters()) == sparse


def test_frozen_vectors_are_in_neither_list():
    vectors = np.ones((50, 6))
    ours = network(vectors_VE=vectors, freeze_vectors=True)
    listed = {id(p) for p in ours.dense_parameters() + ours.sparse_parameters()}
    assert id(ours.inputs.embedding.weight) not in listed
    assert (ours.to_weights()["embedding.weight"][1:] == 1).all()


def test_gradients():
    ours = network(architecture(pooling=("last", "mean", "max", "attention"), attention=3)).double()
    given = batch([3, 9, 1])
    weights = tuple(p for name, p in ours.named_weights() if name not in ("embedding.weight", "ngrams.weight"))
    assert torch.autograd.gradcheck(lambda *_: ours(given).total, weights)


def test_without_side_features():
    logits = network(architecture(ngram_rows=0))(batch(LENGTHS))
    assert logits.wide_BC is None
    assert logits.total is logits.deep_BC


def test_learns_a_batch_by_heart():
    ours, given, targets = network(architecture()), batch(LENGTHS), torch.tensor([0, 1, 2, 3, 0])
    dense = torch.optim.Adam(ours.dense_parameters(), lr=0.05)
    for _ in range(60):
        dense.zero_grad()
        Loss().of(ours(given).deep_BC, targets).backward()
        dense.step()
    assert ours(given).deep_BC.argmax(1).tolist() == targets.tolist()


def test_bad_options():
    with pytest.raises(ConfigError, match=r"input\.word_dropout must be in"):
        Network(architecture(), word_dropout=1.0)
    with pytest.raises(BundleError, match="composes characters, but the batch has none"):
        network()(batch(LENGTHS)._replace(characters_WTK=None))


def test_architecture_survives_its_own_dictionary():
    made = full_architecture("bilstm")
    assert type(made).from_dict(made.to_dict(), source="test") == made
    assert dataclasses.replace(made, attention=4) != made
