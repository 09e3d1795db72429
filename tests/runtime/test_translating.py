"""Options of answers, constraints, prefixes, n-best, draws, unknown words, and scores of pairs."""

import numpy as np
import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import InputSection
from gatework.runtime.seq2seq import Seq2Seq
from gatework.runtime.translating import Options, Translator, pairs_of
from gatework.tasks.seq2seq import Seq2SeqCodec, Settings
from gatework.tasks.seq2seq.shortlist import Shortlist
from gatework.text.running import RunningCodec
from language_models import tensor_file
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights

WORDS = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "runs"])
CHARACTERS = RunningCodec(unit="char", tokens=list("abc de"))
SETTINGS = Settings(beams=3, max_ratio=1.0)
SOURCES = ["red cat", "", "blue blue dog runs far", "dog"]


def built(text=WORDS, case="general"):
    architecture = seq2seq_architecture(**CASES[case], vocabulary=text.vocabulary)
    model = Seq2Seq(architecture, tensor_file(seq2seq_weights(architecture)), source="small.gw")
    codec = Seq2SeqCodec(text, text, SETTINGS)
    return Translator(model, codec), codec


def ask(sources=SOURCES, text=WORDS, case="general", **options):
    return built(text, case)[0].answers(sources, options)


def test_every_source_is_answered_in_its_place():
    answers = ask()
    assert [one.source_tokens for one in answers][2] == ("blue", "blue", "dog", "runs", "far", "")
    assert answers[1].text == ""
    assert answers[1].reason == "empty"
    for source, together in zip(SOURCES, answers, strict=True):
        assert ask([source])[0].text == together.text
    for one in answers:
        assert one.text == " ".join(one.tokens)
        if one.reason != "empty":
            assert one.attention.shape == (len(one.tokens) + (one.reason == "end"), len(one.source_tokens))
            assert len(one.alignment) == len(one.tokens)


def test_the_best_ones_with_their_scores():
    for one in ask(["red cat", "dog"], count=6):
        scores = [(each.reason != "end", -each.score) for each in (one, *one.alternatives)]
        assert len(scores) == 6
        assert len({each.text for each in (one, *one.alternatives)}) == 6
        assert scores == sorted(scores)
        assert one.to_line().count("\t") == 11
        assert [each["text"] for each in one.to_dict()["alternatives"]] == [each.text for each in one.alternatives]
    with pytest.raises(ConfigError, match="count is 4, but 3 beams"):
        ask(count=4, beams=3)


@pytest.mark.parametrize("text", [WORDS, CHARACTERS])
def test_constraints_hold_for_every_text(text):
    words = ("green", "dog") if text is WORDS else ("a", "cd")
    pattern = "(red|blue| )*" if text is WORDS else "[ab]+ [cd]{2,}"
    sources = ["red cat", "blue dog runs"] if text is WORDS else ["ab", "c d e"]
    for one in ask(sources, text, constraint={"must": words}, max_ratio=4.0):
        assert all(f" {word} " in f" {one.text} " for word in words)
    for one in ask(sources, text, constraint={"must_not": words}):
        assert not any(f" {word} " in f" {one.text} " for word in words)
    from re import fullmatch

    for one in ask(sources, text, constraint=pattern, count=3):
        assert all(fullmatch(pattern, each.text) for each in (one, *one.alternatives))
    for one in ask(sources, text, constraint={"tokens": (4, 5)}, prefix=words[0]):
        assert one.text.startswith(words[0])
        assert 4 <= len(one.tokens) <= 5


def test_impossible_constraints_are_named():
    with pytest.raises(ConfigError, match=r"must.*must_not"):
        ask(constraint={"must": ("red",), "must_not": ("red",)})
    with pytest.raises(ConfigError, match="no tokens to write any text"):
        ask(constraint={"must": ("yellow",)})
    with pytest.raises(ConfigError, match="'red cat' has 2 tokens, but no more than 1"):
        ask(constraint="red cat", max_tokens=1)
    with pytest.raises(ConfigError, match="no text of 3 to 12 tokens"):
        ask(["red"], constraint="red cat", min_tokens=3)
    with pytest.raises(ConfigError, match="prefix and the constraint contradict"):
        ask(constraint="red cat", prefix="cat")


def test_draws():
    one, again, other = (ask(["red cat"], temperature=1.0, seed=seed, count=8)[0] for seed in (5, 5, 6))
    texts = [[each.text for each in (found, *found.alternatives)] for found in (one, again, other)]
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) > 1
    first, second = ask(["red cat", "red cat"], temperature=1.0, seed=5, count=8)
    assert [each.text for each in first.alternatives] != [each.text for each in second.alternatives]
    assert ask(["red cat"], top_k=1, seed=1)[0].text == ask(["red cat"], beams=1)[0].text


def test_an_unknown_word_is_taken_from_the_source():
    architecture = seq2seq_architecture(vocabulary=WORDS.vocabulary)
    weights = seq2seq_weights(architecture)
    weights["head.bias"][1] = 30.0
    codec = Seq2SeqCodec(WORDS, WORDS, SETTINGS)
    translator = Translator(Seq2Seq(architecture, tensor_file(weights), source="small.gw"), codec)
    source = "zebra cat"
    encoded = [codec.encode(source)]
    found = translator.outputs(codec, encoded, {"max_tokens": 3})
    (one,) = codec.decode(found, encoded)
    assert one.replaced == (0, 1, 2)
    assert set(one.tokens) <= {"zebra", "cat", ""}
    assert one.text == " ".join(token for token in one.tokens if token)
    (found,) = translator.outputs(codec, encoded, {"max_tokens": 3, "replace_unknown": False})
    assert 1 not in found[0].ids


