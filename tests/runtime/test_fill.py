"""Gaps are filled and spans rewritten: ranked exactly, by both directions, under constraints; mistakes are named."""

import itertools
import json
import re

import numpy as np
import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.runtime import load
from language_models import END, nats, write_model

BOTH = {"directions": ("forward", "backward")}


@pytest.fixture(scope="module", params=["char", "word", "bpe"])
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.gw"
    write_model(path, unit=request.param, language=BOTH)
    return load(path)


def whole(written, text, direction):
    """log p of a whole document in float64."""
    codec, architecture, arrays = written
    ids = codec.encode(text).tolist()
    ids = ids if direction == "forward" else ids[::-1]
    return -nats(architecture, arrays, [*ids, END], direction).sum()


def prefix(written, text, direction):
    codec, architecture, arrays = written
    ids = codec.encode(text).tolist()
    return -nats(architecture, arrays, ids if direction == "forward" else ids[::-1], direction).sum() if ids else 0.0


@pytest.mark.parametrize("text", ["ab___ca", "___bc", "ab___", "___"])
@pytest.mark.parametrize("ways", [("forward", "backward"), ("forward",), ("backward",)])
def test_with_wide_beams_the_ranking_is_that_of_all_fillings(tmp_path, text, ways):
    written = write_model(tmp_path / "m.gw", text="abca", scale=1.0, language={"directions": ways})
    left, right = text.split("___")
    every = ["".join(some) for n in (1, 2, 3) for some in itertools.product("abc", repeat=n)]
    want = {}
    for filling in every:
        full = left + filling + right
        beside = {"forward": left, "backward": right}
        want[filling] = [whole(written, full, way) - prefix(written, beside[way], way) for way in ways]
    ranked = sorted(every, key=lambda filling: -np.mean(want[filling]))
    found = load(tmp_path / "m.gw").fill(text, length=(1, 3), beams=64, count=100)
    assert [one.parts for one in found] == [(filling,) for filling in ranked]
    assert [one.text for one in found] == [left + filling + right for filling in ranked]
    for one in found:
        assert one.directions == ways
        np.testing.assert_allclose([getattr(one, way) for way in ways], want[one.parts[0]], atol=1e-4)
        assert one.log_p == pytest.approx(np.mean(want[one.parts[0]]), abs=1e-4)
    weights = np.exp([np.mean(want[filling]) for filling in ranked])
    np.testing.assert_allclose([one.share for one in found], weights / weights.sum(), atol=1e-5)


def test_several_gaps_are_scored_as_a_whole(tmp_path):
    written = write_model(tmp_path / "m.gw", text="abca", scale=1.0, language=BOTH)
    some = ["".join(parts) for n in (1, 2) for parts in itertools.product("abc", repeat=n)]
    want = {}
    for one, other in itertools.product(some, repeat=2):
        full = f"b{one}ca{other}c"
        forward = whole(written, full, "forward") - prefix(written, "b", "forward")
        want[one, other] = (forward, whole(written, full, "backward") - prefix(written, "c", "backward"))
    found = load(tmp_path / "m.gw").fill("b___ca___c", length=(1, 2), beams=80, count=160)
    assert [one.parts for one in found] == sorted(want, key=lambda parts: -np.mean(want[parts]))
    for one in found:
        np.testing.assert_allclose((one.forward, one.backward), want[one.parts], atol=1e-4)


def test_a_text_is_scored_in_the_tokens_it_is_encoded_in(tmp_path):
    written = write_model(tmp_path / "m.gw", unit="bpe", language=BOTH)
    found = load(tmp_path / "m.gw").fill("the c___t sat", length=(0, 2), count=10)
    assert len(found) == 10
    for way in BOTH["directions"]:
        want = [whole(written, one.text, way) for one in found]
        own = [getattr(one, way) for one in found]
        np.testing.assert_allclose(np.subtract(own, own[0]), np.subtract(want, want[0]), atol=1e-4)


