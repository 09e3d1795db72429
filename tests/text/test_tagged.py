"""Readers of tagged text: columns, CoNLL-U, JSON lines; what is told apart, refused, counted; the check."""

import gzip
import json
import random
from collections import Counter

import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import SCHEMES, from_inside, spans
from gatework.text import TagDefaults, infer_tagged, read_tagged
from gatework.text.tagged_checks import check_tagged
from gatework.text.tagged_layout import looks_tagged

NER = "EU\tNNP\tB-ORG\nrejects\tVBZ\tO\n\nPeter\tNNP\tB-PER\nBlackburn\tNNP\tI-PER\n"


def write(folder, text, name="train.conll"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, counts=None, **data):
    return list(read_tagged(path, infer_tagged(path, TagDefaults(**data)), left_out=counts))


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tabbed_columns(tmp_path):
    first, second = read(write(tmp_path, NER))
    assert first.tokens == ("EU", "rejects")
    assert first.tags == (("S-ORG", "O"),)
    assert (second.tokens, second.tags, second.line) == (("Peter", "Blackburn"), (("B-PER", "E-PER"),), 4)


@pytest.mark.parametrize(
    "text",
    [
        NER.replace("\t", " "),
        NER.replace("\t", "  "),
        NER.replace("\n", "\r\n"),
        "\ufeff" + NER,
        "\n\n" + NER + "\n\n\n",
        NER.rstrip("\n"),
        "-DOCSTART-\t-X-\tO\n\n" + NER,
        "# a comment\n" + NER,
    ],
)
def test_the_same_however_it_is_written(tmp_path, text):
    want = [(one.tokens, one.tags) for one in read(write(tmp_path, NER, "a.conll"))]
    assert [(one.tokens, one.tags) for one in read(write(tmp_path, text))] == want


def test_gzip(tmp_path):
    assert len(read(write(tmp_path, gzip.compress(NER.encode()), "train.conll.gz"))) == 2


def test_columns_by_position_and_name(tmp_path):
    path = write(tmp_path, NER)
    assert read(path, label=1)[0].tags == (("NNP", "VBZ"),)
    assert read(path, label=-1, also=(1,))[0].tags == (("S-ORG", "O"), ("NNP", "VBZ"))
    assert read(path, text=1, label=2)[0].tokens == ("NNP", "VBZ")
    named = write(tmp_path, "# global.columns = FORM POS NER\n" + NER, "named.conll")
    assert read(named, label="NER", also=("POS",))[0].tags == (("S-ORG", "O"), ("NNP", "VBZ"))
    headed = write(tmp_path, "FORM\tPOS\tNER\n" + NER, "headed.conll")
    assert read(headed, header=True, text="FORM", label="POS")[0].tags == (("NNP", "VBZ"),)


def test_document_marks_are_counted(tmp_path):
    counts = Counter()
    read(write(tmp_path, "-DOCSTART- -X- O\n\nEU NNP B-ORG\n\n-DOCSTART- -X- O\n\nit PRP O\n"), counts)
    assert counts["document marks"] == 2


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        ("", {}, r":1: the file is empty"),
        ("\n \n\n", {}, r":1: the file is empty"),
        ("one\ntwo\n\n", {}, r"one column only"),
        ("a\tO\nb\tO\tO\nc\tO\n", {}, r":2: 3 columns where 2 are expected"),
        ("a O\nb\nc O\nd O\n", {}, r":2: 1 column where 2 are expected"),
        ("a\tO\n\tO\n", {}, r":2: the token is empty"),
        ("a\tO\n \tO\n", {}, r":2: the token is empty"),
        ("a\tO\nb\t\n", {}, r":2: token 'b' has no tag"),
        ("a\tO\n\t\nb\tO\n", {}, r":2: 2 empty cells"),
        ("a\tO\nb\tI-X\n", {"scheme": "bio", "repair": False}, r":2: I-X after O"),
        ("a\tB-X\nb\tO\n", {"scheme": "bioes", "repair": False}, r":2: B-X before O"),
        ("a\tE-X\nb\tO\n", {"scheme": "bio"}, r":1: tag 'E-X' is none of the scheme bio"),
        ("a\tO\nb\tI-X\n\nc\tO\nd\tB-X\n", {}, r"neither bio nor iob1: line 2 .* line 5"),
        ("a\tB-X\nb\tI-X\nc\tE-X\n\nd\tM-X\ne\tE-X\n", {}, r"I- \(line 2\) and M- \(line 5\)"),
        (NER, {"label": 7}, r":1: no column 7 \(data.label\): rows have 3"),
        (NER, {"label": "NER"}, r"no columns are named"),
        (NER, {"label": 0}, r"data.text and data.label are both column 1"),
        (NER.encode("utf-16"), {}, r":1: .*UTF-16"),
        ("茶\tO\n".encode("gb18030"), {}, r":1: not utf-8.*gb18030"),
        ("a\tO\rb\tO\r", {}, r"lone carriage returns"),
    ],
)
def test_what_is_refused_with_its_line(tmp_path, text, data, message):
    with pytest.raises((DataError, ConfigError), match=message):
        read(write(tmp_path, text), **data)


