"""What a file is taken for, and what is read from it."""

from __future__ import annotations

import csv
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import DataSection
from gatework.text import Format, Settings, infer, read_examples, read_texts, text_key
from gatework.text.rows import split_fasttext

ENGLISH = [
    ("pos", "A stirring, funny and finally transporting re-imagining of beauty."),
    ("neg", 'They "presume" their audience won\'t sit still for a lesson.'),
    ("pos", "Campanella gets the tone just right."),
    ("neg", "It takes a strange kind of laziness to waste the talents."),
] * 5
CHINESE = [
    ("体育", "中国队在决赛中获胜，夺得冠军"),
    ("财经", "沪指今日收盘上涨，成交放量"),
    ("体育", "姚明退役仪式在上海举行"),
] * 5


def write(path, text, encoding="utf-8"):
    data = text if isinstance(text, bytes) else text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows(separator, examples, *, header=None, columns=lambda label, text, n: (label, text)):
    lines = [separator.join(header)] if header else []
    return "\n".join([*lines, *(separator.join(columns(*one, n)) for n, one in enumerate(examples))]) + "\n"


def as_csv(path, table):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    return path


def read(path, data=None, **options):
    return [(one.labels, one.text) for one in read_examples(path, data, **options)]


def pairs(examples):
    return [((label,), text) for label, text in examples]