def test_running_text_has_no_end(tmp_path):
    written = write_model(tmp_path / "m.gw", documents="file", language=BOTH)
    (one,) = load(tmp_path / "m.gw").fill("the c___t", length=1, count=1)
    assert one.forward == pytest.approx(
        prefix(written, one.text, "forward") - prefix(written, "the c", "forward"), abs=1e-4
    )
    assert one.backward == pytest.approx(
        prefix(written, one.text, "backward") - prefix(written, "t", "backward"), abs=1e-4
    )


def test_fillings_fit_and_come_in_order(model):
    for text, length in (("the ___ sat", (1, 2)), ("___ sat on the ___ mat", 1), ("the cat sat ___", (1, 3))):
        found = model.fill(text, length=length, count=8)
        assert len({one.parts for one in found}) == 8
        scores = [one.log_p for one in found]
        assert scores == sorted(scores, reverse=True)
        assert sum(one.share for one in found) <= 1 + 1e-6
        low, high = length if isinstance(length, tuple) else (length, length)
        for one in found:
            assert one.text == "{}".join(text.split("___")).format(*one.parts)
            for part in one.parts:
                count = len(part.split(" ")) if model.codec.text.unit == "word" else len(part)
                assert low <= count <= high
            json.dumps(one.to_dict())


def test_a_list_gives_lists_and_texts_do_not_touch(model):
    texts = ["the ___ sat", "___ cat", "the dog ___"]
    found = model.fill(texts, length=1, count=2)
    assert [len(answers) for answers in found] == [2, 2, 2]
    for text, answers in zip(texts, found, strict=True):
        alone = model.fill(text, length=1, count=2)
        assert [one.parts for one in alone] == [one.parts for one in answers]
    assert model.fill([]) == []


CONSTRAINTS = [
    ({"choices": ("cat", "dog", "猫")}, lambda t: t in ("cat", "dog", "猫")),
    ({"pattern": "(the|a) [a-z]+", "characters": (3, 9)}, lambda t: re.fullmatch("(the|a) [a-z]+", t) and len(t) < 10),
    ({"must": ("cat",)}, lambda t: "cat" in t),
    ({"must_not": ("cat", "dog")}, lambda t: "cat" not in t.split() and "dog" not in t.split()),
    ({"tokens": (2, 3)}, None),
    ({"lines": "[a-z ]*t", "line_count": 2}, lambda t: re.fullmatch("[a-z ]*t\n[a-z ]*t", t)),
]


@pytest.mark.parametrize(("parts", "good"), CONSTRAINTS)
def test_every_filling_satisfies_its_constraint(model, parts, good):
    for text in ("the ___ sat", "___"):
        found = model.fill(text, constraint=parts, count=6)
        assert found
        for one in found:
            if good is None:
                assert 2 <= len(model.codec.text.encode(one.parts[0])) <= 3
            else:
                assert good(one.parts[0]), one.parts[0]


def test_constraints_are_followed_from_the_end_too(tmp_path):
    """Of a model that reads backward alone, all fillings come from its own beams."""
    for unit in ("char", "word", "bpe"):
        write_model(tmp_path / "m.gw", unit=unit, language={"directions": ("backward",)})
        model = load(tmp_path / "m.gw")
        words = ("cat", "dog ran", "the mat", "sat on\nthe cat")
        found = model.fill("the ___ sat", constraint={"choices": words}, beams=64)
        assert {one.parts[0] for one in found} == set(words)
        assert all(one.forward is None for one in found)


def test_a_constraint_without_an_automaton_from_its_end(tmp_path):
    """The forward model finds the candidates, both rank them."""
    pattern = "[ab]{20}a[ab]*"
    write_model(tmp_path / "m.gw", text="abca", language=BOTH)
    found = load(tmp_path / "m.gw").fill("c___c", constraint=pattern, count=3)
    assert found[0].directions == ("forward", "backward")
    assert all(re.fullmatch(pattern, one.parts[0]) for one in found)
    write_model(tmp_path / "b.gw", text="abca", language={"directions": ("backward",)})
    with pytest.raises(ConfigError, match="too large to be read from its end"):
        load(tmp_path / "b.gw").fill("c___c", constraint=pattern)


