"""A language model writes: with every option, from a state on, as a stream; and mistakes are named."""

import itertools
import json
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gatework.core.automaton import Constraint
from gatework.core.bundle import write_bundle
from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import InputSection
from gatework.runtime import load
from gatework.runtime.language_state import LanguageState
from gatework.tasks.lm.codec import Settings
from gatework.text.running import RunningCodec
from language_models import END, language_architecture, language_weights, write_model


@pytest.fixture(scope="module", params=["char", "word", "bpe"])
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.gw"
    write_model(path, unit=request.param, encoder={"layers": 2})
    return load(path)


def test_a_seed_gives_a_text_and_the_answer_names_it(model):
    drawn = model.generate("the cat", max_tokens=30)
    again = model.generate("the cat", max_tokens=30, seed=drawn.seed)
    assert (again.text, again.log_p) == (drawn.text, drawn.log_p)
    assert len({model.generate("the cat", max_tokens=30, seed=n).text for n in range(20)}) > 15
    greedy = model.generate("the cat", max_tokens=30, temperature=0)
    assert greedy.seed is None
    assert model.generate("the cat", max_tokens=30, temperature=0).tokens == greedy.tokens


def test_texts_of_a_batch_are_those_of_their_seeds(model):
    prompts = ["the", "", "a dog", "cat"]
    together = model.generate(prompts, count=3, seed=4, max_tokens=20)
    assert [len(answers) for answers in together] == [3] * 4
    for prompt, answers in zip(prompts, together, strict=True):
        for answer in answers:
            alone = model.generate(prompt, seed=answer.seed, max_tokens=20)
            assert (alone.tokens, alone.reason) == (answer.tokens, answer.reason)
            assert alone.log_p == pytest.approx(answer.log_p, abs=1e-4)
    assert model.generate([], seed=1) == []
    many = model.generate("a", count=150, seed=9, max_tokens=3)
    assert len({answer.seed for answer in many}) == 150


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0}, {"no_repeat": 3, "repetition_penalty": 1.3}, {"top_k": 5, "top_p": 0.9}]
)
def test_a_text_goes_on_from_its_state_as_if_never_stopped(model, options):
    whole = model.generate("the cat", seed=3, max_tokens=40, **options)
    state, ids, log_p = None, [], 0.0
    for n, count in enumerate((1, 7, 20, 12)):
        part = model.generate("" if n else "the cat", seed=3, max_tokens=count, state=state, **options)
        state, ids, log_p = part.state.to_bytes(), ids + list(part.tokens), log_p + part.log_p
        if part.reason == "end":
            break
    assert tuple(ids) == whole.tokens
    assert log_p == pytest.approx(whole.log_p, abs=1e-9)
    assert state == whole.state.to_bytes()


def test_a_prompt_may_come_in_pieces(model):
    first = model.generate("the cat sat", max_tokens=0)
    assert (first.text, first.reason, first.log_p) == ("", "length", 0.0)
    later = model.generate("\na dog", state=first.state, seed=1, max_tokens=15)
    assert later.tokens == model.generate("the cat sat\na dog", seed=1, max_tokens=15).tokens


def test_the_state_of_a_text_is_that_of_reading_it(model):
    prompt, answer = "the cat", model.generate("the cat", seed=5, max_tokens=12)
    ids = [*model.codec.encode(prompt).tolist(), *answer.tokens] + ([END] if answer.reason == "end" else [])
    nats, state = model.network.nll(np.array(ids))
    assert answer.state.recent.tolist() == state.recent.tolist()
    assert answer.state.position == state.position
    for parts, others in zip(answer.state.recurrent.layers, state.recurrent.layers, strict=True):
        np.testing.assert_allclose(np.concatenate(parts), np.concatenate(others), atol=1e-5)
    read = len(model.codec.encode(prompt))
    assert answer.log_p == pytest.approx(-nats[read:].sum(), abs=1e-3)