class TestInference:
    @pytest.mark.parametrize("name", ["train.tsv", "train.tsv.gz", "train.txt", "train"])
    def test_label_first_without_header(self, tmp_path, name):
        path = write(tmp_path / name, rows("\t", ENGLISH))
        found = infer(path)
        assert (found.kind, found.header, found.label, found.text, found.language) == ("tsv", None, 0, 1, "en")
        assert read(path) == pairs(ENGLISH)
        assert "TSV, no header, text in column 2, label in column 1" in found.describe()

    def test_three_columns_with_stars(self, tmp_path):
        """As IMDb here: label, star score, review."""
        path = write(tmp_path / "t.tsv", rows("\t", ENGLISH, columns=lambda l, t, n: (l, str(n % 9), t)))
        assert (infer(path).label, infer(path).text) == (0, 2)
        assert read(path) == pairs(ENGLISH)

    def test_fold_before_label(self, tmp_path):
        path = write(tmp_path / "t.tsv", rows("\t", ENGLISH, columns=lambda l, t, n: (str(n % 10), l, t)))
        assert (infer(path).label, infer(path).text) == (1, 2)

    def test_chinese_with_a_kind_column(self, tmp_path):
        path = write(tmp_path / "t.tsv", rows("\t", CHINESE, columns=lambda l, t, n: (l, f"类{n % 5}", t)))
        found = infer(path)
        assert (found.label, found.text, found.language) == (0, 2, "zh")
        assert "Chinese" in found.describe()

    def test_a_constant_column_is_no_label(self, tmp_path):
        path = write(tmp_path / "t.tsv", rows("\t", ENGLISH, columns=lambda l, t, n: ("train", t, l)))
        assert (infer(path).label, infer(path).text) == (2, 1)

    def test_long_labels_and_identifiers_are_no_texts(self, tmp_path):
        names = {"pos": "Educational Institution of Higher Learning", "neg": "Means of Public Transportation"}
        short = [(names[label], f"Line {n}") for n, (label, _) in enumerate(ENGLISH)]
        found = infer(write(tmp_path / "t.tsv", rows("\t", short, columns=lambda l, t, n: (f"{n:032x}", l, t))))
        assert (found.label, found.text) == (1, 2)
        assert infer(write(tmp_path / "u.tsv", "a\tx\na\ty\na\tz\n")).text == 1

    def test_csv_with_header_and_quotes(self, tmp_path):
        table = [["id", "review", "sentiment"], *([str(n), text, label] for n, (label, text) in enumerate(ENGLISH))]
        path = as_csv(tmp_path / "t.csv", table)
        found = infer(path)
        assert (found.kind, found.delimiter, found.header) == ("csv", ",", ("id", "review", "sentiment"))
        assert read(path) == pairs(ENGLISH)
        assert (
            "header id, review, sentiment, text in column 2 (review), label in column 3 (sentiment)" in found.describe()
        )
        assert "the first line names 'review', 'sentiment'" in found.describe()

    @pytest.mark.parametrize("delimiter", [";", "\t", "|"])
    def test_other_csv_delimiters(self, tmp_path, delimiter):
        text = rows(delimiter, [(label, f'"{body.replace(chr(34), chr(34) * 2)}"') for label, body in ENGLISH])
        path = write(tmp_path / "t.csv", text)
        assert infer(path).delimiter == delimiter
        assert read(path) == pairs(ENGLISH)

    def test_a_csv_that_is_a_tsv(self, tmp_path):
        path = write(tmp_path / "t.csv", rows("\t", [("a", "one two three"), ("b", "four five six")] * 9))
        assert infer(path).kind == "tsv"
        assert "named .csv, but split by tabs" in infer(path).describe()

    def test_an_unknown_header_is_found(self, tmp_path):
        path = write(tmp_path / "t.tsv", rows("\t", ENGLISH, header=("urteil", "besprechung")))
        assert infer(path).header == ("urteil", "besprechung")
        assert "the first line is like no other" in infer(path).describe()
        assert read(path) == pairs(ENGLISH)

    def test_a_first_line_that_only_looks_like_a_header(self, tmp_path):
        examples = [
            ("topic", "title"),
            *(("topic" if n % 3 else "question", text) for n, (_, text) in enumerate(ENGLISH)),
        ]
        assert infer(write(tmp_path / "t.tsv", rows("\t", examples))).header is None
        short = [("a", "yes"), *(("ab"[n % 2], "no way at all") for n in range(20))]
        assert infer(write(tmp_path / "u.tsv", rows("\t", short))).header is None

    def test_json_lines(self, tmp_path):
        lines = [
            json.dumps({"id": f"n{n}", "category": l, "title": t[:9], "text": t}) for n, (l, t) in enumerate(ENGLISH)
        ]
        path = write(tmp_path / "t.jsonl.gz", "\n".join(lines))
        found = infer(path)
        assert (found.kind, found.text, found.label) == ("jsonl", "text", "category")
        assert read(path) == pairs(ENGLISH)
        assert infer(write(tmp_path / "noname", "\n".join(lines))).kind == "jsonl"

    def test_json_lines_with_unknown_keys(self, tmp_path):
        lines = [json.dumps({"nr": n, "art": n % 2 == 0, "satz": t}) for n, (_, t) in enumerate(ENGLISH * 2)]
        path = write(tmp_path / "t.jsonl", "\n".join(lines))
        assert (infer(path).text, infer(path).label) == ("satz", "art")
        assert read(path)[0] == (("true",), ENGLISH[0][1])

    def test_json_lists_are_several_labels(self, tmp_path):
        lines = [json.dumps({"text": t, "labels": [l, "x"][: n % 3]}) for n, (l, t) in enumerate(ENGLISH)]
        path = write(tmp_path / "t.jsonl", "\n".join(lines))
        assert infer(path).multi_label
        assert [labels for labels, _ in read(path)][:3] == [(), ("neg",), ("pos", "x")]

    @pytest.mark.parametrize("name", ["train.txt", "train.ft", "train.csv"])
    def test_fasttext(self, tmp_path, name):
        path = write(tmp_path / name, "".join(f"__label__{label} {text}\n" for label, text in ENGLISH))
        assert infer(path).kind == "fasttext"
        assert not infer(path).multi_label
        assert read(path) == pairs(ENGLISH)

    def test_fasttext_with_several_labels(self, tmp_path):
        path = write(tmp_path / "t.txt", "__label__a __label__b one\n__label__a\ttwo\nthree __label__c\n")
        assert infer(path).multi_label
        assert read(path) == [(("a", "b"), "one"), (("a",), "two"), (("c",), "three")]
        assert "some lines have several labels" in infer(path).describe()

    def test_label_separator(self, tmp_path):
        data = Settings(label_separator="|")
        path = write(tmp_path / "t.tsv", "a|b\tone text\n\ttwo texts\nb| a|b\tthree texts\n")
        assert read(path, data) == [(("a", "b"), "one text"), ((), "two texts"), (("b", "a"), "three texts")]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("t.txt", "just words\nmore words\n", "cannot tell its format.*Set data.format"),
            ("t.json", '[{"text": "a"}]', "one JSON array. Write one JSON object a line"),
            ("t.tsv", "one column\nonly\n", "one column only, 'one column'; a text and a label are needed"),
            ("t.csv", "", "the file is empty"),
            ("t.csv", "\n\n  \n", "the file is empty"),
            ("t.tsv", b"\xef\xbb\xbf", "the file is empty"),
            ("t.jsonl", '{"a": 1}\n{"a": 2}\n', "no key holds text"),
            (
                "t.tsv",
                rows("\t", [(f"label{n}", f"a text of words, {n}") for n in range(60)]),
                "no column looks like a label",
            ),
            ("t.tsv", "a\tb c\rb\td e\r", "lines end in lone carriage returns"),
            ("t.tsv", b"\x00a\x00b\x00\t\x00c\n", "full of NUL bytes: not text, or UTF-16"),
            ("t.tsv", "a\tb\n".encode("utf-16"), "begins with the mark of UTF-16. Set data.encoding = 'utf-16'"),
        ],
    )
    def test_what_cannot_be_told(self, tmp_path, name, text, message):
        with pytest.raises(DataError, match=rf"{name}:1: .*{message}"):
            infer(write(tmp_path / name, text))