def test_emoji_and_chinese_are_written_in_bytes(tmp_path):
    write_model(tmp_path / "m.gw", unit="bpe", language=BOTH)
    model = load(tmp_path / "m.gw")
    words = ("🙂", "龘", "猫", "ok")
    found = model.fill("一只___在🙂", constraint={"choices": words}, beams=32)
    assert {one.parts[0] for one in found} == set(words)
    assert all(one.unknown == 0 for one in found)
    single = model.fill("一___猫", length=1, count=3)
    assert all(len(one.parts[0]) == 1 for one in single)


def test_what_is_unknown_is_counted_and_never_written(tmp_path):
    write_model(tmp_path / "m.gw", language=BOTH)
    found = load(tmp_path / "m.gw").fill("the ☃ ___ ☃", count=20)
    assert all(one.unknown == 2 and "\ufffd" not in one.parts[0] for one in found)


def test_lowercase_models_keep_the_callers_text(tmp_path):
    write_model(tmp_path / "m.gw", unit="bpe", lowercase=True, language=BOTH)
    (one,) = load(tmp_path / "m.gw").fill("THE C___ Sat", length=2, count=1)
    assert re.fullmatch(r"THE C.. Sat", one.text, re.DOTALL)


def test_draws_come_from_their_seed(model):
    options = {"length": 1, "count": 3, "temperature": 1.0}
    drawn = {tuple(one.parts for one in model.fill("the ___ sat", seed=n, **options)) for n in range(12)}
    assert len(drawn) > 3
    assert all(len(set(parts)) == 3 for parts in drawn)
    best = [one.parts for one in model.fill("the ___ sat", length=1, count=3)]
    cold = model.fill("the ___ sat", length=1, count=3, temperature=1e-3, seed=5)
    assert [one.parts for one in cold] == best


def test_far_context_costs_nothing(model):
    far = "the cat sat on the mat\n" * 5000
    near = far[-8 * 23 * 50 :]
    one = model.fill(far + "the ___ sat" + far, length=1, count=3)
    other = model.fill(near + "the ___ sat" + near, length=1, count=3)
    assert [a.parts for a in one] == [b.parts for b in other]
    np.testing.assert_allclose([a.log_p for a in one], [b.log_p for b in other], atol=1e-5)


def test_alternatives_to_what_is_marked(model):
    marked = model.rewrite("the [[cat]] sat", count=4)
    spanned = model.rewrite("the cat sat", (4, 7), count=4)
    braces = model.rewrite("the {cat} sat", marks=("{", "}"), count=4)
    assert marked.to_dict() == spanned.to_dict() == braces.to_dict()
    assert marked.original.text == "the cat sat"
    assert marked.original.parts == ("cat",)
    assert len(marked.alternatives) == 4
    assert ("cat",) not in [one.parts for one in marked.alternatives]
    filled = model.fill("the ___ sat", constraint={"choices": ["cat"]})[0]
    assert marked.original.log_p == pytest.approx(filled.log_p, abs=1e-4)
    if model.codec.text.unit != "word":
        assert all(2 <= len(one.parts[0]) <= 4 for one in marked.alternatives)


@pytest.mark.parametrize(("unit", "own"), [("char", "cat  sat"), ("word", "cat sat")])
def test_the_original_stays_as_it_was_written(tmp_path, unit, own):
    write_model(tmp_path / "m.gw", unit=unit, lowercase=True, language=BOTH)
    constraint = {"choices": [own, "dog ran"]}
    found = load(tmp_path / "m.gw").rewrite("THE [[Cat  Sat]] on", constraint=constraint)
    assert found.original.text == "THE Cat  Sat on"
    assert [one.text for one in found.alternatives] == ["THE dog ran on"]


def test_several_spans_and_several_texts(model):
    found = model.rewrite("the [[cat]] sat on [[the]] mat", count=3, length=1)
    assert found.original.parts == ("cat", "the")
    assert found.original.text == "the cat sat on the mat"
    assert len(found.alternatives) == 3
    several = model.rewrite(["the [[cat]] sat", "a [[dog]]"], count=1)
    assert [one.original.parts for one in several] == [("cat",), ("dog",)]
    spans = model.rewrite(["the cat sat", "a dog"], [(4, 7), (2, 5)], count=1)
    assert [one.to_dict() for one in spans] == [one.to_dict() for one in several]
    chosen = model.rewrite("the [[cat]] sat", constraint={"choices": ["dog", "mat"]})
    assert {one.parts[0] for one in chosen.alternatives} == {"dog", "mat"}


