"""`gatework predict` with a model that writes texts from sources: answers, scores of pairs, alignments, mistakes."""

import json

import pytest

import gatework as package
from gatework.tasks.seq2seq import Settings
from gatework.text.running import RunningCodec
from seq2seqs import write_model

WORDS = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "猫"])
LINES = ["red cat", "", "blue dog 猫"]


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    path = tmp_path_factory.mktemp("translation") / "m.gw"
    write_model(path, WORDS)
    return path


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "t.txt"
    path.write_text("".join(line + "\n" for line in LINES), encoding="utf-8")
    return path


def test_a_line_an_answer(gatework, translator, lines):
    want = package.load(translator).predict(LINES)
    done = gatework("predict", translator, lines)
    assert done.lines == [one.text for one in want]
    assert done.lines[1] == ""
    assert ("cut at their limit" in done.err) == any(one.reason == "length" for one in want)
    assert gatework("predict", translator, "red cat").lines == [want[0].text]


def test_options_and_the_best_ones(gatework, translator, lines):
    want = package.load(translator).predict(LINES, count=2, beams=4, prefix="red")
    done = gatework("predict", translator, lines, "--top-k", "2", "--set", "beams=4", "--set", "prefix=red")
    assert done.lines == [one.to_line(2) for one in want]
    found = [json.loads(line) for line in gatework("predict", translator, lines, "--json", "--top-k", "2").lines]
    assert [len(one.get("alternatives", [])) for one in found] == [1, 0, 1]
    held = gatework("predict", translator, "red cat", "--set", "constraint.must=dog", "--set", "max_ratio=3")
    assert "dog" in held.lines[0].split()
    words = ["--set", "constraint.must=dog", "--set", "constraint.must=blue", "--set", "constraint.must=green"]
    held = gatework("predict", translator, "red cat", *words, "--set", "max_ratio=3")
    assert {"dog", "blue", "green"} <= set(held.lines[0].split())


def test_one_answer_has_its_score_too_with_top_k(gatework, translator, lines):
    want = package.load(translator).predict(LINES)
    done = gatework("predict", translator, lines, "--top-k", "1")
    assert done.lines == [f"{want[0].text}\t{want[0].score:.4f}", "", f"{want[2].text}\t{want[2].score:.4f}"]
    one = gatework("predict", translator, "red cat", "--top-k", "3", "--set", "constraint=blue")
    assert one.lines[0].startswith("blue\t-")
    assert one.lines[0].count("\t") == 1


def test_a_script_that_training_had_not_is_told_once(gatework, tmp_path):
    write_model(tmp_path / "m.gw", WORDS, settings=Settings(beams=2, scripts=("Latin",)))
    done = gatework("predict", tmp_path / "m.gw", stdin="red\nсобака\ncat\n猫\n".encode())
    assert len(done.lines) == 4
    assert done.err.count("line 2: Cyrillic script, which the model has not learnt to read") == 1
    assert "line 4" not in done.err
    assert "2 of 4 lines are in a script" in done.err
    assert json.loads(gatework("predict", tmp_path / "m.gw", "собака", "--json").lines[0])["script"] == "Cyrillic"


def test_tokens_that_are_not_known_are_told_once(gatework, translator, tmp_path):
    (tmp_path / "t.txt").write_text("red cat\nred 😀 zebra\n😀\n", encoding="utf-8")
    done = gatework("predict", translator, tmp_path / "t.txt")
    assert done.err.splitlines()[0] == "line 2: 2 tokens that the model does not know"
    assert "2 of 3 lines have tokens that the model does not know" in done.err
    answers = package.load(translator).predict_batch(["red cat", "red 😀 zebra"])
    assert [one.unknown for one in answers] == [0, 2]
    assert "unknown" not in answers[0].to_dict()
    assert answers[1].to_dict()["unknown"] == 2


def test_a_dictionary_of_a_file(gatework, translator, tmp_path):
    (tmp_path / "d.tsv").write_text("zebra\tZebra\n", encoding="utf-8")
    words = ["red zebra", "--set", f"dictionary={tmp_path / 'd.tsv'}", "--set", "split=always"]
    want = package.load(translator).predict("red zebra", dictionary={"zebra": "Zebra"}, split="always")
    assert gatework("predict", translator, *words).lines == [want.text]
    (tmp_path / "d.tsv").write_text("zebra\n", encoding="utf-8")
    done = gatework("predict", translator, *words)
    assert (done.status, "d.tsv:1: expected a word, a tab" in done.err) == (2, True)