class TestSettings:
    """What the user says counts, and must be there."""

    TABLE = rows("\t", ENGLISH, header=("stars", "verdict", "body"), columns=lambda l, t, n: (str(n % 7), l, t))

    def test_columns_by_name_and_position(self, tmp_path):
        path = write(tmp_path / "t.tsv", self.TABLE)
        by_name = read(path, DataSection(text="body", label="verdict"))
        assert (
            by_name == read(path, DataSection(text=-1, label=1)) == read(path, Settings(header=True)) == pairs(ENGLISH)
        )
        assert read(path, DataSection(label="stars"))[1] == (("1",), ENGLISH[1][1])

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"text": "bodi"}, r"no column 'bodi' \(data.text\).*Known: body, stars, verdict. Did you mean 'body'\?"),
            ({"label": 3}, r"data.label = 3, but there are 3 columns. Use 0 to 2, or -1"),
            ({"label": -4}, r"data.label = -4"),
            ({"label": "body", "text": "body"}, "data.text and data.label are the same column"),
            ({"text": "body", "header": False}, "data.header is off, so there is no column 'body'"),
            ({"format": "jsonl"}, "not JSON"),
        ],
    )
    def test_what_is_not_there(self, tmp_path, said, message):
        with pytest.raises(DataError, match=rf"t\.tsv:1: .*{message}"):
            infer(write(tmp_path / "t.tsv", self.TABLE), Settings(**said))

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"text": "txt"}, r"no key 'txt' \(data.text\) in the objects. Known: label, text. Did you mean 'text'"),
            ({"label": 0}, "data.label = 0, but JSON objects have keys"),
        ],
    )
    def test_keys_that_are_not_there(self, tmp_path, said, message):
        with pytest.raises(DataError, match=message):
            infer(write(tmp_path / "t.jsonl", '{"text": "a b", "label": "x"}\n'), Settings(**said))

    def test_header_off_reads_the_first_line(self, tmp_path):
        path = write(tmp_path / "t.tsv", rows("\t", [("label", "text"), *ENGLISH]))
        assert len(read(path)) == 20
        assert len(read(path, Settings(header=False))) == 21

    @pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig"])
    def test_encodings(self, tmp_path, encoding):
        examples = ENGLISH if encoding == "latin-1" else [("a", "今天的天氣"), ("b", "北京大學")] * 3
        path = write(tmp_path / "t.tsv", rows("\t", examples), encoding)
        assert read(path, Settings(encoding=encoding)) == pairs(examples)

    def test_an_unknown_encoding(self, tmp_path):
        with pytest.raises(ConfigError, match=r"data\.encoding 'utf8x' is unknown"):
            infer(write(tmp_path / "t.tsv", "a\tb\n"), Settings(encoding="utf8x"))

    def test_language_said(self, tmp_path):
        assert infer(write(tmp_path / "t.tsv", rows("\t", ENGLISH)), Settings(language="zh")).language == "zh"