def test_two_bundles_are_one_model(tmp_path):
    for name, ways, seed in (("f", ("forward",), 1), ("b", ("backward",), 2)):
        write_model(tmp_path / f"{name}.gw", unit="word", language={"directions": ways}, seed=seed)
    forward, backward = load(tmp_path / "f.gw"), load(tmp_path / "b.gw")
    one = forward.fill("the ___ sat", backward=backward, count=50, length=1)
    alone = {one.parts: one.forward for one in forward.fill("the ___ sat", count=50, length=1)}
    behind = {one.parts: one.backward for one in backward.fill("the ___ sat", count=50, length=1)}
    assert one[0].directions == ("forward", "backward")
    for filled in one:
        assert filled.forward == pytest.approx(alone[filled.parts], abs=1e-5)
        assert filled.backward == pytest.approx(behind[filled.parts], abs=1e-5)
    write_model(tmp_path / "o.gw", unit="word", language={"directions": ("backward",)}, text="the cat and the dog\n")
    with pytest.raises(ConfigError, match="different tokenizers, of SHA-256"):
        forward.fill("the ___ sat", backward=load(tmp_path / "o.gw"))
    with pytest.raises(ConfigError, match="reads no text backward"):
        forward.fill("the ___ sat", backward=forward)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"length": -1}, "length must be"),
        ({"length": (3, 1)}, "length must be"),
        ({"length": "3"}, "length must be"),
        ({"count": 0}, "count must be"),
        ({"beams": 0}, "beams must be"),
        ({"window": 0}, "window must be"),
        ({"temperature": -1}, "temperature must be"),
        ({"seed": -1}, "seed must be"),
        ({"gap": ""}, "gap must be"),
        ({"lenght": 3}, "Did you mean 'length'"),
        ({"constraint": "("}, "character 2"),
        ({"constraint": "☃+"}, "no tokens to write"),
        ({"constraint": {"characters": 3}, "length": 3}, "length and constraint.characters"),
        ({"constraint": {"characters": (1, 5000)}}, "no more than 1000 characters"),
        ({"constraint": {"tokens": 5000}}, "no more than 1000 tokens"),
        ({"constraint": "a{9}", "length": 3}, "pattern .* and characters 3 contradict"),
        ({"constraint": {"must": "cat"}, "length": 2}, "characters 2 and must 'cat' contradict"),
        ({"constraint": {"must": "a", "must_not": "a"}}, "contradict"),
        ({"constraint": {"pattern": "a", "tokens": (7, 9)}}, "constraint and length contradict"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path, options, named):
    write_model(tmp_path / "m.gw", language=BOTH)
    with pytest.raises(ConfigError, match=named):
        load(tmp_path / "m.gw").fill("the ___ sat", **options)


def test_other_mistakes(tmp_path):
    write_model(tmp_path / "m.gw", unit="word", language=BOTH)
    model = load(tmp_path / "m.gw")
    for text, named in (("the cat", "no gap"), ("the ______ sat", "gaps 1 and 2 touch"), ("un___able", "whole words")):
        with pytest.raises(DataError, match=named):
            model.fill(text)
    with pytest.raises(DataError, match="text 1: the text has no gap"):
        model.fill(["the ___", "cat"])
    with pytest.raises(DataError, match="not a string"):
        model.fill(["the ___", 3])
    with pytest.raises(ConfigError, match=r"shortest text .* 2 tokens, but no more than 1"):
        model.fill("the ___ sat", length=1, constraint="the cat")
    for text, named in (("the cat", "no gap"), ("the [[cat", "no ]]")):
        with pytest.raises(DataError, match=named):
            model.rewrite(text)
    for span in ((3, 99), (3,), 4, (-1, 2)):
        with pytest.raises(DataError, match="span must be"):
            model.rewrite("the cat", span)
    with pytest.raises(ConfigError, match="marks must be"):
        model.rewrite("the [[cat]]", marks=("a", "a"))
    with pytest.raises(DataError, match="a span for each of 2"):
        model.rewrite(["the", "cat"], [(0, 3)])
