"""What `gatework predict` takes for a tagger: texts, tokens, JSON lines, columns, a running text, constraints."""

import gzip
import json

import numpy as np
import pytest

from gatework.cli.predict import LONG_LINE
from gatework.runtime import load
from taggers import CLASSES, SENTENCES, SPANS, tag_codec, write_tagger

TEXT = "Mr Smith met Ann Lee in New York . 😀 Ann"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A bundle with two layers of tags."""
    path = tmp_path_factory.mktemp("tagger") / "two.gw"
    write_tagger(path, codec=tag_codec(window=32), layers=(SPANS, CLASSES), decode={"cut": True})
    return path


def test_tokens_are_taken_as_they_are(gatework, tagger):
    model = load(tagger)
    lines = "".join(" ".join(tokens) + "\n" for tokens in SENTENCES) + "\n"
    done = gatework("predict", tagger, "-", "--format", "tokens", "--json", stdin=lines.encode())
    got = [json.loads(line) for line in done.lines]
    assert [[token["text"] for token in one["tokens"]] for one in got] == [*SENTENCES, []]
    for one, tokens in zip(got, SENTENCES, strict=False):
        assert [token["tag"] for token in one["tokens"]] == list(model.predict([tokens])[0].tags)


def test_json_lines_hold_texts_or_tokens(gatework, tagger, tmp_path):
    path = tmp_path / "in.jsonl"
    rows = [{"text": TEXT}, {"tokens": ["New York", "Ann"]}, {"tokens": []}, {"text": "half \ud83d"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n", encoding="utf-8")
    done = gatework("predict", tagger, path, "--json")
    assert "read as jsonl" in done.err
    got = [json.loads(line) for line in done.lines]
    assert len(got) == 5
    assert all(TEXT[one["start"] : one["end"]] == one["text"] for one in got[0]["tokens"])
    assert [one["text"] for one in got[1]["tokens"]] == ["New York", "Ann"]
    assert got[2]["tokens"] == got[4]["tokens"] == []
    assert [one["text"] for one in got[3]["tokens"]] == ["half", "?"]


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "not JSON"), ("[]", "not a JSON object"), ('{"x": 1}', 'neither "tokens"'), ('{"tokens": [1]}', "neither")],
)
def test_bad_json_names_the_line(gatework, tagger, line, message):
    stdin = f'{{"text": "Ann"}}\n{line}\n'.encode()
    done = gatework("predict", tagger, "-", "--format", "jsonl", stdin=stdin)
    assert done.status == 2
    assert done.err.startswith("gatework: standard input:2: ")
    assert message in done.err


def test_columns_in_columns_out(gatework, tagger, tmp_path):
    model = load(tagger)
    rows = "".join("".join(f"{token}\tX\n" for token in tokens) + "\n" for tokens in SENTENCES)
    path = tmp_path / "in.conll.gz"
    path.write_bytes(gzip.compress(("-DOCSTART-\tX\n\n" + rows).encode()))
    done = gatework("predict", tagger, path)
    assert "1 document marks" in done.err
    blocks = done.out.removesuffix("\n\n").split("\n\n")
    for block, tokens in zip(blocks, SENTENCES, strict=True):
        answer = model.predict([tokens])[0]
        want = zip(tokens, answer.tags, answer.layers[CLASSES.name], strict=True)
        assert [tuple(line.split("\t")) for line in block.split("\n")] == list(want)
    assert len(gatework("predict", tagger, path, "--json").lines) == len(SENTENCES)


def test_conllu_words(gatework, tagger, tmp_path):
    blank = "\t_" * 6
    rows = ["# text = don't", "1-2\tdon't\t_\t_" + blank, "1\tdo\t_\t_" + blank, "2\tn't\t_\t_" + blank]
    path = tmp_path / "in.conllu"
    path.write_text("\n".join(rows) + "\n\n", encoding="utf-8")
    done = gatework("predict", tagger, path)
    assert [line.split("\t")[0] for line in done.lines] == ["do", "n't", ""]
    assert "multiword" in done.err


def test_a_running_text(gatework, tagger):
    text = f"\ufeff{TEXT}\r\n\r\nAnn met Lee .\n\n"
    done = gatework("predict", tagger, "-", "--stream", "--json", stdin=text.encode())
    got = [json.loads(line) for line in done.lines]
    assert len(got) >= 3
    tokens = [token for one in got for token in one["tokens"]]
    whole = text.removeprefix("\ufeff")
    assert [whole[one["start"] : one["end"]] for one in tokens] == [one["text"] for one in tokens]
    assert [one["tag"] for one in tokens] == list(load(tagger).predict(whole).tags)


def test_a_running_text_of_another_encoding(gatework, tagger):
    done = gatework("predict", tagger, "-", "--stream", stdin="Ann\ncafé\n".encode("latin-1"))
    assert (done.status, done.err) == (2, "gatework: standard input:2: not UTF-8. Convert it first: iconv -t UTF-8.\n")


def test_a_long_line_is_one_line(gatework, tagger):
    words = sorted({word for tokens in SENTENCES for word in tokens})
    line = " ".join(np.random.default_rng(0).choice(words, LONG_LINE // 3))
    assert len(line) > LONG_LINE
    done = gatework("predict", tagger, "-", stdin=f"{line}\nAnn\n".encode())
    want = [one.to_line() for one in load(tagger).predict([line, "Ann"])]
    assert [_names(one) for one in done.lines] == [_names(one) for one in want]


def _names(line):
    """Texts and labels: scores of pieces differ in their last digits."""
    fields = line.split("\t")
    return [*zip(fields[::3], fields[1::3], strict=True)]


def test_tags_that_are_fixed_and_forbidden(gatework, tagger):
    def tags(*allow):
        done = gatework(
            "predict", tagger, "Mr Smith met Ann", "--json", *[part for one in allow for part in ("--allow", one)]
        )
        return [token["tag"] for token in json.loads(done.out)["tokens"]]

    assert tags("0:8=PER", "13=B-LOC")[:2] == ["B-PER", "I-PER"]
    assert tags("0:8=PER", "13=B-LOC")[3] == "B-LOC"
    assert tags("0:16=") == ["O"] * 4
    assert tags("13=O,B-PER,-PER", "0:8=LOC")[:2] == ["B-LOC", "I-LOC"]
    assert not any("PER" in tag for tag in tags("0=-PER", "3=-PER", "9=-PER", "13=-PER"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--allow", "PER"], "--allow 'PER': write PLACE=TAG"),
        (["--allow", "1:2:3=PER"], "write PLACE=TAG"),
        (["--allow", "0=PER", "--allow", "0=O"], "given twice"),
        (["--allow", "99=PER"], "there is no token at 99"),
        (["--allow", "0=NAME"], "there is no tag 'NAME'. Known: B-LOC, B-PER, I-LOC, I-PER, LOC, O, PER."),
        (["--format", "xml"], "--format 'xml' is unknown. Known: conll, conllu, jsonl, text, tokens."),
        (["--format", "conll"], "--format conll reads a file"),
        (["--stream", "--allow", "0=O"], "--stream reads running text"),
        (["--stream", "--top-k", "2"], "top_k and allow are about whole texts"),
    ],
)
def test_mistakes(gatework, tagger, options, message):
    done = gatework("predict", tagger, "Ann", *options)
    assert done.status == 2
    assert message in done.err
    assert done.out == ""


@pytest.mark.parametrize("options", [["--stream"], ["--allow", "0=O"], ["--format", "tokens"]])
def test_classifiers_have_none_of_this(gatework, model, options):
    done = gatework("predict", model, "great film", *options)
    assert done.status == 2
    assert options[0] in done.err