class TestFilesBesideTheTrainingFile:
    def test_columns_by_name_where_both_have_a_header(self, tmp_path):
        train = infer(as_csv(tmp_path / "train.csv", [["text", "label"], *((t, l) for l, t in ENGLISH)]))
        test = as_csv(
            tmp_path / "test.csv", [["label", "id", "text"], *((l, n, t) for n, (l, t) in enumerate(ENGLISH))]
        )
        found = infer(test, like=train)
        assert (found.label, found.text) == (0, 2)
        assert read(test, format=found) == pairs(ENGLISH)

    def test_by_position_where_not(self, tmp_path):
        """Few and short: alone, the test file would be read the other way round."""
        train = infer(write(tmp_path / "train.tsv", rows("\t", ENGLISH)))
        test = write(tmp_path / "test.tsv", "pos\tok\nneg\tok\n")
        assert read(test, format=infer(test, like=train)) == [(("pos",), "ok"), (("neg",), "ok")]
        headed = infer(as_csv(tmp_path / "train.csv", [["label", "text"], *ENGLISH]))
        assert infer(test, like=headed).text == 1

    def test_several_labels_and_language_are_those_of_training(self, tmp_path):
        train = replace(infer(write(tmp_path / "a.txt", "__label__a __label__b one\n__label__b two\n")), language="zh")
        test = write(tmp_path / "b.txt", "__label__a three\n")
        found = infer(test, like=train)
        assert found.multi_label
        assert found.language == "zh"

    def test_another_format(self, tmp_path):
        train = infer(write(tmp_path / "train.tsv", rows("\t", ENGLISH)))
        test = write(tmp_path / "test.jsonl", json.dumps({"text": "fine film", "label": "pos"}))
        assert read(test, format=infer(test, like=train)) == [(("pos",), "fine film")]


