"""The hidden layers of a BERT: against a float64 oracle, and on real weights against `transformers`."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from berts import CONFIGS, VOCABULARY, real_folder, write_folder
from gatework.core.bert_folder import BertFolder
from gatework.runtime import bert
from gatework.runtime.bert import BertEncoder, mix_weights
from gatework.text.hugging_face import piece_cutter
from oracles.bert import hidden_layers

SENTENCES = (
    ["the", "actors", "was", "dull", "."],
    ["film"],
    ["great", "中文", "acting", ",", "😀", "actors", "and", "a"],
    ["dull"],
    ["the", "plot", "of", "a", "great", "film", "too"],
)
ATOL = 2e-5
"""Two layers of sums over 20 numbers of size 1: about 1e-6 in float32; a wrong scale or place is off by 0.1."""


def opened(path, **changes):
    folder = BertFolder(path)
    own = folder.architecture
    settings = replace(own, **{"chosen": tuple(range(own.layers + 1)), **changes})
    encoder = BertEncoder.of(settings, folder.weights(settings.layers), source="test")
    return folder, piece_cutter(folder), encoder


def batch_of(cutter, sentences=SENTENCES):
    return cutter.collate([cutter.encode(one) for one in sentences])


@pytest.mark.parametrize("pieces", ["first", "mean"])
@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("bert", {}),
        ("bert", {"hidden_act": "gelu_new"}),
        ("bert", {"hidden_act": "relu", "layer_norm_eps": 1e-5}),
        ("bert", {"num_attention_heads": 1}),
        ("electra", {}),
        ("distilbert", {}),
        ("roberta", {}),
    ],
)
def test_against_the_oracle(tmp_path, family, config, pieces):
    weights = write_folder(tmp_path, family, **config)
    _, cutter, encoder = opened(tmp_path, pieces=pieces)
    batch = batch_of(cutter)
    rows = [hidden_layers(CONFIGS[family] | config, weights, batch.ids_RP[row, :length].tolist())
            for row, length in enumerate(batch.lengths_R)]  # fmt: skip
    got_NLH = encoder.hidden(batch)
    for token, (row, begin, end) in enumerate(zip(batch.row_N, batch.begin_N, batch.end_N, strict=True)):
        for layer in range(3):
            own = rows[row][layer]
            want = own[begin] if pieces == "first" else own[begin:end].mean(0)
            np.testing.assert_allclose(got_NLH[token, layer], want, rtol=0, atol=ATOL)


def test_a_sentence_alone_is_as_in_a_batch(tmp_path):
    write_folder(tmp_path)
    _, cutter, encoder = opened(tmp_path)
    together = encoder.hidden(batch_of(cutter))
    alone = np.concatenate([encoder.hidden(batch_of(cutter, [one])) for one in SENTENCES])
    np.testing.assert_allclose(together, alone, rtol=0, atol=ATOL)


def test_groups_of_rows_change_nothing(tmp_path, monkeypatch):
    write_folder(tmp_path)
    _, cutter, encoder = opened(tmp_path)
    batch = batch_of(cutter, [*SENTENCES, SENTENCES[0] * 20])
    whole = encoder.hidden(batch)
    monkeypatch.setattr(bert, "GROUP_PIECES", 7)
    np.testing.assert_allclose(encoder.hidden(batch), whole, rtol=0, atol=ATOL)


def test_the_mix(tmp_path):
    write_folder(tmp_path)
    _, cutter, encoder = opened(tmp_path, chosen=(0, 2))
    scores, gamma = np.array([0.3, -0.9], dtype=np.float32), np.array([1.7], dtype=np.float32)
    shares = [1.7 * math.exp(score) / (math.exp(0.3) + math.exp(-0.9)) for score in (0.3, -0.9)]
    batch = batch_of(cutter)
    hidden = encoder.hidden(batch).astype(np.float64)
    want = shares[0] * hidden[:, 0] + shares[1] * hidden[:, 1]
    np.testing.assert_allclose(encoder.mixed(batch, mix_weights(scores, gamma)), want, rtol=0, atol=ATOL)


def test_only_the_layers_that_are_asked_for(tmp_path):
    write_folder(tmp_path)
    _, cutter, every = opened(tmp_path)
    _, _, one = opened(tmp_path, layers=1, chosen=(1,))
    batch = batch_of(cutter)
    np.testing.assert_array_equal(one.hidden(batch)[:, 0], every.hidden(batch)[:, 1])


def test_gelu_everywhere():
    x = np.concatenate([np.linspace(-12, 12, 100_003), [0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4]]).astype(np.float32)
    want = np.array([0.5 * one * math.erfc(-one / math.sqrt(2)) for one in x.astype(np.float64)])
    got = x.copy()
    bert.ACTIVATIONS["gelu"](got)
    assert np.abs(got - want).max() < 1.5e-6
    small = np.abs(x) < 1
    assert np.abs(got - want)[small].max() < 2e-7


def test_the_real_small_bert_against_transformers():
    name = real_folder()
    transformers = pytest.importorskip("transformers", reason="the oracle of real weights is the package transformers")
    torch = pytest.importorskip("torch")
    folder, cutter, encoder = opened(name)
    sentences = [
        ["EU", "rejects", "German", "call", "to", "boycott", "British", "lamb", "."],
        ["Unbelievably", ",", "internationalisation", "中文", "😀", "café", "don't", "x\u200dy"],
        ["Peter", "Blackburn"] * 400,
    ]
    batch = batch_of(cutter, sentences)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model = transformers.AutoModel.from_pretrained(str(folder.path)).eval()
    mask = torch.arange(batch.ids_RP.shape[1]) < torch.from_numpy(batch.lengths_R)[:, None]
    with torch.no_grad():
        layers = model(
            input_ids=torch.from_numpy(batch.ids_RP), attention_mask=mask.long(), output_hidden_states=True
        ).hidden_states
    got_NLH = encoder.hidden(batch)
    for layer, want_RPH in enumerate(layers):
        np.testing.assert_allclose(got_NLH[:, layer], want_RPH.numpy()[batch.row_N, batch.begin_N], rtol=0, atol=1e-4)


def test_the_real_pieces_against_tokenizers():
    name = real_folder()
    tokenizers = pytest.importorskip("tokenizers", reason="the oracle of WordPiece is the package tokenizers")
    folder, cutter, _ = opened(name, layers=1, chosen=(1,))
    oracle = tokenizers.Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    oracle.no_truncation()
    oracle.no_padding()
    for sentence in ("EU rejects German call", "naïve café 中文 don't 3.14159 U.S.A. e-mail@x.com ﬁn 😀 (１)"):
        got = cutter.collate([cutter.encode(sentence.split())])
        assert got.ids_RP[0].tolist() == oracle.encode(sentence).ids
    assert len(VOCABULARY) < len(cutter.model.vocabulary) == 30522


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_families_as_transformers_saves_them(tmp_path, family):
    transformers = pytest.importorskip("transformers", reason="the oracle of folders is the package transformers")
    torch = pytest.importorskip("torch")
    write_folder(tmp_path, family)
    config = transformers.AutoConfig.for_model(**CONFIGS[family])
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    model.save_pretrained(tmp_path)
    _, cutter, encoder = opened(tmp_path)
    batch = batch_of(cutter)
    mask = torch.arange(batch.ids_RP.shape[1]) < torch.from_numpy(batch.lengths_R)[:, None]
    ids = torch.from_numpy(batch.ids_RP).masked_fill(~mask, config.pad_token_id)
    with torch.no_grad():
        layers = model.base_model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    got_NLH = encoder.hidden(batch)
    for layer, want_RPH in enumerate(layers):
        np.testing.assert_allclose(got_NLH[:, layer], want_RPH.numpy()[batch.row_N, batch.begin_N], rtol=0, atol=1e-4)