def test_streams_give_the_same_text(model):
    for options in ({}, {"stop": ["a", "th"]}, {"stop": ["at t"]}, {"constraint": "[^x]{5,40}"}, {"temperature": 0}):
        for seed in range(12):
            whole = model.generate("the cat", seed=seed, max_tokens=40, **options)
            stream = model.stream("the cat", seed=seed, max_tokens=40, **options)
            pieces = list(stream)
            assert "".join(pieces) == whole.text
            assert all(pieces)
            assert stream.result.to_dict() == whole.to_dict()
            assert stream.result.state.to_bytes() == whole.state.to_bytes()


def test_stop_strings_are_cut_off(model):
    for seed in range(20):
        answer = model.generate("the", seed=seed, max_tokens=60, stop=["t", "og", " c"])
        assert not re.search("t|og| c", answer.text)
        assert (answer.reason == "stop") == bool(re.search("t|og| c", model.codec.text.decode(answer.tokens)))


FORM = "([acdehnorst]{1,4} ){2}[acehot]{3}"


def words(text):
    return set(re.findall("[a-z]+", text))


CONSTRAINTS = [
    ({"pattern": FORM}, lambda t: re.fullmatch(FORM, t)),
    ({"choices": ("cat", "the dog", "cat sat", "猫")}, lambda t: t in ("cat", "the dog", "cat sat", "猫")),
    ({"must": ("cat", "dog"), "characters": (5, 30)}, lambda t: {"cat", "dog"} <= words(t) and 5 <= len(t) <= 30),
    ({"must_not": "the", "pattern": "[a-z ]{3,20}"}, lambda t: "the" not in words(t) and 3 <= len(t) <= 20),
    ({"lines": "[a-z ]*t|", "line_count": 2}, lambda t: re.fullmatch("([a-z ]*t|)\n([a-z ]*t|)", t)),
]


@pytest.mark.parametrize(("parts", "good"), CONSTRAINTS)
def test_every_text_satisfies_its_constraint(model, parts, good):
    for options in ({"count": 40}, {"temperature": 0}, {"beams": 3, "count": 3}, {"count": 20, "no_repeat": 2}):
        answers = model.generate("the cat", constraint=parts, seed=2, max_tokens=40, **options)
        for answer in answers if isinstance(answers, list) else [answers]:
            assert good(answer.text), answer.text


def test_numbers_of_tokens_are_kept(model):
    for low, high in ((0, 3), (4, 6), (5, 5), (12, 40)):
        for answer in model.generate("a", constraint={"tokens": (low, high)}, count=30, seed=1, max_tokens=20):
            assert low <= len(answer.tokens) <= min(high, 20)
    both = model.generate("a", constraint=Constraint(tokens=(3, 8), must=("cat",)), count=30, seed=1)
    assert all(3 <= len(answer.tokens) <= 8 and "cat" in answer.text for answer in both)


def test_beams_find_what_trying_everything_finds(tmp_path):
    codec, _, _ = write_model(tmp_path / "m.gw", unit="word", scale=1.0)
    model = load(tmp_path / "m.gw")
    prompt, longest = "the cat", 3
    words = [n for n in range(3, codec.vocabulary)]
    begun = model.network.advance([codec.encode(prompt)])[0]
    every = {}
    for count in range(longest + 1):
        for ids in itertools.product(words, repeat=count):
            every[(*ids, END)[: longest if count == longest else None]] = 0.0
    texts = sorted(every)
    nats, _ = model.network.nlls([np.array(ids) for ids in texts], [begun] * len(texts))
    ranked = sorted(zip(texts, nats, strict=True), key=lambda pair: pair[1].sum())[:20]
    found = model.generate(prompt, beams=4096, count=20, max_tokens=longest)
    assert [answer.tokens for answer in found] == [tuple(n for n in ids if n != END) for ids, _ in ranked]
    np.testing.assert_allclose([answer.log_p for answer in found], [-own.sum() for _, own in ranked], atol=1e-4)
    assert {answer.reason for answer in found} == {"end", "length"}


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
def test_texts_are_ranked_with_their_length(tmp_path, penalty):
    codec, _, _ = write_model(tmp_path / "m.gw", unit="word", scale=1.0)
    model = load(tmp_path / "m.gw")
    begun = model.network.advance([codec.encode("the cat")])[0]
    texts = [ids for n in range(3) for ids in itertools.product(range(3, codec.vocabulary), repeat=n)]
    texts = [(*ids, END) if len(ids) < 2 else ids for ids in texts]
    nats, _ = model.network.nlls([np.array(ids) for ids in texts], [begun] * len(texts))
    log_p = np.array([-own.sum(dtype=np.float64) for own in nats])
    rank = log_p / np.array([len(ids) for ids in texts]) ** penalty
    best = np.argsort(-rank)[:8]
    found = model.generate("the cat", beams=1024, count=8, max_tokens=2, length_penalty=penalty)
    assert [one.tokens for one in found] == [tuple(n for n in texts[place] if n != END) for place in best]
    np.testing.assert_allclose([one.log_p for one in found], log_p[best], atol=1e-4)


