"""Running text in pieces is tagged as it is in the whole, in memory that does not grow."""

import tracemalloc
import zlib

import numpy as np
import pytest

from bundles import write_small
from gatework.core.errors import ConfigError, DataError
from gatework.runtime import load
from taggers import CLASSES, SENTENCES, SPANS, tag_codec, write_tagger

WINDOW = 32


@pytest.fixture(scope="module", params=[(SPANS,), (SPANS, CLASSES), (CLASSES,)], ids=["spans", "two layers", "classes"])
def models(request, tmp_path_factory):
    """The same tagger cutting running text into sentences, and not."""
    folder = tmp_path_factory.mktemp("stream")
    for cut in (True, False):
        codec = tag_codec(window=WINDOW, lexicon=True)
        write_tagger(folder / f"{cut}.gw", codec=codec, layers=request.param, decode={"cut": cut})
    return {cut: load(folder / f"{cut}.gw") for cut in (True, False)}


def words(count, seed=0):
    rng = np.random.default_rng(seed)
    known = sorted({word for sentence in SENTENCES for word in sentence} | {"unknown", "words", "\U0001f600", "é"})
    return " ".join(rng.choice(known, count))


def streamed(model, text, sizes, **options):
    """Answers to `text` fed in pieces of these sizes in turn."""
    answers, at, turn = [], 0, 0
    with model.stream(**options) as stream:
        while at < len(text):
            size = sizes[turn % len(sizes)]
            answers += stream.feed(text[at : at + size])
            at, turn = at + size, turn + 1
        return answers + stream.end()


def check(text, answers, whole):
    """The pieces together are the whole: tokens, offsets, tags, spans, layers; and scores that are near."""
    tokens = [token for answer in answers for token in answer.tokens]
    assert [(one.text, one.start, one.end, one.tag) for one in tokens] == [
        (one.text, one.start, one.end, one.tag) for one in whole.tokens
    ]
    assert all(text[one.start : one.end] == one.text for one in tokens)
    assert np.abs(np.array([a.score - b.score for a, b in zip(tokens, whole.tokens, strict=True)])).max() < 1e-3
    if whole.spans is not None:
        spans = [span for answer in answers for span in answer.spans]
        assert [(*one[:4], one.tokens) for one in spans] == [(*one[:4], one.tokens) for one in whole.spans]
        np.testing.assert_allclose([one.score for one in spans], [one.score for one in whole.spans], atol=1e-3)
    for name, tags in whole.layers.items():
        assert [tag for answer in answers for tag in answer.layers[name]] == list(tags)


@pytest.mark.parametrize("sizes", [[1], [7, 1, 30], [100_000]])
def test_sentences_come_as_they_end(models, sizes):
    model, text = models[True], " ".join(" ".join(sentence) for sentence in SENTENCES * 3)
    answers = streamed(model, text, sizes)
    check(text, answers, model.predict(text))
    assert len(answers) > 5


def test_a_sentence_is_answered_when_the_next_begins(models):
    with models[True].stream() as stream:
        assert stream.feed("Mr Smith met Ann Lee in New York ") == []
        assert stream.feed(".") == []
        [first] = stream.feed(" The pl")
        assert first.tokens[-1].text == "."
        [second] = stream.feed("ot of a film . ") + stream.end()
        assert second.tokens[0] == (second.tokens[0].text, 35, 38, *second.tokens[0][3:])
        assert second.tokens[0].text == "The"


@pytest.mark.parametrize("sizes", [[23], [1, 400, 3], [100_000]])
def test_a_sentence_without_an_end(models, sizes):
    """Far longer than a window: spans across the borders of windows and of answers are whole."""
    model, text = models[False], words(1500)
    answers = streamed(model, text, sizes)
    whole = model.predict(text)
    check(text, answers, whole)
    if max(sizes) < len(text):
        assert len(answers) > 10, "it is answered with a lag, not at the end"
    if whole.spans is not None:
        assert any(span.tokens[1] - span.tokens[0] > 2 for span in whole.spans)


def test_options_go_to_the_task(models):
    model, text = models[True], words(60)
    if model.codec.constraints[0] is None:
        pytest.skip("no spans")
    found = [span for answer in streamed(model, text, [9], threshold=0.5) for span in answer.spans]
    assert found == [span for span in found if span.score >= 0.5]
    assert len(found) < len(model.predict(text).spans)
    for odd in ({"top_k": 3}, {"allow": {0: "O"}}, {"beam": 3}):
        with pytest.raises(ConfigError):
            model.stream(**odd)


def test_mistakes(models, tmp_path):
    with models[True].stream() as stream:
        assert stream.feed("") == []
        assert stream.feed(" \n ") == []
        assert stream.end() == []
        with pytest.raises(DataError, match="it has ended"):
            stream.feed("more")
    with pytest.raises(DataError, match="it has ended"):
        stream.end()
    with models[True].stream() as stream, pytest.raises(DataError, match="feed takes a string, got list"):
        stream.feed(["tokens"])
    write_small(tmp_path / "c.gw")
    with pytest.raises(ConfigError, match="answers whole texts"):
        load(tmp_path / "c.gw").stream()


def test_memory_does_not_grow(models):
    model = models[False]
    text = words(8_000)

    def peak(rounds):
        tracemalloc.start()
        with model.stream() as stream:
            for _ in range(rounds):
                stream.feed(text + " ")
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1)
    assert peak(4) < 1.2 * peak(1)


def test_one_sentence_of_50_000_tokens(models):
    """The whole of it at once: what is kept beyond the answer is a few numbers a token, not the network's outputs."""
    model = models[False]
    tokens = words(50_000).split()
    part = model.codec.encode(tokens)
    tracemalloc.start()
    [[paths]] = model.network.outputs(model.codec, [part], {})
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert paths[0].tags_NT.shape == (1, 50_000)
    assert np.isfinite(paths[0].log_p_N).all()
    assert highest < 50_000 * 300


def test_a_stream_goes_on_from_its_bytes(models):
    for cut, model in models.items():
        text = words(300, seed=3)
        want = streamed(model, text, [50])
        stream, answers = model.stream(), []
        for at in range(0, len(text), 50):
            answers += stream.feed(text[at : at + 50])
            stream = model.state_of(stream.to_bytes())
        assert answers + stream.end() == want, cut


def test_bytes_that_are_no_stream_are_told(models, tmp_path):
    model = models[False]
    stream = model.stream()
    stream.feed(words(400))
    good = stream.to_bytes()
    assert b'"given": [[' in good
    for bad in (b"", b"x" * 40, good[:-1], good[:20] + b"x" + good[21:], b"GWTS\2" + good[5:]):
        with pytest.raises(DataError):
            model.state_of(bad)
    for old, new in ((b'"before"', b'"befour"'), (b'"looked": ', b'"looked": -'), (b"[[", b"[[70000,")):
        changed = good[:-4].replace(old, new, 1)
        with pytest.raises(DataError, match="state"):
            model.state_of(changed + zlib.crc32(changed).to_bytes(4, "little"))
    write_small(tmp_path / "other.gw")
    with pytest.raises(ConfigError, match="keeps none"):
        load(tmp_path / "other.gw").state_of(good)
