"""Documents of running text: every character once, with its place; streams of their tokens."""

import gzip
from types import SimpleNamespace

import numpy as np
import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import InputSection
from gatework.text import documents
from gatework.text.document_checks import check_documents
from gatework.text.documents import Piece, document_format, read_documents
from gatework.text.running import END, RunningCodec
from gatework.text.stream import TokenStream


def settings(**options):
    plain = {"template": "", "documents": "auto", "format": "auto", "header": "auto", "encoding": "utf-8"}
    return SimpleNamespace(**{**plain, **options})


def read(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_documents(path, document_format(path, settings(**options))))


def test_lines(tmp_path):
    assert read(tmp_path / "a.txt", " a b \n\nc", documents="line") == [
        Piece("a b", True, 1), Piece("", True, 2), Piece("c", True, 3),
    ]  # fmt: skip


def test_between_blank_lines(tmp_path):
    text = "\n a\nb \n \n\nc\n\n"
    assert read(tmp_path / "a.txt", text, documents="blank") == [Piece(" a\nb ", True, 2), Piece("c", True, 6)]


@pytest.mark.parametrize("text", ["a\n\nb\n", "a\n\nb", "\n\n", "a\r\n\r\nb\r\n"])
def test_a_file_keeps_every_character(tmp_path, text):
    (piece,) = read(tmp_path / "a.txt", text)
    assert piece == Piece(text.replace("\r\n", "\n"), False, 1)


@pytest.mark.parametrize("kind", ["file", "blank"])
def test_long_documents_come_in_pieces_at_line_feeds(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(documents, "PIECE", 20)
    lines = [f"line {number} of some length" for number in range(9)]
    pieces = read(tmp_path / "a.txt", "\n".join(lines), documents=kind)
    assert len(pieces) == 9
    assert "".join(piece.text for piece in pieces) == "\n".join(lines)
    assert [piece.line for piece in pieces] == list(range(1, 10))
    assert [piece.ends for piece in pieces] == [False] * 8 + [kind == "blank"]


def test_what_a_document_is_is_told_by_blank_lines(tmp_path):
    for text, want in (("a\nb\n", "line"), ("a\n\nb\n", "file")):
        (tmp_path / "a.txt").write_text(text)
        found = document_format(tmp_path / "a.txt", settings())
        assert found.kind == want
        assert "blank line" in found.describe()


TABLES = {
    "a.tsv": "5x4\t\tSong\tline one\n7x4\tme\tOther\tline two\n",
    "b.tsv": "form\tauthor\ttitle\tpoem\n5x4\t\tSong\tline one\n7x4\tme\tOther\tline two\n",
    "c.csv": 'form,author,title,poem\n5x4,,Song,line one\n7x4,me,Other,"line two"\n',
    "d.jsonl": '{"form":"5x4","title":"Song","poem":"line one"}\n{"form":"7x4","title":"Other","poem":"line two"}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_templates_make_documents_of_rows(tmp_path, name):
    template = "{0}|{2}\n{3}{{}}" if name == "a.tsv" else "{form}|{title}\n{poem}{{}}"
    pieces = read(tmp_path / name, TABLES[name], template=template)
    assert [piece.text for piece in pieces] == ["5x4|Song\nline one{}", "7x4|Other\nline two{}"]
    assert all(piece.ends for piece in pieces)
    assert pieces[0].line == (1 if name in ("a.tsv", "d.jsonl") else 2)


def test_compressed_tables_and_header_by_position(tmp_path):
    pieces = read(tmp_path / "b.tsv.gz", gzip.compress(TABLES["b.tsv"].encode()), template="{0}", header=True)
    assert [piece.text for piece in pieces] == ["5x4", "7x4"]


@pytest.mark.parametrize(
    ("name", "options", "fault", "message"),
    [
        ("a.tsv", {"template": "{9}"}, DataError, r"a\.tsv:1: 4 columns; data\.template takes number 9"),
        ("b.tsv", {"template": "{titel}"}, DataError, r"b\.tsv:2: no column 'titel'.*'title'"),
        ("d.jsonl", {"template": "{0}"}, DataError, r"d\.jsonl:1: no key '0'"),
        ("a.tsv", {"template": "no column"}, ConfigError, "names no column"),
        ("a.tsv", {"template": "{0"}, ConfigError, r"data\.template '{0'"),
        ("a.tsv", {"template": "{0:>9}"}, ConfigError, "take no ':'"),
        ("a.tsv", {"template": "{title}", "header": False}, ConfigError, r"data\.header is false"),
        ("a.txt", {"template": "{0}"}, ConfigError, "for tables"),
        ("a.tsv", {}, ConfigError, r"Set data\.template"),
        ("a.tsv", {"format": "tsv"}, ConfigError, r"needs data\.template"),
    ],
)
def test_mistakes_name_the_place(tmp_path, name, options, fault, message):
    with pytest.raises(fault, match=message):
        read(tmp_path / name, TABLES.get(name, TABLES["a.tsv"]), **options)


def test_wrong_encodings_name_the_line(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt:2: not utf-8"):
        read(tmp_path / "a.txt", b"fine\n\xff\xfe\n", documents="file")
    assert read(tmp_path / "b.txt", "天\n\n地".encode("utf-16"), encoding="utf-16")[0].text == "天\n\n地"


def test_streams_hold_tokens_starts_and_counts(tmp_path):
    codec = RunningCodec.fit(lambda: ["ab天"], InputSection(unit="char", min_count=1, lowercase=False))
    pieces = [Piece("ab", True, 1), Piece("天", False, 2), Piece("a?", True, 3), Piece("", True, 4)]
    stream = TokenStream.write(tmp_path, "train", pieces, codec)
    a, b, sky = codec.encode("ab天")
    assert stream.tokens.tolist() == [a, b, END, sky, a, 1, END, END]
    assert stream.starts.tolist() == [0, 3, 7, 8]
    assert stream.lengths_N.tolist() == [3, 4, 1]
    assert (len(stream), stream.characters, stream.bytes, stream.unknown) == (3, 8, 10, 1)
    np.testing.assert_array_equal(stream.counts_V, np.bincount(stream.tokens, minlength=codec.vocabulary))
    running = TokenStream.write(tmp_path, "dev", [Piece("ab", False, 1), Piece("b", False, 1)], codec)
    assert running.starts.tolist() == [0, 3]
    assert running.characters == 3


def test_check_says_what_training_would_meet(tmp_path):
    (tmp_path / "train.txt").write_text("some text\n\nand a NUL \0 here\n")
    (tmp_path / "dev.txt").write_bytes(b"some text\nzebra\n\xff\n")
    (tmp_path / "test.txt").write_text("")
    parts = {part: tmp_path / f"{part}.txt" for part in ("train", "dev", "test")}
    report = check_documents(parts, settings(documents="line"))
    said = [str(problem).replace(f"{tmp_path}/", "") for problem in report.problems]
    assert said[0].startswith("train.txt:2: warning: an empty document")
    assert any(one.startswith("train.txt:3: warning: 1 times U+0000") for one in said)
    assert any(one.startswith("dev.txt:3: error: not utf-8") for one in said)
    assert any(one.startswith("dev.txt:2: warning: 'z' is not in") for one in said)
    assert said[-1] == "test.txt: error: no text. Give a file with some."
    assert len(report.errors) == 2
    assert report.files[0].examples == 3
    assert any("a document a line" in line for line in report.lines())
    missing = check_documents({"train": tmp_path / "trian.txt"}, settings())
    assert "no such file" in str(missing.errors[0])
