"""`gatework predict` with a language model: a prompt, scores, and mistakes."""

import json

import pytest

import gatework as package
from language_models import write_model


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "m.gw"
    write_model(path)
    return path


def test_a_prompt_and_what_follows_it(gatework, language):
    done = gatework("predict", language, "--prompt", "the cat", "--set", "seed=4", "--set", "max_tokens=20")
    want = package.load(language).generate("the cat", seed=4, max_tokens=20)
    assert done.status == 0
    assert done.out == "the cat" + want.text + "\n"


def test_words_stand_apart_from_the_prompt(gatework, tmp_path):
    write_model(path := tmp_path / "words.gw", unit="word", seed=3)
    model = package.load(path)
    for option in ("seed=4", "beams=2"):
        settings = [option, "max_tokens=5", "constraint.must=cat"]
        name, value = option.split("=")
        want = model.generate("the cat", max_tokens=5, constraint={"must": "cat"}, **{name: int(value)}).text
        done = gatework("predict", path, "--prompt", "the cat", *[word for one in settings for word in ("--set", one)])
        assert want.strip()
        assert done.out == f"the cat {want}\n"


def test_the_seed_that_was_drawn_is_said(gatework, language):
    done = gatework("predict", language, "--prompt", "the ☃")
    assert "--set seed=" in done.err
    assert "does not know 1 token of the prompt" in done.err
    assert "seed" not in gatework("predict", language, "--prompt", "a", "--set", "temperature=0").err


def test_several_texts_as_json(gatework, language):
    words = ["--set", "count=3", "--set", "constraint.pattern=[a-z]{2}", "--set", "constraint.must_not=at", "--json"]
    found = [json.loads(line) for line in gatework("predict", language, "--prompt", "a", *words).lines]
    assert len(found) == 3
    for one in found:
        assert set(one) == {"prompt", "text", "tokens", "log_p", "reason", "seed", "unknown"}
        assert len(one["text"]) == 2
    plain = gatework("predict", language, "--prompt", "a", "--set", "beams=2", "--set", "count=2").lines
    assert len(plain) >= 1


def test_values_that_look_like_something_else(gatework, language):
    for words, want in ((("constraint=[1]",), "a1"), (('constraint.choices=["d", "d"]',), "ad"), (("stop=e",), None)):
        settings = [word for one in words for word in ("--set", one)]
        done = gatework("predict", language, "--prompt", "a", "--set", "seed=1", *settings)
        if want == "a1":
            assert done.status == 2, "no token writes 1"
            assert "no tokens" in done.err
        elif want:
            assert done.out == want + "\n"
        else:
            assert "e" not in done.out


def test_scores_of_lines(gatework, language, tmp_path):
    (tmp_path / "t.txt").write_text("the cat\n\nzz\n", encoding="utf-8")
    want = package.load(language).score(["the cat", "", "zz"])
    done = gatework("predict", language, "--score", tmp_path / "t.txt")
    assert done.lines == [f"{one.log_p:.4f}\t{one.perplexity:.4f}\t{one.tokens}" for one in want]
    done = gatework("predict", language, "--score", "-", "--json", stdin=b"the cat\n")
    assert json.loads(done.lines[0]) == pytest.approx({"text": "the cat"} | want[0].to_dict())


def test_gaps_of_lines(gatework, language, tmp_path):
    (tmp_path / "t.txt").write_text("the c___t\na ___g\n", encoding="utf-8")
    model = package.load(language)
    done = gatework("predict", language, "--fill", tmp_path / "t.txt", "--set", "length=1")
    want = [answers[0] for answers in model.fill(["the c___t", "a ___g"], length=1)]
    assert done.lines == [f"{one.text}\t{one.log_p:.4f}".replace("\n", "\\n") for one in want]
    words = ["--top-k", "3", "--set", "length=[1, 2]", "--set", "constraint=[a-z]+"]
    done = gatework("predict", language, "--fill", "the c___t", *words)
    found = model.fill("the c___t", count=3, length=(1, 2), constraint="[a-z]+")
    assert done.out == "\t".join(f"{one.text}\t{one.log_p:.4f}" for one in found) + "\n"
    done = gatework("predict", language, "--fill", "-", *words, "--json", stdin=b"the c___t\n")
    answer = json.loads(done.lines[0])
    assert answer["input"] == "the c___t"
    assert [one["text"] for one in answer["filled"]] == [one.text for one in found]
    done = gatework("predict", language, "--fill", "the c@t", "--set", "gap=@", "--set", "constraint=[b-d]")
    assert done.out[:5] == "the c"


