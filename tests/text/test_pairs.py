"""Pairs of texts: what is inferred, what is read, and what an error says."""

import gzip
import json

import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import DataSection
from gatework.text.pairs import pair_format, read_pairs, source_of_turns


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def read(path, *, beside=None, dialogue=False, **data):
    found = pair_format(path, DataSection(**data), beside=beside, dialogue=dialogue)
    return [tuple(pair) for pair in read_pairs(path, found, beside=beside)]


def lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def test_the_first_two_columns(tmp_path):
    path = written(tmp_path / "a.tsv", "one\teins\tx\n two \tzwei\ty\n")
    assert read(path) == [("one", "eins", 1), ("two", "zwei", 2)]


def test_columns_by_position_and_name(tmp_path):
    path = written(tmp_path / "a.tsv", "one\teins\nzwei\ttwo\n")
    assert read(path, source=-1, target=0)[0] == ("eins", "one", 1)
    named = written(tmp_path / "b.csv", 'de,en\n"eins, zwei","one, two"\n')
    assert read(named, source="en", target="de") == [("one, two", "eins, zwei", 2)]


def test_known_names_are_a_header(tmp_path):
    path = written(tmp_path / "a.tsv", "target\tid\tsource\neins\t1\tone\n")
    assert read(path) == [("one", "eins", 2)]