@pytest.mark.parametrize("options", [{}, {"replace_unknown": False}, {"temperature": 1.0, "seed": 1}])
@pytest.mark.parametrize("case", ["general", "no attention"])
def test_a_prefix_of_unknown_words_stays(case, options):
    for prefix in ("zebra", "red zebra lion"):
        (one,) = ask(["cat dog"], case=case, prefix=prefix, dictionary=None, **options)
        assert f"{one.text} ".startswith(f"{prefix} ")
        assert one.tokens[: len(prefix.split())] == tuple(prefix.split())
        assert not any(place < len(prefix.split()) for place in one.replaced)


def test_one_text_spelt_in_several_ways_comes_once():
    texts = ["abc ab bc abc", "abc bc ab"]
    letters = RunningCodec.fit(lambda: texts, InputSection(unit="bpe", subwords=30))
    (one,) = ask(["abc"], letters, constraint={"choices": ("abc", "ab")}, count=8)
    assert sorted(each.text for each in (one, *one.alternatives)) == ["ab", "abc"]
    scores = [each.score for each in (one, *one.alternatives)]
    assert scores == sorted(scores, reverse=True)
    (drawn,) = ask(["abc"], letters, constraint={"choices": ("abc",)}, temperature=1.0, seed=1, count=4)
    assert [each.text for each in (drawn, *drawn.alternatives)] == ["abc"] * 4


def test_without_attention_unknown_words_do_not_come():
    for one in ask(case="no attention", count=3):
        for each in (one, *one.alternatives):
            assert each.attention is None
            assert each.alignment == ()
            assert "<unk>" not in each.text


def test_scores_of_pairs():
    translator, codec = built()
    sources, targets = pairs_of([("red cat", "dog runs"), ("dog", "")])
    scored = translator.score([codec.encode(source) for source in sources], targets)
    assert [one.tokens for one in scored] == [3, 1]
    nats = translator.model.nll(codec.collate([codec.encode("red cat")]), [WORDS.encode("dog runs")])
    assert scored[0].log_p == pytest.approx(-nats[0].sum(), abs=1e-5)
    some = ask(["red cat"], count=6)[0]
    best = next(one for one in (some, *some.alternatives) if one.reason == "end")
    again = translator.score([codec.encode("red cat")], [best.text])[0]
    assert again.log_p == pytest.approx(best.log_p, abs=1e-4)
    for odd in (["red"], [("red",)], [("red", 1)], ["ab"]):
        with pytest.raises(DataError, match="pair 0"):
            pairs_of(odd)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 0}, "beams must be a whole number from 1"),
        ({"beam": 2}, "option 'beam' is unknown.*beams"),
        ({"beams": 4, "top_p": 0.9}, "beams search and top_p draws"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"max_ratio": 0.0}, "max_ratio"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"min_tokens": 4, "max_tokens": 3}, "contradict"),
        ({"top_p": 2.0}, "top_p"),
        ({"temperature": 0.0}, "temperature"),
        ({"seed": 3}, "seed is of draws"),
        ({"prefix": 3}, "prefix must be a string"),
        ({"replace_unknown": 1}, "replace_unknown"),
        ({"constraint": {"musn": "a"}}, "musn"),
    ],
)
def test_options_out_of_range_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        Options.of(options, {"beams": 3})


LISTED = Shortlist(np.array([3, 5]), np.array([[0, 0]] * 3 + [[4, 6], [5, 0], [7, 3], [8, 4], [6, 7], [3, 0]]))


def listed(sources, **options):
    translator, codec = built()
    codec.shortlist = LISTED
    return translator.answers(sources, options)


def test_a_shortlist_holds_what_is_frequent_and_what_stands_for_the_source():
    ids = LISTED.ids(WORDS.encode("red cat"), 1, WORDS.vocabulary, np.array([2]))
    assert ids.tolist() == [2, 3, 4, 5, 8]  # frequent; 4 of red, 8 of cat
    for source in ("red cat", "blue blue dog runs", "dog"):
        for each in (1, 2, True):
            allowed = LISTED.ids(WORDS.encode(source), 2 if each is True else each, WORDS.vocabulary, np.array([1, 2]))
            for one in (
                some := listed([source], shortlist=each, count=3, replace_unknown=False)[0],
                *some.alternatives,
            ):
                assert set(WORDS.encode(one.text).tolist()) <= set(allowed.tolist())
    plain = built()[0].answers(SOURCES, {})
    assert [one.text for one in listed(SOURCES)] == [one.text for one in plain]


def test_what_is_asked_for_beside_a_shortlist_comes():
    for one in listed(["dog", "red cat"], shortlist=1, prefix="cat blue"):
        assert one.text.startswith("cat blue")
    for one in listed(["dog", "red cat"], shortlist=1, constraint={"must": ("runs", "cat")}, max_ratio=4.0):
        assert {"runs", "cat"} <= set(one.text.split())
    for one in listed(["dog"], shortlist=1, constraint="(cat|blue)( green)*", max_ratio=4.0):
        assert one.text.split()[0] in ("cat", "blue")
    assert all("red" not in one.text for one in listed(["red"], shortlist=True, constraint={"must_not": ("red",)}))


def test_a_shortlist_that_is_not_there():
    with pytest.raises(ConfigError, match=r"shortlist: the model has none.*gatework export --shortlist"):
        ask(shortlist=True)
    with pytest.raises(ConfigError, match="shortlist: the model has 2 for each token, not 3"):
        listed(["dog"], shortlist=3)
    with pytest.raises(ConfigError, match="shortlist must be a whole number"):
        listed(["dog"], shortlist=-1)