def test_the_search_goes_on_while_a_longer_text_may_still_win(tmp_path):
    write_model(tmp_path / "m.gw", unit="word")
    model = load(tmp_path / "m.gw")
    longer = 0
    for prompt in ("", "cat", "the", "dog ran", "a", "sat on"):
        whole, mean = (model.generate(prompt, beams=3, max_tokens=12, length_penalty=penalty) for penalty in (0, 1))
        ranks = [one.log_p / (len(one.tokens) + (one.reason == "end")) for one in (whole, mean)]
        assert ranks[1] >= ranks[0]
        longer += len(mean.tokens) > len(whole.tokens)
    assert longer


def test_more_beams_never_find_less(model):
    best = [model.generate("the", beams=n, max_tokens=6).log_p for n in (2, 8, 64)]
    assert best == sorted(best)
    greedy = model.generate("the", temperature=0, max_tokens=6)
    assert best[-1] >= greedy.log_p - 1e-4


def test_beams_go_on_from_their_state(model):
    first = model.generate("the", beams=4, count=2, constraint={"tokens": 4})[1]
    read = model.network.advance([np.array([*model.codec.encode("the"), *first.tokens])])[0]
    assert first.state.recent.tolist() == read.recent.tolist()
    assert model.generate("", state=first.state, seed=1).tokens == model.generate("", state=read, seed=1).tokens


def test_no_sequence_comes_twice(model):
    for answer in model.generate("the", count=10, seed=1, no_repeat=2, max_tokens=30):
        pairs = list(itertools.pairwise([*model.codec.encode("the").tolist(), *answer.tokens]))
        assert len(set(pairs)) == len(pairs)
    beams = model.generate("the", beams=3, no_repeat=1, constraint={"tokens": 6})
    assert len(set(beams.tokens)) == 6


def test_what_is_unknown_is_said_and_never_written(tmp_path):
    write_model(tmp_path / "m.gw")
    model = load(tmp_path / "m.gw")
    answer = model.generate("the ☃ cat ☃", seed=1, count=5, max_tokens=30)
    assert all(one.unknown == 2 and "\ufffd" not in one.text for one in answer)
    assert model.score("☃").unknown == 1


def test_scores_are_those_of_the_network(model):
    texts = ["the cat sat", "", "dog dog"]
    found = model.score(texts)
    for text, score in zip(texts, found, strict=True):
        ids = [*model.codec.encode(text).tolist(), END]
        nats, _ = model.network.nll(np.array(ids))
        assert score.tokens == len(ids)
        assert score.log_p == pytest.approx(-nats.sum(), abs=1e-4)
        assert score.perplexity == pytest.approx(np.exp(nats.mean()), rel=1e-5)
    assert model.score("the cat sat").to_dict() == pytest.approx(found[0].to_dict())
    assert model.score("the cat", end=False).tokens == len(model.codec.encode("the cat"))
    assert model.score("", end=False).to_dict() == {"log_p": 0.0, "tokens": 0, "perplexity": 1.0, "unknown": 0}
    json.dumps(found[0].to_dict())