def test_plain_and_packed_text_with_tabs(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\teins\n"))
    assert read(path) == [("one", "eins", 1)]


def test_keys_of_json_lines(tmp_path):
    path = written(tmp_path / "a.jsonl", lines({"package": "p", "text": "long", "summary": "short"}))
    assert read(path) == [("long", "short", 1)]
    assert read(path, source="package", target="text") == [("p", "long", 1)]
    other = written(tmp_path / "b.jsonl", lines({"en": "one", "de": "eins"}))
    assert read(other) == [("one", "eins", 1)]


def test_turns_of_a_dialogue(tmp_path):
    path = written(tmp_path / "a.jsonl", lines({"topic": "x", "turns": ["a", "b ", "c\nd", "e"]}))
    assert read(path, dialogue=True, context=2) == [("a", "b", 1), ("a\nb", "c d", 1), ("b\nc d", "e", 1)]
    assert read(path, dialogue=True, context=1)[2] == ("c d", "e", 1)
    assert source_of_turns(["x", "y", "z"], 2) == "y\nz"


def test_pairs_for_a_dialogue_task(tmp_path):
    path = written(tmp_path / "a.tsv", "hi\thello\n")
    assert read(path, dialogue=True) == [("hi", "hello", 1)]


def test_two_files_side_by_side(tmp_path):
    source, target = written(tmp_path / "a.en", "one\ntwo\n"), written(tmp_path / "a.de", "eins\nzwei\n")
    assert read(source, beside=target) == [("one", "eins", 1), ("two", "zwei", 2)]


def test_files_of_different_line_counts(tmp_path):
    source = written(tmp_path / "a.en", "one\ntwo\nthree\n")
    with pytest.raises(DataError, match=r"a\.en:3: 3 lines, but 2 in .*a\.de: line 3 is where one file ends"):
        read(source, beside=written(tmp_path / "a.de", "eins\nzwei\n"))
    shifted = written(tmp_path / "b.de", "eins\n\nzwei\ndrei\n")
    found = pair_format(source, DataSection(), beside=shifted)
    with pytest.raises(DataError, match=r"a\.en:2: 3 lines, but 4 in .*one side alone is empty first .*'two'") as error:
        list(read_pairs(source, found, beside=shifted, on_empty=lambda line, side: None))
    assert "b.de has ''" in str(error.value)


def test_an_empty_side(tmp_path):
    path = written(tmp_path / "a.tsv", "one\teins\ntwo\t \n\tdrei\n")
    with pytest.raises(DataError, match=r"a\.tsv:2: the target is empty"):
        read(path)
    told = []
    found = pair_format(path, DataSection())
    pairs = list(read_pairs(path, found, on_empty=lambda line, side: told.append((line, side))))
    assert len(pairs) == 1
    assert told == [(2, "target"), (3, "source")]


def test_an_empty_line_of_the_targets_names_their_file(tmp_path):
    source, target = written(tmp_path / "a.en", "one\ntwo\n"), written(tmp_path / "a.de", "eins\n\n")
    with pytest.raises(DataError, match=r"a\.de:2: the target is empty"):
        read(source, beside=target)


@pytest.mark.parametrize(
    ("name", "text", "data", "says"),
    [
        ("a.tsv", "one\n", {}, r"a\.tsv:1: one column only"),
        ("a.tsv", "one\teins\ntwo\n", {}, r"a\.tsv:2: 1 columns, but the target is column 2"),
        ("a.tsv", "a\tb\n", {"source": 2}, r"data\.source = 2, but there are 2 columns"),
        ("a.tsv", "a\tb\n", {"source": 1}, "the same column"),
        ("a.tsv", "a\tb\n", {"source": "c"}, r"no column 'c' \(data\.source\)"),
        ("a.tsv", "a\tb\n", {"source": "a", "header": False}, "header is off"),
        ("a.tsv", "", {}, r"a\.tsv:1: no row"),
        ("a.txt", "a b\n", {}, "data.train_target"),
        ("a.jsonl", '{"text": "a"}\n', {}, r"a\.jsonl:1: two keys"),
        ("a.jsonl", '{"text": "a", "b": "c"}\n', {"target": "d"}, r"no key 'd' \(data\.target\)"),
        ("a.jsonl", '{"text": "a", "title": "c"}\n{"text": "a"}\n', {}, r"a\.jsonl:2: 'title', the target, is missing"),
        (
            "a.jsonl",
            '{"text": "a", "title": "c"}\n{"text": 3, "title": "c"}\n',
            {},
            r"'text', the source, is int, [^.]+\. W.*\.$",
        ),
        ("a.jsonl", '\n["a", "b"]\n', {}, r"a\.jsonl:2: expected a JSON object, got list"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path, name, text, data, says):
    with pytest.raises(DataError, match=says):
        read(written(tmp_path / name, text), **data)


def test_a_file_in_another_encoding_throughout(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes("schön\tbeautiful\ngrün\tgreen\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.tsv:1: not utf-8: byte 0xf6 .*It could be cp1252: set data\.encoding"):
        pair_format(path, DataSection())


def test_turns_as_chat_services_keep_them(tmp_path):
    said = [("system", "Be kind."), ("user", "a"), ("assistant", "b"), ("user", "c")]
    chat = [{"role": role, "content": text} for role, text in said]
    path = written(tmp_path / "a.jsonl", lines({"messages": chat}))
    found = pair_format(path, DataSection(), dialogue=True)
    assert [pair[:2] for pair in read_pairs(path, found)] == [("a", "b"), ("a\nb", "c")]
    odd = written(tmp_path / "b.jsonl", lines({"messages": chat}, {"messages": [*chat, {"role": "user"}]}))
    with pytest.raises(DataError, match=r"b\.jsonl:2: 'messages' must be a list of strings.* in 'content' or"):
        list(read_pairs(odd, found))


def test_turns_that_are_no_strings(tmp_path):
    path = written(tmp_path / "a.jsonl", lines({"turns": ["a", "b"]}, {"turns": ["a", 3]}))
    with pytest.raises(DataError, match=r"a\.jsonl:2: 'turns' must be a list of strings"):
        read(path, dialogue=True)


def test_options_that_contradict(tmp_path):
    path = written(tmp_path / "a.en", "one\n")
    with pytest.raises(ConfigError, match="two files"):
        read(path, beside=path, source=1)
    with pytest.raises(ConfigError, match=r"data\.format 'conll' is none of pairs"):
        read(path, format="conll")
