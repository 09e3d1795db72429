"""Embedding, character composition, n-grams, dropouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatework.cells import CELLS, scan
from gatework.core.architecture import Characters
from gatework.core.errors import ConfigError, DataError
from gatework.nn import CharacterComposition, Embedding, NgramBag
from gatework.nn.dropout import check_chance, dropout, keep_mask, locked_dropout, word_dropout


class TestEmbedding:
    def test_padding_is_zero_and_stays(self):
        torch.manual_seed(1)
        table = Embedding(6, 3)
        y = table(torch.tensor([[0, 2]]))
        assert not y[0, 0].any()
        y.sum().backward()
        assert not table.weight.grad[0].any()
        assert table.weight.grad[2].all()

    @pytest.mark.parametrize(
        ("vocabulary", "asked", "sparse"), [(9, None, False), (10_000, None, True), (9, True, True)]
    )
    def test_sparse_gradient_of_large_tables(self, vocabulary, asked, sparse):
        table = Embedding(vocabulary, 2, sparse=asked)
        table(torch.tensor([1, 0])).sum().backward()
        assert table.weight.grad.is_sparse == sparse
        assert table.sparse == sparse
        assert not table.weight.grad.to_dense()[0].any()

    def test_imports_rows_that_are_there(self):
        vectors = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
        vectors[2] = 0.0
        table = Embedding(4, 3, vectors_VE=vectors)
        np.testing.assert_array_equal(table.weight[[1, 3]].detach(), vectors[[1, 3]])
        assert not table.weight[0].any()
        assert table.weight[2].any()
        assert table.weight.requires_grad

    def test_frozen(self):
        assert not Embedding(4, 3, vectors_VE=np.ones((4, 3)), freeze=True).weight.requires_grad

    def test_bad_vectors(self):
        with pytest.raises(DataError, match=r"shape \(4, 2\), the embedding \(4, 3\)"):
            Embedding(4, 3, vectors_VE=np.ones((4, 2)))
        vectors = np.ones((4, 3))
        vectors[3, 1] = np.nan
        with pytest.raises(DataError, match="NaN or infinity in the row of token 3"):
            Embedding(4, 3, vectors_VE=vectors)


class TestCharacters:
    WORDS = ((4, 2, 7, 0, 0), (0, 0, 0, 0, 0), (1, 3, 5, 6, 2), (9, 0, 0, 0, 0))

    def composed(self, kind: str, width: int = 3):
        torch.manual_seed(3)
        module = CharacterComposition(Characters(kind=kind, vocabulary=10, embedding=4, units=5, width=width)).double()
        return module, module(torch.tensor(self.WORDS)[None])[0].detach()

    @pytest.mark.parametrize("width", [1, 2, 3, 4, 7])
    def test_cnn_is_its_equation(self, width):
        module, got = self.composed("cnn", width)
        weights = {name: weight.detach().numpy() for name, weight in module.weights()}
        for word, vector in zip(self.WORDS, got, strict=True):
            x = weights["embedding.weight"][[c for c in word if c]]
            if not len(x):
                assert not vector.any()
                continue
            padded = np.concatenate([np.zeros(((width - 1) // 2, 4)), x, np.zeros((width // 2, 4))])
            filters = weights["convolution.weight"]
            seen = [(filters * padded[t : t + width].T).sum((1, 2)) for t in range(len(x))]
            want = np.tanh(np.max(seen, axis=0) + weights["convolution.bias"])
            np.testing.assert_allclose(vector, want, rtol=0, atol=1e-12)

    def test_bilstm_is_the_last_output_of_each_direction(self):
        module, got = self.composed("bilstm")
        weights = {name: weight.detach().numpy() for name, weight in module.weights()}
        for word, vector in zip(self.WORDS, got, strict=True):
            x = weights["embedding.weight"][[c for c in word if c]][:, None]
            if not len(x):
                assert not vector.any()
                continue
            ends = []
            for direction in ("forward", "backward"):
                params = {name: weights[f"{direction}.{name}"] for name in ("w_GI", "r_GH", "b_G")}
                _, state = scan(CELLS["lstm"], np, x, np.array([len(x)]), None, params, reverse=direction == "backward")
                ends.append(state.h_BH[0])
            np.testing.assert_allclose(vector, np.concatenate(ends), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("kind", ["cnn", "bilstm"])
    def test_every_weight_learns(self, kind):
        module, _ = self.composed(kind)
        module(torch.tensor(self.WORDS)[None]).square().sum().backward()
        assert all(weight.grad is not None and weight.grad.any() for _, weight in module.weights())
        assert {id(w) for _, w in module.weights()} == {id(w) for w in module.parameters()}

    @pytest.mark.parametrize("kind", ["cnn", "bilstm"])
    def test_gradients(self, kind):
        module, _ = self.composed(kind)
        words = torch.tensor(self.WORDS)[None]
        weights = tuple(w for w in module.parameters() if w is not module.embedding.weight)
        assert torch.autograd.gradcheck(lambda *_: module(words), weights)

    @pytest.mark.parametrize("kind", ["cnn", "bilstm"])
    def test_batch_without_any_character(self, kind):
        module, _ = self.composed(kind)
        assert not module(torch.zeros(2, 3, 4, dtype=torch.int64)).any()


class TestNgrams:
    def test_is_its_equation(self):
        torch.manual_seed(1)
        bag = NgramBag(9, 2)
        assert not bag.weight.any()
        with torch.no_grad():
            bag.weight.normal_()
        rows, starts = torch.tensor([3, 8, 1, 3]), torch.tensor([0, 3, 3, 4])
        got = bag(rows, starts)
        want = [bag.weight[[3, 8, 1]].sum(0) / 3**0.5, torch.zeros(2), bag.weight[3]]
        torch.testing.assert_close(got, torch.stack(want))
        got.sum().backward()
        assert bag.weight.grad.is_sparse
        assert set(bag.weight.grad.coalesce().indices()[0].tolist()) == {1, 3, 8}

    def test_no_ngrams_at_all(self):
        assert not NgramBag(9, 2)(torch.tensor([], dtype=torch.int64), torch.tensor([0, 0, 0])).any()


class TestDropout:
    @pytest.mark.parametrize("chance", [0.1, 0.5, 0.9])
    def test_share_and_mean(self, chance):
        torch.manual_seed(1)
        mask = keep_mask((400, 501), chance, torch.empty(0))
        deviation = (chance * (1 - chance) / mask.numel()) ** 0.5
        assert abs((mask == 0).float().mean().item() - chance) < 5 * deviation
        assert mask.max().item() == pytest.approx(1 / (1 - chance), rel=1e-4)
        assert mask.shape == (400, 501)

    def test_neighbours_are_independent(self):
        """Four masks come from one random number: they must not go together."""
        torch.manual_seed(1)
        kept = (keep_mask((100_000, 4), 0.5, torch.empty(0)) > 0).float()
        correlation = torch.corrcoef(kept.T) - torch.eye(4)
        assert correlation.abs().max() < 5 / 100_000**0.5

    @pytest.mark.parametrize("chance", [1e-9, 1 - 1e-9])
    def test_extreme_chances_stay_finite(self, chance):
        mask = keep_mask((1000, 100), chance, torch.empty(0))
        assert mask.isfinite().all()

    def test_keeps_dtype(self):
        assert dropout(torch.ones(3, dtype=torch.bfloat16), 0.5, True).dtype == torch.bfloat16

    def test_off(self):
        x = torch.randn(2, 3, 4)
        for kind in (dropout, locked_dropout):
            assert kind(x, 0.5, False) is x
            assert kind(x, 0.0, True) is x

    def test_locked_is_one_mask_a_sequence(self):
        torch.manual_seed(1)
        y = locked_dropout(torch.ones(3, 5, 40), 0.5, True)
        assert (y == y[:, :1]).all()
        assert not (y[0] == y[1]).all()

    def test_words_become_unknown_and_padding_stays(self):
        torch.manual_seed(1)
        tokens = torch.tensor([[5, 6, 7, 0]]).repeat(1000, 1)
        out = word_dropout(tokens, 0.25, True)
        assert not out[:, 3].any()
        assert (out[:, :3] == 1).float().mean().item() == pytest.approx(0.25, abs=0.04)
        assert ((out == tokens) | (out == 1)).all()
        assert word_dropout(tokens, 0.25, False) is tokens

    @pytest.mark.parametrize("chance", [-0.1, 1.0, float("nan")])
    def test_bad_chance(self, chance):
        with pytest.raises(ConfigError, match=r"model\.dropout must be in"):
            check_chance("model.dropout", chance)
