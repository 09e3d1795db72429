"""Every problem is reported, at its place."""

from __future__ import annotations

import json

import pytest

from gatework.text import Settings, check

GOOD = (
    "pos\tA stirring and funny film\nneg\tDull from end to end\npos\tRight in every tone\nneg\tIt wastes its talents\n"
)


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def found(report, severity=None):
    return [(p.kind, p.line) for p in report.problems if severity in (None, p.severity)]


def test_good_files_have_no_problems(tmp_path):
    train = write(tmp_path / "train.tsv", GOOD)
    test = write(tmp_path / "test.tsv", "pos\tQuite another text\nneg\tAnd one more of them\n")
    report = check({"train": train, "test": test})
    assert report.ok
    assert not report.problems
    first = report.files[0]
    assert (first.role, first.examples, first.labels) == ("train", 4, {"pos": 2, "neg": 2})
    assert first.tokens["median"] == 4.5
    assert first.characters["max"] == 25
    said = "\n".join(report.lines())
    assert "4 examples; labels: pos 2, neg 2" in said
    assert "TSV, no header, text in column 2, label in column 1" in said
    assert said.endswith("0 errors, 0 warnings")
    assert json.loads(json.dumps(report.to_dict()))["files"][1]["examples"] == 2


def test_everything_wrong_with_one_file(tmp_path):
    lines = [
        b"pos\tA stirring and funny film",  # 1
        b"neg\tDull from end to end",  # 2
        b"pos\tA stirring and funny film",  # 3 duplicate
        b"neg\tA stirring  and funny film",  # 4 duplicate with another label
        b"pos\t",  # 5 empty
        b"neg\tnul \x00 inside",  # 6
        b"pos\tbroken \xff\xfe bytes",  # 7
        b"one column",  # 8
        b"",  # 9
        b"\tno label",  # 10
        b"Pos\tcase differs",  # 11, and the label occurs once
        b"neg\t" + b"long " * 300_000,  # 12
        b"pos\t\xef\xbf\xbd replaced",  # 13
        b"neg\t\x01\x02",  # 14 nothing visible
        b"neg\tto\tomany",  # 15
    ]
    report = check(write(tmp_path / "train.tsv", b"\n".join(lines) + b"\n"), Settings(header=False))
    assert not report.ok
    errors = found(report, "error")
    assert {("unreadable", 7), ("unreadable", 8), ("unreadable", 10), ("unreadable", 15), ("rare label", 11)} == set(
        errors
    )
    warnings = set(found(report, "warning"))
    assert warnings >= {
        ("duplicate", 3),
        ("conflict", 4),
        ("empty text", 5),
        ("NUL", 6),
        ("blank line", 9),
        ("label", 11),
        ("long text", 12),
        ("encoding", 13),
        ("empty text", 14),
    }
    said = "\n".join(report.lines())
    assert "train.tsv:4: warning: label 'neg' here, 'pos' for the same text at line 1." in said
    assert "train.tsv:7: error: not utf-8" in said
    assert report.files[0].examples == 10


def test_between_files(tmp_path):
    train = write(tmp_path / "train.tsv", GOOD)
    test = write(tmp_path / "test.tsv", "pos\tdull from end to end\nneg\tDull from end to end\nneutral\tSo so it is\n")
    report = check([train, test])
    assert {("leakage", 2), ("unknown label", 3)} == set(found(report))
    assert "the same text stands at" in str(report.problems[-1])
    conflict = write(tmp_path / "dev.tsv", "pos\tDull from end to end\nneg\tother words\n")
    kinds = found(check({"train": train, "dev": conflict}))
    assert ("leakage", 1) in kinds
    assert ("conflict", 1) in kinds


def test_a_rare_label_is_an_error_only_where_dev_is_held_back(tmp_path):
    train = write(tmp_path / "train.tsv", GOOD + "odd\tOnly here and never again\n")
    dev = write(tmp_path / "dev.tsv", "pos\tother text\nneg\tother words\n")
    assert found(check({"train": train}), "error") == [("rare label", 5)]
    assert found(check({"train": train, "dev": dev})) == [("rare label", 5)]
    assert check({"train": train, "dev": dev}).ok


def test_one_class_only(tmp_path):
    report = check(write(tmp_path / "t.tsv", "pos\tone text here\npos\ttwo texts here\n"))
    assert found(report, "error") == [("labels", 0)]
    assert "at least two labels are needed" in report.errors[0].message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", b"", r"t\.csv:1: error: the file is empty"),
        ("t.csv", b"text,label\n", "no example|one column|a text and a label|could be a label"),
        ("t.tsv", b"a\0\t\0b\0", "NUL bytes"),
        ("t.tsv.gz", b"\x1f\x8b\x08\0\0", "the gzip file is cut off"),
        ("t.txt", b"words only\n", "cannot tell its format"),
    ],
)
def test_files_that_cannot_be_read_at_all(tmp_path, name, text, message):
    import re

    report = check(write(tmp_path / name, text))
    assert not report.ok
    assert re.search(message, str(report.errors[0]))


def test_a_missing_file_does_not_hide_the_other(tmp_path):
    report = check({"train": write(tmp_path / "train.tsv", GOOD + "x\n"), "test": tmp_path / "tset.tsv"})
    assert found(report, "error") == [("unreadable", 5), ("unreadable", 0)]
    assert report.files[0].examples == 4


def test_gzip_cut_in_the_middle_is_said_once(tmp_path):
    import gzip
    import random

    random.seed(3)
    body = "".join(f"{'ab'[n % 2]}\ttext number {random.random()}\n" for n in range(50_000))
    path = write(tmp_path / "t.tsv.gz", gzip.compress(body.encode())[:-4000])
    errors = check(path).errors
    assert len(errors) == 1
    assert errors[0].line > 20_000
    assert "cut off" in errors[0].message


def test_many_problems_of_a_kind_are_counted(tmp_path):
    report = check(write(tmp_path / "t.tsv", GOOD * 20))
    said = list(report.lines())
    assert sum("the same text as line" in line for line in said) == 10
    assert any("and 66 more of kind 'duplicate'" in line for line in said)
    assert len(report.problems) == 76
