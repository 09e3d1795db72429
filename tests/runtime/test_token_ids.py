"""Rows of token ids instead of texts, for models that read nothing else of a token."""

import numpy as np
import pytest

import language_models
import seq2seqs
from bundles import TEXTS, write_small
from gatework.core.errors import DataError
from gatework.core.recipe import InputSection
from gatework.runtime import load
from gatework.tasks.seq2seq import Settings
from gatework.text.running import RunningCodec
from taggers import SENTENCES, tag_codec, write_tagger


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ids")
    write_small(folder / "plain.gw", input={"ngrams": 0})
    write_small(folder / "rich.gw", input={"ngrams": 2})
    write_tagger(folder / "tag.gw", codec=tag_codec(ngrams=1, affixes=0, shape=False, characters="none"))
    language_models.write_model(folder / "lm.gw")
    words = ["red", "green", "blue", "cat", "dog", "runs"]
    settings = Settings(most=20, usual=10)
    seq2seqs.write_model(folder / "words.gw", RunningCodec(unit="word", tokens=words), settings=settings)
    texts = ["red green blue cat dog runs " * 4] * 20
    pieces = RunningCodec.fit(lambda: texts, InputSection(unit="bpe", subwords=30))
    seq2seqs.write_model(folder / "pieces.gw", pieces)
    return {path.stem: load(path) for path in folder.glob("*.gw")}


def test_a_classifier_answers_ids_as_texts(models):
    model = models["plain"]
    assert model.reads_ids
    texts = [*TEXTS, ""]
    ids = [model.codec.encode(text).tokens for text in texts[:-1]]
    padded = [*[np.pad(one, (0, 3)) for one in ids], np.zeros(4, dtype=np.int64)]
    for got, want in zip(model.predict_batch(padded), model.predict_batch(texts), strict=True):
        assert (got.label, got.scores, got.empty) == (want.label, pytest.approx(want.scores), want.empty)


def test_a_tagger_tags_ids_as_tokens(models):
    model = models["tag"]
    assert model.reads_ids
    for sentence in SENTENCES:
        encoded = model.codec.encode(list(sentence)).encoded[0]
        [got] = model.predict_batch([encoded.tokens])
        assert got.tags == model.predict_batch([list(sentence)])[0].tags
        assert [token.text for token in got.tokens] == [model.codec.text.normalise(token) for token in sentence]
    assert model.predict_batch([np.zeros(2, dtype=np.int32)])[0].tokens == ()


def test_a_language_model_reads_on(models):
    model = models["lm"]
    whole = model.codec.encode("the cat sat")
    [first] = model.read([whole[:4]])
    [second] = model.read([np.pad(whole[4:], (0, 2))], [first.state])
    assert first.log_p + second.log_p == pytest.approx(model.score("the cat sat", end=False).log_p, rel=1e-6)
    assert (first.tokens, second.tokens, second.state.position) == (4, len(whole) - 4, len(whole))
    [again] = model.read(["the cat sat"], [first.state.from_bytes(model.read([""])[0].state.to_bytes())])
    assert again.log_p == pytest.approx(first.log_p + second.log_p, rel=1e-6)


@pytest.mark.parametrize("name", ["words", "pieces"])
def test_a_translator_answers_ids_as_texts(models, name):
    model = models[name]
    assert model.reads_ids
    texts = ["red cat runs", "blue zebra", ""]
    ids = [model.codec.source.encode(text) for text in texts]
    padded = [np.pad(one, (0, 2)) for one in ids]
    for got, want in zip(
        model.predict_batch(padded, seed=1, top_k=3), model.predict(texts, seed=1, top_k=3), strict=True
    ):
        assert (got.tokens, got.reason, got.left_out) == (want.tokens, want.reason, want.left_out)
        assert got.log_p == pytest.approx(want.log_p, rel=1e-6)
        assert len(got.source_tokens) == len(want.source_tokens)
    long = np.tile(ids[0], 30)
    assert model.predict_batch([long], split="always")[0].sentences == 1
    assert (
        model.predict_batch([long], beams=1)[0].left_out == model.predict(" ".join([texts[0]] * 30), beams=1).left_out
    )
    with pytest.raises(DataError, match="hold the end"):
        model.predict_batch([np.array([3, 2])])


@pytest.mark.parametrize(
    ("ids", "words"),
    [([[1, 2]], "a row"), ([0.5], "whole numbers"), ([-1], "span -1"), ([10**6], "span 1000000"), ([0, 3], "padding")],
)
def test_what_are_no_ids_is_told(models, ids, words):
    for name in ("plain", "lm", "words"):
        model = models[name]
        with pytest.raises(DataError, match=words):
            (model.read if name == "lm" else model.predict_batch)([np.array(ids)])


def test_models_that_read_more_say_so(models):
    assert not models["rich"].reads_ids
    with pytest.raises(DataError, match="more of its tokens"):
        models["rich"].predict_batch([np.array([3])])