def test_models_answer_together(gatework, translator, lines, tmp_path):
    write_model(tmp_path / "b.gw", WORDS, seed=5)
    want = package.load([translator, tmp_path / "b.gw"]).predict(LINES)
    assert gatework("predict", translator, lines, "--with", tmp_path / "b.gw").lines == [one.text for one in want]
    (tmp_path / "p.tsv").write_text("red cat\tblue\n", encoding="utf-8")
    done = gatework("evaluate", translator, tmp_path / "p.tsv", "--with", tmp_path / "b.gw", "--json")
    found = json.loads(done.out)["metrics"]["perplexity"]
    assert found == pytest.approx(
        package.load([translator, tmp_path / "b.gw"]).score([("red cat", "blue")])[0].perplexity
    )


def test_scores_of_pairs(gatework, translator, tmp_path):
    (tmp_path / "p.tsv").write_text("red cat\tblue\n\t\n", encoding="utf-8")
    want = package.load(translator).score([("red cat", "blue"), ("", "")])
    done = gatework("predict", translator, "--score", tmp_path / "p.tsv")
    assert done.lines == [f"{one.log_p:.4f}\t{one.perplexity:.4f}\t{one.tokens}" for one in want]
    found = gatework("predict", translator, "--score", "-", "--json", stdin=b"red cat\tblue\n").lines
    assert json.loads(found[0])["tokens"] == 2
    (tmp_path / "q.tsv").write_text("a\tb\nonly one\n", encoding="utf-8")
    done = gatework("predict", translator, "--score", tmp_path / "q.tsv")
    assert done.status == 2
    assert "q.tsv:2: expected a source and a target with a tab" in done.err


def test_the_alignment_is_drawn(gatework, translator, lines, tmp_path):
    pytest.importorskip("matplotlib")
    done = gatework("predict", translator, "blue dog", "--plot", tmp_path / "a.png")
    assert done.status == 0, done.err
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    done = gatework("predict", translator, lines, "--plot", tmp_path / "b.png")
    assert (done.status, "--plot draws one text" in done.err) == (2, True)
    done = gatework("predict", translator, "blue dog", "--plot", tmp_path / "a.jpg")
    assert (done.status, done.out, "a.jpg: pictures are PNG" in done.err) == (2, "", True)
    assert not (tmp_path / "a.jpg").exists()
    assert "empty text has nothing to draw" in gatework("predict", translator, "", "--plot", tmp_path / "b.png").err
    write_model(tmp_path / "blind.gw", WORDS, case="no attention")
    done = gatework("predict", tmp_path / "blind.gw", "red", "--plot", tmp_path / "b.png")
    assert (done.status, "no attention to draw" in done.err) == (2, True)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["red", "--stream"], "--stream is not for the task translate"),
        (["--prompt", "red"], "--prompt is not for the task translate"),
        (["red", "--set", "beam=3"], "option 'beam' is unknown"),
        (["red", "--set", "constraint.must=yellow"], "no tokens to write"),
        (["red", "--score", "x.tsv"], "--score FILE goes alone"),
    ],
)
def test_mistakes(gatework, translator, words, says):
    done = gatework("predict", translator, *words)
    assert done.status == 2
    assert says in done.err


def test_other_models_have_no_alignment(gatework, model, tmp_path):
    done = gatework("predict", model, "a text", "--plot", tmp_path / "a.png")
    assert (done.status, "--plot draws where a translation looked" in done.err) == (2, True)


def test_pairs_whose_training_file_was_the_other_way_round(gatework, tmp_path):
    """They are read as they say, and that is said."""
    formats = {"train": {"kind": "rows", "table": "tsv", "source": 1, "target": 0}}
    write_model(path := tmp_path / "m.gw", WORDS, facts={"formats": formats})
    (tmp_path / "p.tsv").write_text("red cat\tblue\n", encoding="utf-8")
    done = gatework("predict", path, "--score", tmp_path / "p.tsv")
    [want] = package.load(path).score([("red cat", "blue")])
    assert done.lines == [f"{want.log_p:.4f}\t{want.perplexity:.4f}\t{want.tokens}"]
    assert "in the training file the target stood first" in done.err


def test_what_is_cut_says_which_limit_it_was(gatework, translator):
    by_ratio = gatework("predict", translator, "red cat dog", "--set", "max_ratio=0.001", "--set", "min_tokens=10")
    by_tokens = gatework("predict", translator, "red cat dog", "--set", "max_tokens=1", "--set", "min_tokens=1")
    assert "--set max_ratio=4 lets them" in by_ratio.err
    assert "--set max_tokens=N with a larger N lets them" in by_tokens.err
