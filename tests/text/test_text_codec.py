"""Texts to ids and back to places: every unit, any string, batches, bundle entries friendly and hostile."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatework.core.errors import BundleError, ConfigError
from gatework.core.recipe import InputSection
from gatework.text import EMPTY, UNKNOWN, TextCodec
from gatework.text.codec import UNITS
from gatework.text.encoded import Encoded
from gatework.text.units import blank_break_tags

TEXTS = [
    "The film was great, truly great!",
    "I don't like this film<br /><br />at all...",
    "今天的天气真的很好，我们去北京吧。",
    "这部电影2024年上映，导演是Ang Lee 👍🏽👍🏽",
    "Ｆｕｌｌ width １２３ and cafés, naïve İstanbul",
    "ok ok ok",
    "",
] * 3

SLOW_START = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)


def fit(unit="word", texts=TEXTS, **options):
    section = InputSection(**{"unit": unit, "min_count": 1, "ngram_min_count": 1, "subwords": 300, **options})
    return TextCodec.fit(lambda: iter(texts), section, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def codecs():
    return {unit: fit(unit, characters="cnn") for unit in UNITS if unit != "zh-word"}


@pytest.fixture(scope="module", params=UNITS)
def codec(request, codecs):
    if request.param == "zh-word":
        pytest.importorskip("rjieba", reason="rjieba (extra zh) is not installed")
        return fit("zh-word", characters="cnn")
    return codecs[request.param]


any_text = st.one_of(
    st.text(st.characters(codec=None)),  # surrogates too
    st.lists(st.sampled_from([*"aĞİß我。 \n<'’１\u0301\u200d\ufe0f👍🏽\x00\ud83d", "<br />", "don't", "Σ"])).map(
        "".join
    ),
)


class TestAnyString:
    @SLOW_START
    @given(text=any_text)
    def test_offsets_slice_the_callers_string(self, codec, text):
        tokens = codec.tokenize(text)
        blanked = blank_break_tags(text)
        at = 0
        for token in tokens:
            assert 0 <= token.start <= token.end <= len(text)
            assert token.start >= at or codec.subwords is not None
            at = token.end
            piece = blanked[token.start : token.end]
            if codec.subwords is None:
                assert codec.normalise(piece) == token.text
            else:
                # Where a fold changes a run's length a piece stands for all the characters it comes from; whether a
                # sigma is a final one depends on the rest of the run.
                want, got = (one.replace("ς", "σ") for one in (codec.normalise(piece), token.text))
                assert got.removeprefix("▁") in want or got == want

    @SLOW_START
    @given(text=any_text)
    def test_encode_never_fails_and_agrees_with_tokenize(self, codec, text):
        encoded, tokens = codec.encode(text), codec.tokenize(text)
        assert encoded.empty == (not tokens) == codec.is_empty(text)
        assert encoded.tokens.dtype == encoded.ngram_rows.dtype == np.int32
        if encoded.empty:
            assert encoded.tokens.tolist() == [EMPTY]
            assert len(encoded.ngram_rows) == 0
            return
        want = [codec.vocabulary.id(codec.normalise(token.text)) for token in tokens]
        assert encoded.tokens.tolist() == want
        assert encoded.characters.shape[0] == len(tokens)
        assert (np.diff(encoded.ngram_rows) > 0).all()
        assert encoded.local.shape == (len(tokens), codec.ngrams.n - 1)

    @SLOW_START
    @given(texts=st.lists(any_text, max_size=5), window=st.integers(1, 7))
    def test_windows_cover_all_tokens(self, codecs, texts, window):
        codec = codecs["word"]
        try:
            codec.window = window
            encoded = [codec.encode(text) for text in texts]
            batch = codec.collate(encoded)
        finally:
            codec.window = 256
        assert batch.sequences == len(texts)
        assert all(1 <= length <= window for length in batch.lengths_W)
        assert (np.diff(batch.sequence_W) >= 0).all()
        for number, one in enumerate(encoded):
            mine = np.flatnonzero(batch.sequence_W == number)
            lengths = batch.lengths_W[mine]
            assert np.ptp(lengths) <= 1
            got = np.concatenate([batch.tokens_WT[row, :length] for row, length in zip(mine, lengths, strict=True)])
            assert got.tolist() == one.tokens.tolist()
            local = np.concatenate([batch.local_WTM[row, :length] for row, length in zip(mine, lengths, strict=True)])
            assert local.tolist() == one.local.tolist()
            spelt = [batch.characters_WTK[row, :length] for row, length in zip(mine, lengths, strict=True)]
            spelt = np.concatenate(spelt)
            width = one.characters.shape[1]
            assert spelt[:, :width].tolist() == one.characters.tolist()
            assert not spelt[:, width:].any()
            start, end = batch.ngram_starts_B[number : number + 2]
            assert batch.ngram_rows_N[start:end].tolist() == one.ngram_rows.tolist()
        past = np.arange(batch.tokens_WT.shape[1]) >= batch.lengths_W[:, None]
        assert not batch.tokens_WT[past].any()
        assert not batch.local_WTM[past].any()
        assert all(part.dtype == np.int64 for part in batch if isinstance(part, np.ndarray))


def test_a_batch_of_one_is_like_any_other(codecs):
    codec = codecs["word"]
    one = codec.encode("The film was great")
    alone, among = codec.collate([one]), codec.collate([one, codec.encode("ok")])
    length = len(one.tokens)
    assert alone.tokens_WT.tolist() == among.tokens_WT[:1, :length].tolist()
    assert alone.lengths_W.tolist() == among.lengths_W[:1].tolist()
    assert alone.sequence_W.tolist() == [0]
    assert alone.ngram_rows_N.tolist() == among.ngram_rows_N[: among.ngram_starts_B[1]].tolist()
    assert alone.local_WTM.tolist() == among.local_WTM[:1, :length].tolist()
    assert all(part.dtype == np.int64 for part in alone if isinstance(part, np.ndarray))


def test_ids_fall_by_frequency():
    codec = fit(texts=["b b b a a c c d"], min_count=2)
    assert codec.vocabulary.words == ("b", "a", "c")
    assert codec.encode("a b c d e").tokens.tolist() == [4, 3, 5, UNKNOWN, UNKNOWN]
    assert len(codec.vocabulary) == 6
    assert fit(texts=["b b b a a c c d"], max_vocabulary=1).vocabulary.words == ("b",)


def test_case_width_and_break_tags_are_folded():
    codec = fit(texts=["great film"])
    assert codec.encode("GREAT<br />Ｆｉｌｍ").tokens.tolist() == codec.encode("great film").tokens.tolist()
    strict = fit(texts=["great film"], lowercase=False, fold_width=False)
    assert strict.encode("GREAT Ｆｉｌｍ").tokens.tolist() == [UNKNOWN, UNKNOWN]


def test_unknown_words_have_ngrams_too():
    codec = fit(texts=["rare word here"] * 2 + ["x"], min_count=3, ngrams=2)
    assert len(codec.vocabulary.words) == 0
    assert len(codec.encode("rare word here").ngram_rows) == 5
    assert len(fit(ngrams=0).encode("the film").ngram_rows) == 0
    assert fit(ngrams=0).ngrams is None
    assert codec.encode("rare word here").local.tolist()[0] == [0]
    assert codec.encode("rare word here").local[1:].all()


def test_the_limit_leaves_the_rest_out():
    codec = fit()
    encoded = codec.encode("the film was great", limit=2)
    assert len(encoded.tokens) == 2
    assert encoded.left_out == 2
    assert encoded.ngram_rows.tolist() == codec.encode("the film").ngram_rows.tolist()
    assert codec.encode("the film", limit=2).left_out == 0


def test_characters_of_words():
    codec = fit(texts=["ab ab ba"], characters="bilstm")
    encoded = codec.encode("ab b zab")
    a, b = codec.characters.ids["a"], codec.characters.ids["b"]
    assert encoded.characters.tolist() == [[a, b, 0], [b, 0, 0], [UNKNOWN, a, b]]
    assert fit(texts=["ab"]).encode("ab").characters is None
    assert codec.encode("x" * 500).characters.shape == (1, codec.characters.LONGEST_WORD)


def test_unlabelled_texts_count_for_words_alone():
    section = InputSection(unit="word", min_count=1, ngram_min_count=1)
    codec = TextCodec.fit(lambda: ["a b"], section, unlabelled=lambda: ["c d"])
    assert set(codec.vocabulary.words) == {"a", "b", "c", "d"}
    assert len(codec.ngrams) == 3


def test_auto_must_be_resolved():
    with pytest.raises(ConfigError, match="'auto' must be one of word"):
        fit("auto")


def test_garbled_long_words_stay_out_of_the_vocabulary():
    codec = fit(texts=["x" * 5000 + " fine"] * 3)
    assert codec.vocabulary.words == ("fine",)


def test_the_memory_of_pieces_is_bounded(monkeypatch):
    monkeypatch.setattr("gatework.text.known.MOST_CACHED", 50)
    codec = fit(texts=["a b c"], characters="cnn")
    for number in range(300):
        assert codec.encode(f"a w{number}x b").tokens.tolist() == [3, UNKNOWN, UNKNOWN, UNKNOWN, 4]
    assert len(codec._known) <= 50
    assert len(codec._spelt) <= 50


def test_ten_megabytes_of_text_in_bounded_memory(codecs):
    text = "The film was great, truly great! " * 300_000
    tracemalloc.start()
    began = time.perf_counter()
    encoded = codecs["word"].encode(text)
    seconds = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(encoded.tokens) == 8 * 300_000
    assert peak < 60 * len(text)
    assert seconds < 60
    batch = codecs["word"].collate([encoded._replace(characters=np.zeros((len(encoded.tokens), 1), np.int32))])
    assert int(batch.lengths_W.sum()) == len(encoded.tokens)


def test_without_spaces_too(codecs):
    for unit in ("word", "bpe", "unigram"):
        assert len(codecs[unit].encode("x" * 1_000_000).tokens) > 0


BAD = {
    "tokenizer/codec.json": [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000],
    "tokenizer/vocabulary.json": [b"", b"{}", b'["a","a"]', b"[1]", b'"abc"', b"[" * 100_000, b"[null]"],
    "tokenizer/characters.json": [b"{}", b'["a","a"]', b"[[]]"],
    "tokenizer/ngrams.u32": [b"abc", b"\x01\0\0\0\x01\0\0\0", b"\x02\0\0\0\x01\0\0\0"],
}


class TestEntries:
    def test_read_back_the_same(self, codec):
        entries = codec.to_entries()
        again = TextCodec.from_entries({name: memoryview(data) for name, data in entries.items()})
        assert again.to_entries() == entries
        for text in (*TEXTS, "unseen wörds 没见过 🙃", "a\ud800"):
            one, two = codec.encode(text), again.encode(text)
            assert one.tokens.tolist() == two.tokens.tolist()
            assert one.ngram_rows.tolist() == two.ngram_rows.tolist()
            assert one.characters.tolist() == two.characters.tolist()
            assert codec.tokenize(text) == again.tokenize(text)
        assert again.window == codec.window
        assert again.unit == codec.unit

    def test_fitting_twice_gives_the_same_bytes(self, codecs):
        for unit in ("word", "bpe", "char"):
            assert fit(unit, characters="cnn").to_entries() == codecs[unit].to_entries()

    HEAD = "tokenizer/codec.json"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": 2}, "format 2, this gatework reads 1"),
            ({"format": None}, "format None"),
            ({"unit": "words"}, "unit must be one of"),
            ({"unit": ["word"]}, "unit must be one of"),
            ({"lowercase": 1}, "lowercase must be true or false"),
            ({"window": 0}, "window must be a whole number"),
            ({"window": 1.5}, "window must be a whole number"),
            ({"window": True}, "window must be a whole number"),
            ({"ngrams": 10**30}, "ngrams must be a whole number"),
            ({"words": 1}, "not as many as it should"),
            ({"unit": "bpe"}, r"subwords\.json: the entry is missing"),
            ({"unit": "zh-word"}, "segmenter must be one of rjieba, jieba"),
            ({"unit": "zh-word", "segmenter": "os"}, "segmenter must be one of rjieba, jieba"),
        ],
    )
    def test_a_changed_head_is_refused(self, codecs, change, message):
        entries = codecs["word"].to_entries()
        head = json.loads(entries[self.HEAD]) | change
        with pytest.raises(BundleError, match=f"m.gw: .*{message}"):
            TextCodec.from_entries({**entries, self.HEAD: json.dumps(head).encode()}, source="m.gw")

    @pytest.mark.parametrize(("name", "data"), [(name, data) for name, bad in BAD.items() for data in bad])
    def test_a_hostile_entry_is_refused(self, codecs, name, data):
        with pytest.raises(BundleError, match=r"Export the model again|not as many as it should"):
            TextCodec.from_entries({**codecs["word"].to_entries(), name: data}, source="m.gw")

    @pytest.mark.parametrize(
        "model",
        [
            [],
            {},
            {"kind": "pickle"},
            {"kind": "bpe"},
            {"kind": "bpe", "alphabet": ["a"], "merges": [["a"]]},
            {"kind": "bpe", "alphabet": ["a"], "merges": [["a", 1]]},
            {"kind": "bpe", "alphabet": ["a", "a"], "merges": []},
            {"kind": "bpe", "alphabet": ["a", ""], "merges": []},
            {"kind": "unigram", "pieces": ["a"], "scores": []},
            {"kind": "unigram", "pieces": ["a"], "scores": ["1"]},
            {"kind": "unigram", "pieces": ["a"], "scores": [float("nan")]},
            {"kind": "unigram", "pieces": ["a"], "scores": [float("-inf")]},
        ],
    )
    def test_a_hostile_subword_model_is_refused(self, codecs, model):
        entries = codecs["bpe"].to_entries()
        with pytest.raises(BundleError, match="Export the model again"):
            TextCodec.from_entries({**entries, "tokenizer/subwords.json": json.dumps(model).encode()})

    @pytest.mark.parametrize("unit", ["word", "bpe"])
    def test_a_missing_entry_is_named(self, codecs, unit):
        entries = codecs[unit].to_entries()
        for name in set(entries) - {"tokenizer/characters.json"}:
            with pytest.raises(BundleError, match=name.replace(".", r"\.")):
                TextCodec.from_entries({key: data for key, data in entries.items() if key != name})

    @SLOW_START
    @given(data=st.data())
    def test_any_damage_is_a_bundle_error_or_a_codec_that_works(self, codecs, data):
        entries = codecs[data.draw(st.sampled_from(["word", "bpe", "unigram"]))].to_entries()
        name = data.draw(st.sampled_from(sorted(entries)))
        raw = bytearray(entries[name])
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
        try:
            damaged = TextCodec.from_entries({**entries, name: bytes(raw)})
        except BundleError:
            return
        assert isinstance(damaged.encode("The film 今天 👍🏽"), Encoded)


def test_many_threads_share_a_codec(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr("gatework.text.known.MOST_CACHED", 20)
    codec = fit()
    texts = [f"{text} w{number}" for number in range(40) for text in TEXTS]
    want = [codec.encode(text).tokens.tolist() for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert [one.tokens.tolist() for one in pool.map(codec.encode, texts)] == want