def test_odd_tags_are_read_as_conlleval_reads_them_and_counted(tmp_path):
    counts = Counter()
    text = "a\tO\nb\tB-X\nc\tI-X\n\n" * 60 + "d\tI-X\ne\tB-Y\nf\tI-X\n"
    found = read(write(tmp_path, text), counts)
    assert spans(found[-1].tags[0]) == [(0, 1, "X"), (1, 2, "Y"), (2, 3, "X")]
    [(what, count)] = counts.items()
    assert "conlleval" in what
    assert count == 2


def test_unknown_tags(tmp_path):
    path = write(tmp_path, "a\tB-X\nb\t?\nc\tO\n\nd\t\ne\tB-X\nf\tO\n")
    first, second = read(path, unknown="?", scheme="bio")
    assert first.tags == ((None, None, "O"),), "whether B-X ends before ? nobody knows"
    assert second.tags == ((None, "S-X", "O"),)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_there_and_back_in_every_scheme(tmp_path, scheme):
    """A file converted to the inner scheme and written again is the file."""
    rng = random.Random(4)
    sentences = []
    for _ in range(60):
        tags, kind = [], None
        for _ in range(rng.randint(1, 9)):
            kind = rng.choice(["A", "B"]) if kind is None or rng.random() < 0.5 else kind
            tags += ["O"] * rng.randint(0, 2)
            length = rng.randint(1, 3)
            tags += ["S-" + kind] if length == 1 else ["B-" + kind, *["I-" + kind] * (length - 2), "E-" + kind]
        sentences.append([("w", tag) for tag in from_inside(tags, scheme)])
    text = "\n".join("".join(f"{a}\t{b}\n" for a, b in one) for one in sentences)
    path = write(tmp_path, text)
    found = infer_tagged(path)
    assert found.schemes == (scheme,)
    again = [
        "".join(f"{a}\t{b}\n" for a, b in zip(one.tokens, from_inside(one.tags[0], scheme), strict=True))
        for one in read_tagged(path, found)
    ]
    assert "\n".join(again) == text


def test_words_become_their_characters(tmp_path):
    [one] = read(write(tmp_path, "中国\tns\n人\tn\n,\tw\n"), segment=True)
    assert one.tokens == ("中", "国", "人", ",")
    assert one.tags == (("B-ns", "E-ns", "S-n", "S-w"),)
    [bare] = read(write(tmp_path, "中国\n人\n", "words.conll"), segment=True)
    assert bare.tags == (("B", "E", "S"),)


def test_a_sentence_of_50_000_tokens(tmp_path):
    [one] = read(write(tmp_path, "x\tO\n" * 49_999 + "y\tB-A\n"))
    assert len(one.tokens) == 50_000
    assert one.tags[0][-1] == "S-A"


def test_a_line_of_ten_megabytes_and_nul(tmp_path):
    [one] = read(write(tmp_path, "x" * 10_000_000 + "\tO\na\0b\tB-A\n"))
    assert len(one.tokens[0]) == 10_000_000
    assert one.tokens[1] == "a\0b"


# ── CoNLL-U ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CONLLU = """# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
3\ta\ta\tADP\tE\t_\t5\tcase\t_\t_
3.1\tgone\tgo\tVERB\tV\t_\t_\t_\t_\t_

