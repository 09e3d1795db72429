"""Our subword encoders give what Hugging Face `tokenizers` gives."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatework.core.errors import DataError, MissingExtraError
from gatework.text.normalise import Normaliser
from gatework.text.subwords import (
    LONGEST_LINE,
    LONGEST_RUN,
    Bpe,
    SubwordUnit,
    Unigram,
    subwords_from_json,
    subwords_from_tokenizer,
    train_subwords,
)

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers (extra train) is not installed")

CHINESE = "今天的天气真的很好我们去北京大学吧这部电影非常好看导演很棒"
ENGLISH = ["the", "quick", "brown", "fox", "don't", "isn't", "running", "runner", "run", "unbelievable", "believable"]
EMOJI = ["👍🏽", "👨‍👩‍👧", "🇨🇳", "❤️", "！", "...", "2024", "3.5"]


RUNS = SubwordUnit(Bpe([], []), Normaliser(lowercase=True, fold_width=True)).runs


def counted(texts):
    return Counter(chain.from_iterable(map(RUNS, texts)))


def mixed(rng, length):
    """A made-up line of Chinese, English, numbers and emoji."""
    parts = []
    for _ in range(length):
        start = int(rng.integers(len(CHINESE) - 4))
        parts.append(
            [CHINESE[start : start + 4], " " + str(rng.choice(ENGLISH)), str(rng.choice(EMOJI))][rng.integers(3)]
        )
    return "".join(parts)


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(7)
    return [mixed(rng, int(rng.integers(1, 20))) for _ in range(600)]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def pair(request, corpus):
    """A Hugging Face tokenizer and our unit with the same model."""
    from tokenizers import models, pre_tokenizers, trainers

    normalise = Normaliser(lowercase=True, fold_width=True)
    runs = SubwordUnit(Bpe([], []), normalise).runs
    common = {"vocab_size": 220, "special_tokens": ["<unk>"], "show_progress": False}
    if request.param == "bpe":
        peer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(**common)
    else:
        peer = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **common)
    peer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    peer.train_from_iterator([" ".join(runs(text)) for text in corpus], trainer)
    return peer, SubwordUnit(subwords_from_tokenizer(peer), normalise)


def assert_same(pair, text):
    peer, unit = pair
    want = peer.encode(" ".join(unit.runs(text))).tokens
    ids = [peer.token_to_id(piece) for piece in unit.surfaces(text)]
    got = [piece if known is not None else "<unk>" for piece, known in zip(unit.surfaces(text), ids, strict=True)]
    names = [peer.id_to_token(peer.token_to_id(token) if peer.token_to_id(token) is not None else 0) for token in want]
    assert got == names
    assert [piece in unit.model.pieces for piece in unit.surfaces(text)] == [known is not None for known in ids]


def test_same_pieces_on_mixed_text(pair, corpus):
    pieces = {piece for text in corpus for piece in pair[1].surfaces(text)}
    assert max(map(len, pieces)) >= 3  # something was merged
    rng = np.random.default_rng(8)
    for text in [*corpus, *(mixed(rng, 30) for _ in range(200))]:
        assert_same(pair, text)


@pytest.mark.parametrize(
    "text",
    [
        "unseen wörds, 未見過的字 and 🙃🙃 ☃",
        "THE Quick 今天 ＢＲＯＷＮ",
        "the" * 40 + " " + "今天" * 60,
        "ÿÿÿthe ÿ",
        "▁the ▁ ▁▁",
        "",
        " ",
    ],
)
def test_same_pieces_on_odd_text(pair, text):
    assert_same(pair, text)


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.sampled_from("thequickbrown 今天的气真好北京don'ß3👍🏽☃é\u0301▁"), max_size=70))
def test_same_pieces_on_any_text(pair, text):
    assert_same(pair, text)


def test_pieces_join_to_the_runs(pair, corpus):
    for text in corpus[:50]:
        assert "".join(pair[1].surfaces(text)) == "".join(pair[1].runs(text))
        assert max(map(len, pair[1].runs(text)), default=0) <= LONGEST_RUN


def test_words_after_space_are_marked():
    unit = SubwordUnit(Bpe([], []), Normaliser(lowercase=True, fold_width=True))
    assert unit.runs("Hi there,you 2 我们ok") == ["▁hi", "▁there", ",", "you", "▁2", "我们", "ok"]


def test_spans_of_pieces(pair):
    unit = pair[1]
    text = "The İstanbul fox 今天天气"
    for (start, end), piece in zip(unit.spans(text), unit.surfaces(text), strict=True):
        assert piece.removeprefix("▁") in Normaliser(lowercase=True, fold_width=True)(text[start:end])
    assert unit.spans(text)[-1][1] == len(text)


def test_model_survives_json(pair):
    import json

    model = pair[1].model
    again = subwords_from_json(json.loads(json.dumps(model.to_json())), source="m.gw")
    for run in ("▁running", "今天的天气", "☃☃x"):
        assert again.split(run) == model.split(run)
    assert again.pieces == model.pieces


def test_bpe_by_hand():
    """The example of Sennrich et al.: the pair learnt first goes first, not the leftmost."""
    model = Bpe(list("lower"), [("e", "r"), ("l", "o"), ("lo", "w")])
    assert model.split("lower") == ["low", "er"]
    assert model.split("rerer") == ["r", "er", "er"]
    assert model.split("lxo") == ["l", "x", "o"]
    assert model.split("") == []


def test_unigram_by_hand():
    model = Unigram(["a", "b", "ab", "abc"], [-1.0, -1.0, -1.5, -9.0])
    assert model.split("abab") == ["ab", "ab"]
    assert model.split("abc") == ["abc"]  # the unknown c would cost more
    assert model.split("xya") == ["xy", "a"]
    assert model.split("") == []


def test_training_draws_and_refuses(corpus):
    counts = counted(corpus)
    model = train_subwords("bpe", counts, pieces=120)
    assert 60 < len(model.pieces) <= 120
    again = [train_subwords("bpe", counts, pieces=120).to_json() for _ in range(3)]
    assert again[0] == again[1] == again[2] == model.to_json()
    with pytest.raises(DataError, match=r"No text to learn a 'bpe' model from"):
        train_subwords("bpe", counted(["", " "]), pieces=100)
    with pytest.raises(DataError, match="'unigram' model"):
        train_subwords("unigram", {}, pieces=100)


def test_counted_runs_train_what_the_texts_train(corpus):
    counts = counted(corpus)
    assert max(counts.values()) > LONGEST_LINE
    from tokenizers import models, pre_tokenizers, trainers

    peer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    peer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>"], show_progress=False)
    peer.train_from_iterator((" ".join(RUNS(text)) for text in corpus), trainer)
    assert train_subwords("bpe", counts, pieces=120).to_json() == subwords_from_tokenizer(peer).to_json()


def test_training_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gatework\[train\]'"):
        train_subwords("bpe", {"a": 1}, pieces=10)


def test_characters_added_to_a_unigram_model_are_the_same_in_every_run():
    words = {"▁": -1.0, "ab": -2.0, "abc": -9.0}
    characters = "abcdefghijklmnopqrstuvwxyz"
    runs = [
        Unigram([*words, *order], [*words.values(), *(-9.0004 + 1e-4 * place for place in range(len(order)))])
        for order in (characters, characters[::-1])
    ]
    assert runs[0].rounded().to_json() == runs[1].rounded().to_json()
    counts = {"".join(chr(0x4E00 + 7 * row + column) for column in range(3)): 1 + row % 3 for row in range(300)}
    found = [train_subwords("unigram", counts, pieces=1200).to_json() for _ in range(3)]
    assert found[0] == found[1] == found[2]