class TestReading:
    def test_tsv_has_no_quotes(self, tmp_path):
        examples = [("a", 'say "hi'), ("b", '"quoted"'), ("a", "it''s \\t not a tab")]
        assert read(write(tmp_path / "t.tsv", rows("\t", examples))) == pairs(examples)

    def test_crlf_mark_blank_lines_and_no_last_line_end(self, tmp_path):
        path = write(tmp_path / "t.tsv", "\ufeffa\tone here\r\n\r\nb\ttwo here\r\na\tthree\x0bhe\u2028re\x85x\ry")
        got = [(one.labels[0], one.text, one.line) for one in read_examples(path)]
        assert got == [("a", "one here", 1), ("b", "two here", 3), ("a", "three\x0bhe\u2028re\x85x\ry", 4)]

    def test_line_numbers_of_multi_line_csv_cells(self, tmp_path):
        text = 'text,label\n"one\ntwo\n\nthree",a\n\nfour,b\n"five ""5""\r\n",a\nsix,b\n'
        got = list(read_examples(write(tmp_path / "t.csv", text)))
        assert [(one.text, one.labels[0], one.line) for one in got] == [
            ("one\ntwo\n\nthree", "a", 2),
            ("four", "b", 7),
            ('five "5"\n', "a", 8),
            ("six", "b", 10),
        ]

    def test_empty_texts_are_kept(self, tmp_path):
        examples = [("a", "some words"), ("b", ""), ("a", "   "), ("b", "more words")]
        assert read(write(tmp_path / "t.tsv", rows("\t", examples))) == pairs(examples)

    def test_without_labels(self, tmp_path):
        path = write(tmp_path / "t.csv", "text\nfine film\nbad film\n")
        assert read(path, labelled=False) == [((), "fine film"), ((), "bad film")]

    def test_half_a_surrogate_pair_in_json(self, tmp_path):
        path = write(tmp_path / "t.jsonl", '{"text": "bad \\ud800 half", "label": "\\udfffx"}\n')
        assert read(path) == [(("\ufffdx",), "bad \ufffd half")]

    def test_numbers_as_labels(self, tmp_path):
        path = write(tmp_path / "t.jsonl", '{"text": "a b", "label": 1}\n{"text": "c d", "label": 0}\n')
        assert [labels for labels, _ in read(path)] == [("1",), ("0",)]

    @pytest.mark.parametrize(
        ("name", "line", "message"),
        [
            ("t.tsv", "only one", "t.tsv:3: 1 columns where 2 are expected: the text column is missing"),
            ("t.tsv", "a\tb\tc", "t.tsv:3: 3 columns where 2 are expected. Columns are split by tabs"),
            ("t.tsv", "\ttext", "t.tsv:3: the label is empty"),
            ("t.tsv", "  \ttext", "t.tsv:3: the label is empty"),
            ("t.csv", 'a,"open', "t.csv:3: a quote opened in this record is never closed"),
            ("t.csv", 'a,"shut" not', "t.csv:3: text after a closing quote"),
            ("t.csv", "a,b,c", "t.csv:3: 3 columns where 2 are expected.*or put the cell in quotes"),
            ("t.jsonl", "{", "t.jsonl:3: not JSON"),
            ("t.jsonl", '["a"]', "t.jsonl:3: expected a JSON object, got list"),
            ("t.jsonl", '{"label": "a"}', "t.jsonl:3: no key 'text' for the text"),
            ("t.jsonl", '{"label": "a", "text": 5}', "t.jsonl:3: 'text' is int, a string is needed"),
            ("t.jsonl", '{"text": "a", "lable": "b"}', "t.jsonl:3: no key 'label' for the label.*mean 'lable'"),
            ("t.jsonl", '{"text": "a", "label": null}', "t.jsonl:3: the label is empty"),
            ("t.jsonl", '{"text": "a", "label": {}}', "t.jsonl:3: 'label' is dict"),
            ("t.txt", "no label here", "t.txt:3: no label. Begin the line with __label__NAME"),
            ("t.txt", "__label__ nameless", "t.txt:3: __label__ without a name"),
        ],
    )
    def test_faults_name_the_line(self, tmp_path, name, line, message):
        good = {
            "t.tsv": "a\tone text\nb\ttwo texts",
            "t.csv": "a,one text\nb,two texts",
            "t.jsonl": '{"text": "one", "label": "a"}\n{"text": "two", "label": "b"}',
            "t.txt": "__label__a one\n__label__b two",
        }[name]
        path = write(tmp_path / name, f"{good}\n{line}\n")
        with pytest.raises(DataError, match=message):
            read(path, Settings(header=False))
        told = []
        kept = list(read_examples(path, Settings(header=False), on_fault=lambda number, what: told.append(number)))
        assert told == [3]
        assert len(kept) == 2

    def test_several_labels_where_one_was_expected(self, tmp_path):
        head = "".join(f"__label__a one{n}\n" for n in range(20_001))
        path = write(tmp_path / "t.txt", head + "__label__a __label__b two\n")
        with pytest.raises(DataError, match=r"t\.txt:20002: 2 labels \(a, b\), but examples before it have one"):
            read(path)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ("今天天气".encode("gb18030"), "t.tsv:3: not utf-8: byte 0xbd at byte 3 of the line .byte 26 of the file"),
            ("今天天气".encode("gb18030"), "It could be gb18030: set data.encoding = 'gb18030'"),
            (b"caf\xe9 au lait", "It could be cp1252"),
            ("die Katze schläft".encode("latin-1"), "It could be cp1252"),
            ("臺灣憂鬱的烏龜".encode("gb18030"), "It could be gb18030"),
        ],
    )
    def test_wrong_encoding(self, tmp_path, data, message):
        path = write(tmp_path / "t.tsv", b"a\tone text\nb\ttwo texts\na\t" + data + b"\nb\tfour\n")
        with pytest.raises(DataError, match=message):
            read(path)
        told = []
        assert len(list(read_examples(path, on_fault=lambda number, what: told.append(number)))) == 3
        assert told == [3]

    def test_wrong_wide_encoding(self, tmp_path):
        path = write(tmp_path / "t.tsv", b"a\0\t\0b\0\n\0c")
        with pytest.raises(DataError, match=r"t\.tsv:\d: not utf-16-le"):
            read(path, Settings(encoding="utf-16-le", header=False, label=0, text=1, format="tsv"))

    def test_gzip_cut_off_or_damaged(self, tmp_path):
        packed = gzip.compress("".join(f"a\ttext number {n * 7919}\n" for n in range(9000)).encode())
        path = tmp_path / "t.tsv.gz"
        path.write_bytes(packed[: len(packed) // 2])
        with pytest.raises(DataError, match=r"t\.tsv\.gz:\d+: the gzip file is cut off"):
            read(path, Settings(label=0))
        path.write_bytes(packed[:-8] + b"12345678")
        with pytest.raises(DataError, match=r"t\.tsv\.gz:9001: the gzip file is damaged"):
            read(path, Settings(label=0))

    def test_gzip_is_told_by_its_bytes(self, tmp_path):
        path = tmp_path / "t.tsv"
        path.write_bytes(gzip.compress(rows("\t", ENGLISH).encode()))
        assert read(path) == pairs(ENGLISH)

    def test_no_such_file(self, tmp_path):
        (tmp_path / "train.tsv").touch()
        with pytest.raises(DataError, match=r"trian\.tsv: no such file\. Did you mean 'train\.tsv'\?"):
            infer(tmp_path / "trian.tsv")
        with pytest.raises(DataError, match=r"the folder .*away does not exist either"):
            infer(tmp_path / "away" / "t.tsv")
        with pytest.raises(DataError, match=r"no such file\. Check the path"):
            infer(tmp_path / "zzzzzzzz")

    def test_a_folder(self, tmp_path):
        with pytest.raises(DataError, match=r"is a folder\. Give a file"):
            infer(tmp_path)

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
    def test_no_permission(self, tmp_path):
        path = write(tmp_path / "t.tsv", "a\tb\n")
        path.chmod(0)
        with pytest.raises(DataError, match="cannot be read: Permission denied"):
            infer(path)

    @pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.jsonl"])
    def test_a_line_of_ten_megabytes(self, tmp_path, name):
        long = "word " * 2_000_000
        lines = {
            "t.tsv": f"a\tshort text\nb\t{long}\na\tshort again\n",
            "t.csv": f'a,short text\nb,"{long}"\na,short again\n',
            "t.jsonl": f'{{"text": "short text", "label": "a"}}\n{{"text": "{long}", "label": "b"}}\n',
        }[name]
        got = read(write(tmp_path / name, lines), Settings(header=False))
        assert got[1] == (("b",), long)

    def test_reading_is_lazy(self, tmp_path):
        """The first example comes before the fault at the end is met."""
        path = write(tmp_path / "t.tsv", rows("\t", ENGLISH) + "broken\n")
        assert next(iter(read_examples(path))).text == ENGLISH[0][1]

    def test_plain_texts(self, tmp_path):
        assert list(read_texts(write(tmp_path / "u.txt.gz", "one\n\ntwo\r\nthree"))) == ["one", "", "two", "three"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    examples=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c d"]),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")),
        ),
        min_size=1,
    )
)
def test_whatever_csv_and_json_hold_is_read_back(tmp_path, examples):
    as_csv(tmp_path / "t.csv", [["label", "text"], *examples])
    known = Settings(header=True, label="label", text="text")
    assert read(tmp_path / "t.csv", known) == pairs(examples)
    lines = [json.dumps({"label": label, "text": text}) for label, text in examples]
    write(tmp_path / "t.jsonl", "\n".join(lines))
    assert read(tmp_path / "t.jsonl", known) == pairs(examples)