def test_alternatives(gatework, language):
    words = ["--set", "constraint.choices=cat,dog", "--set", 'constraint.choices=["dog", "mat"]']
    done = gatework("predict", language, "--rewrite", "the [[cat]] sat", "--top-k", "2", *words)
    found = package.load(language).rewrite("the [[cat]] sat", constraint={"choices": ["dog", "mat"]})
    pairs = [f"{one.text}\t{one.log_p - found.original.log_p:.4f}" for one in found.alternatives]
    assert done.out == "\t".join(pairs) + "\n"
    marks = ["--set", 'marks=["<", ">"]', "--json"]
    answer = json.loads(gatework("predict", language, "--rewrite", "the <cat> sat", *words, *marks).lines[0])
    assert answer["original"]["text"] == "the cat sat"
    assert [one["text"] for one in answer["alternatives"]] == [one.text for one in found.alternatives]


def test_two_bundles_fill_a_gap(gatework, tmp_path):
    write_model(tmp_path / "f.gw")
    write_model(tmp_path / "b.gw", language={"directions": ("backward",)}, seed=3)
    done = gatework("predict", tmp_path / "f.gw", "--backward", tmp_path / "b.gw", "--fill", "the c___t", "--json")
    assert all(None not in (one["forward"], one["backward"]) for one in json.loads(done.lines[0])["filled"])
    write_model(tmp_path / "o.gw", language={"directions": ("backward",)}, text="another text\n")
    done = gatework("predict", tmp_path / "f.gw", "--backward", tmp_path / "o.gw", "--fill", "the c___t")
    assert done.status == 2
    assert "different tokenizers" in done.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--prompt TEXT"),
        (["the"], "--prompt TEXT"),
        (["--prompt", "a", "--score", "b"], "one of them"),
        (["--prompt", "a", "--top-k", "3"], "--top-k goes with --fill"),
        (["--score", "-", "--backward", "m.gw"], "--backward goes with --fill"),
        (["--fill", "the ___", "--rewrite", "the [[cat]]"], "one of them"),
        (["--fill", "the cat"], "the text:1: the text has no gap"),
        (["--fill", "the ___", "--set", "length=x"], "length must be"),
        (["--fill", "the ___", "--set", "max_tokens=3"], "'max_tokens' is unknown"),
        (["--fill", "nothing.txt"], "nothing.txt"),
        (["--fill", "the ___", "--stream"], "--stream is not"),
        (["--rewrite", "the [[cat"], "has no ]]"),
        (["--prompt", "a", "--stream"], "--stream is not"),
        (["--prompt", "a", "--set", "max_tokens"], "--set max_tokens"),
        (["--prompt", "a", "--set", "max_tokens=x"], "max_tokens must be a whole number"),
        (["--prompt", "a", "--set", "model.units=3"], "--set model.units=3"),
        (["--prompt", "a", "--set", "maxtokens=3"], "Did you mean 'max_tokens'"),
        (["--prompt", "a", "--set", 'constraint={"must": ["b"]}'], "are set one by one: constraint.must=cat"),
        (["--prompt", "a", "--set", "constraint=a", "--set", "constraint.must=b"], "constraint is a pattern already"),
        (["--prompt", "a", "--set", "constraint.must=a", "--set", "constraint.must_not=a"], "contradict"),
        (["--score", "nothing.txt"], "nothing.txt"),
        (["--prompt", "a\udcff"], "not UTF-8"),
        (["--score", "-", "--set", "seed=1"], "--set does not go with --score"),
    ],
)
def test_mistakes(gatework, language, words, named):
    done = gatework("predict", language, *words)
    assert done.status == 2
    assert named in done.err
    assert "Traceback" not in done.err


def test_other_tasks_take_no_prompt(gatework, model):
    done = gatework("predict", model, "--prompt", "a")
    assert done.status == 2
    assert "for language models" in done.err