def test_running_text_has_no_end_of_its_own(tmp_path):
    write_model(tmp_path / "m.gw", documents="file")
    assert load(tmp_path / "m.gw").score("cat").tokens == 3


def test_many_threads_write_at_once(model):
    def write(seed):
        return model.generate("the", seed=seed, max_tokens=30, constraint="[a-z ]{5,20}").text

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(24))) == [write(seed) for seed in range(24)]


def test_memory_does_not_grow_with_the_text(model):
    state = model.generate("the", seed=1, max_tokens=2000, no_repeat=9, constraint={"tokens": 2000}).state
    size, peaks = len(state.to_bytes()), []
    for n in range(4):
        tracemalloc.start()
        state = model.generate("", state=state, seed=n, max_tokens=2000, constraint={"tokens": 2000}).state
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(state.to_bytes()) == size
    assert max(peaks[1:]) < 1.2 * peaks[0] + 100_000


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": "a"}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"no_repeat": 1.5}, "no_repeat"),
        ({"beams": 0}, "beams"),
        ({"count": 0}, "count"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": [3]}, "stop"),
        ({"constraint": 3}, "constraint"),
        ({"constraint": {"patern": "a"}}, "patern"),
        ({"constraint": "("}, "character 2"),
        ({"constraint": "a", "stop": "b"}, "stop and constraint"),
        ({"beams": 2, "top_k": 3}, "top_k and beams"),
        ({"beams": 2, "stop": "a"}, "stop and beams"),
        ({"beams": 2, "count": 3}, "count is 3"),
        ({"beams": 2, "length_penalty": -1}, "length_penalty must be"),
        ({"length_penalty": 1.0}, "length_penalty ranks what beams find"),
        ({"temprature": 1}, "Did you mean 'temperature'"),
        ({"constraint": {"pattern": "[a-c]+", "must": "t"}}, "pattern .* and must 't'"),
        ({"constraint": "☃+"}, "no tokens to write"),
        ({"constraint": "a{9}", "max_tokens": 1}, "shortest text .* tokens, but no more than 1"),
        ({"constraint": {"tokens": (300, None)}}, "tokens from 300 and max_tokens 256"),
        ({"constraint": {"pattern": "a", "tokens": (7, 9)}}, "7 to 9 tokens"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path, options, named):
    write_model(tmp_path / "m.gw")
    model = load(tmp_path / "m.gw")
    with pytest.raises(ConfigError, match=named):
        model.generate("the", **options)


def test_other_mistakes(model, tmp_path):
    write_model(tmp_path / "b.gw", language={"directions": ("backward",)})
    backward = load(tmp_path / "b.gw")
    assert backward.score("cat").log_p < 0
    with pytest.raises(ConfigError, match="backward"):
        backward.generate("the")
    other = backward.network.start()
    for bad in (other, b"GWLS", 5, [None]):
        with pytest.raises(DataError, match="state"):
            model.generate("the", state=bad)
    with pytest.raises(DataError, match="state"):
        model.generate(["a", "b"], state=LanguageState.from_bytes(model.generate("a").state.to_bytes()))
    for bad in (5, [5], None):
        with pytest.raises(DataError, match="not a string"):
            model.generate(bad)
    with pytest.raises(ConfigError, match="beams"):
        model.stream("a", beams=2)
    with pytest.raises(ConfigError, match="generate"):
        model.predict("a")


def test_a_vocabulary_of_one(tmp_path):
    settings = InputSection(unit="char", min_count=1, lowercase=False, fold_width=False)
    codec = RunningCodec.fit(lambda: ["aaaa"], settings)
    architecture = language_architecture(vocabulary=codec.vocabulary)
    write_bundle(
        tmp_path / "m.gw",
        config={"gatework": "0", "task": "lm", "architecture": architecture.to_dict(), "decode": Settings().to_dict()},
        weights=language_weights(architecture),
        entries=codec.to_entries(),
    )
    model = load(tmp_path / "m.gw")
    assert re.fullmatch("a*", model.generate("", seed=1).text)
    assert model.generate("b", constraint="a{4}").text == "aaaa"