def test_fasttext_lines():
    assert split_fasttext("__label__a __label__b  x y") == ["__label__a __label__b", "x y"]
    assert split_fasttext("x y __label__a") == ["__label__a", "x y"]
    assert split_fasttext("x __label__a y") == ["", "x __label__a y"]
    assert split_fasttext("__label__a") == ["__label__a", ""]


def test_text_keys():
    assert text_key("a  b\n") == text_key("a b")
    assert text_key("a b") != text_key("A b")
    assert 0 <= text_key("\ud800") < 2**64


def test_a_format_is_plain_data(tmp_path):
    found = infer(write(tmp_path / "t.tsv", rows("\t", ENGLISH)))
    values = json.loads(json.dumps(found.to_dict()))
    assert replace(Format(**values), why=found.why) == found


DATA = Path(os.environ.get("GATEWORK_DATA", ""))


@pytest.mark.skipif(not (DATA / "agnews").is_dir(), reason="GATEWORK_DATA does not name the data folder")
@pytest.mark.parametrize(
    ("name", "label", "text", "language"),
    [
        ("agnews/train.tsv", 0, 1, "en"),
        ("imdb/train.tsv.gz", 0, 2, "en"),
        ("online_shopping_zh/train.tsv.gz", 0, 2, "zh"),
        ("thucnews/dev.tsv", 0, 1, "zh"),
        ("trec6/train.tsv", 0, 1, "en"),
        ("sst2/train.tsv", 0, 1, "en"),
        ("mr/all.tsv", 1, 2, "en"),
        ("bbc_news/test.jsonl", "category", "text", "en"),
    ],
)
def test_public_sets(name, label, text, language):
    found = infer(DATA / name)
    assert (found.label, found.text, found.language) == (label, text, language)