# second
1\tmar\tmar\tNOUN\tN\t_\t0\troot\t_\t_
"""


def test_conllu(tmp_path):
    counts = Counter()
    path = write(tmp_path, CONLLU, "a.conllu")
    first, second = read(path, counts)
    assert first.tokens == ("vamos", "nos", "a")
    assert first.tags == (("VERB", "PRON", "ADP"),)
    assert (first.line, second.line) == (3, 9)
    assert counts == {"comments": 2, "multiword tokens (their words are read)": 1, "empty nodes": 1}
    assert read(path, text="LEMMA", label="XPOS")[0].tags == (("V", "P", "E"),)
    assert infer_tagged(write(tmp_path, CONLLU, "b.txt")).kind == "conllu", "ten columns and an ID"


def test_conllu_wrong_id(tmp_path):
    with pytest.raises(DataError, match=r":5: ID 4 where 3 is expected"):
        read(write(tmp_path, CONLLU.replace("\n3\ta", "\n4\ta"), "a.conllu"))


# ── JSON lines ──────────────────────────────────────────────────────────────────────────────────────────────────────


def cut_words(text):
    from gatework.text.units import pieces

    return pieces("word", text)


def read_json(folder, *records, counts=None, **data):
    path = write(folder, "".join(json.dumps(one) + "\n" for one in records), "a.jsonl")
    return list(read_tagged(path, infer_tagged(path, TagDefaults(**data)), left_out=counts, cut=cut_words))


def test_spans_by_character(tmp_path):
    text = "😀 Ａda née\u0301e in 北京."
    records = {"text": text, "spans": [[2, 5, "PER"], {"start": 15, "end": 17, "label": "LOC"}]}
    [one] = read_json(tmp_path, records)
    assert one.text == text
    assert [text[start:end] for start, end in one.offsets] == list(one.tokens)
    assert [(one.tokens[a:b], kind) for a, b, kind in spans(one.tags[0])] == [(("Ａda",), "PER"), (("北", "京"), "LOC")]


def test_tokens_and_tags(tmp_path):
    [one] = read_json(tmp_path, {"tokens": ["a", "b", "c"], "tags": ["B-X", None, "O"]}, scheme="bio")
    assert one.tags == ((None, None, "O"),)


@pytest.mark.parametrize(
    ("record", "data", "message"),
    [
        ({"text": "ab cd", "spans": [[0, 5, "X"], [3, 5, "Y"]]}, {}, r"\[0, 5, 'X'\].*\[3, 5, 'Y'\].*overlap"),
        ({"text": "ab", "spans": [[0, 9, "X"]]}, {}, "does not lie in the text of 2"),
        ({"text": "ab", "spans": [[1, 1, "X"]]}, {}, "does not lie"),
        ({"text": "ab", "spans": [[0, 1]]}, {}, "is no span"),
        ({"text": "ab", "spans": [[True, 1, "X"]]}, {}, "is no span"),
        ({"text": "ab", "spans": "X"}, {}, "must be a list of spans"),
        ({"text": 3, "spans": []}, {}, "must be a string"),
        ({"text": "abc", "spans": [[1, 2, "X"]]}, {"repair": False}, "begins or ends inside a token"),
        ({"tokens": ["a"], "tags": ["O", "O"]}, {}, "2 tags in 'tags' for 1 tokens"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, {}, "token 1 is empty"),
        ({"tokens": ["a", 1], "tags": ["O", "O"]}, {}, "must be a list of strings"),
        ({"words of": 1}, {}, "none of the keys"),
        ([1], {}, "expected a JSON object"),
    ],
)
def test_json_that_is_refused_with_its_line(tmp_path, record, data, message):
    sound = {"tokens": ["ab"], "tags": ["B-Y"]} if "tokens" in record else {"text": "ab", "spans": [[0, 2, "Y"]]}
    records = [record] if "words of" in record or isinstance(record, list) else [sound, record]
    with pytest.raises(DataError, match=rf":{len(records)}: .*{message}"):
        read_json(tmp_path, *records, **data)


def test_a_span_inside_a_token_is_widened_and_counted(tmp_path):
    counts = Counter()
    [one] = read_json(tmp_path, {"text": "abc def", "spans": [[1, 2, "X"], [4, 7, "Y"]]}, counts=counts)
    assert one.tags == (("S-X", "S-Y"),)
    assert counts == {"spans that begin or end inside a token, widened to whole tokens": 1}


def test_half_a_surrogate_pair_in_json(tmp_path):
    path = write(tmp_path, '{"text": "a \\ud83d b", "spans": [[0, 1, "X"]]}\n', "a.jsonl")
    [one] = read_tagged(path, infer_tagged(path), cut=cut_words)
    assert one.tokens == ("a", "\ufffd", "b")


# ── what a file is for ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "text", "tagged"),
    [
        ("a.conll", "", True),
        ("a.txt", NER, True),
        ("a.txt", "a B-X\nb I-X\n\nc O\n\nd O\n\n", True),
        ("a.jsonl", '{"text": "a", "spans": [[0, 1, "X"]]}\n', True),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n', True),
        ("a.jsonl", '{"text": "a", "label": "x"}\n', False),
        ("a.tsv", "good\ta film\nbad\tno film\n", False),
        ("a.txt", "__label__x some text\n\n__label__y other\n", False),
    ],
)
def test_what_looks_tagged(tmp_path, name, text, tagged):
    text = text + "\n" + text if text == NER else text
    assert (looks_tagged(write(tmp_path, text, name)) is not None) == tagged


# ── the check ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_names_every_problem_with_its_line(tmp_path):
    train = write(
        tmp_path,
        "-DOCSTART-\tO\n\n"
        + "a\tB-X\nb\tI-X\nc\tO\n\n" * 3  # 3 .. 14
        + "d\tO\ne\tI-X\n\n"  # 15, 16
        + "f\tO\textra\n\n"  # 18
        + "\tO\n\n"  # 20
        + "g\tB-Z\nh\0\tO\n",  # 22, 23
    )
    dev = write(tmp_path, "a\tB-X\nb\tI-X\nc\tO\n\nnew\tB-W\n", "dev.conll")
    report = check_tagged({"train": train, "dev": dev})
    said = {(problem.path, problem.line, problem.kind, problem.severity) for problem in report.problems}
    assert said >= {
        (str(train), 16, "tag", "warning"),
        (str(train), 18, "unreadable", "error"),
        (str(train), 20, "unreadable", "error"),
        (str(train), 23, "NUL", "warning"),
        (str(train), 22, "rare tag", "warning"),
        (str(dev), 1, "leakage", "warning"),
        (str(dev), 5, "unknown tag", "warning"),
    }
    first, second = report.files
    assert first.spans == {"X": 4, "Z": 1}
    assert first.notes == ["1 document marks"]
    assert second.notes == [
        "1 of 4 tokens (25.0%) are words that training does not have",
        "1 of 2 spans (50.0%) are none of training's",
    ]
    assert "5 spans: X 4, Z 1" in "\n".join(report.lines())
    json.dumps(report.to_dict())
    strict = check_tagged({"train": train}, TagDefaults(repair=False))
    assert [problem.line for problem in strict.errors if problem.kind == "tag"] == [16]


def test_check_of_a_scheme_that_cannot_be_told(tmp_path):
    path = write(tmp_path, "a\tO\nb\tI-X\n\nc\tO\nd\tB-X\n")
    report = check_tagged({"train": path})
    assert [(problem.line, "neither bio nor iob1" in problem.message) for problem in report.errors] == [(2, True)]
    assert [(problem.line, problem.severity) for problem in report.problems if problem.kind == "tag"] == [
        (2, "warning")
    ]


def test_check_lists_every_row_of_a_file_without_a_sound_sentence(tmp_path):
    path = write(tmp_path, "1\ta\n\nx" + "\t_" * 9 + "\n", "bad.conllu")
    assert [problem.line for problem in check_tagged({"train": path}).errors] == [1, 3]


def test_check_names_spans_that_it_would_widen(tmp_path):
    rows = [
        {"text": "Ann's Lee", "spans": [[0, 3, "PER"]]},  # cut as treebanks do
        {"text": "Ann Lee", "spans": [[0, 5, "PER"]]},
    ]
    path = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "spans.jsonl")
    problems = check_tagged({"train": path}).problems
    assert [(one.line, one.severity) for one in problems if one.kind == "widened span"] == [(2, "warning")]


def test_check_lists_ten_of_a_kind_or_all(tmp_path):
    report = check_tagged({"train": write(tmp_path, "a\tB-X\nb\tI-X\n\n" * 500 + "c\tI-X\n\n" * 12)})
    assert sum("no span of type" in line for line in report.lines()) == 10
    assert any("2 more of kind 'tag' (`--all` lists them)" in line for line in report.lines())
    assert sum("no span of type" in line for line in report.lines(every=True)) == 12


@pytest.mark.parametrize("text", ["", "word\n", b"\xff\xfe\x00", "a\tO\n\t\n"])
def test_check_never_raises(tmp_path, text):
    assert not check_tagged({"train": write(tmp_path, text)}).ok
