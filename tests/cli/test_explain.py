"""`gatework explain`."""

import json

import pytest


def test_a_token_a_line(gatework, model):
    done = gatework("explain", model, "a great film")
    assert done.status == 0
    assert [line.split("\t")[0] for line in done.lines] == ["a", "great", "film"]
    assert all(float(line.split("\t")[1]) is not None for line in done.lines)


def test_json_is_all_that_a_page_shows(gatework, model, tmp_path):
    done = gatework("explain", model, "a great film", "--json", "-o", tmp_path / "why.html")
    found = json.loads(done.out)
    assert [token["text"] for token in found["tokens"]] == ["a", "great", "film"]
    assert found["gates"]["tokens"] == ["a", "great", "film"]
    assert "great" in (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "written" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["film", "-o", "why.pdf"], "write a page, FILE.html, or a picture, FILE.png"),
        (["film", "--label", "nice"], "label 'nice' is unknown"),
        (["film", "--language", "fr"], "--language 'fr' is unknown"),
        ([" "], "nothing to read"),
        (["film", "-o", "no/such/folder/why.html"], "no/such/folder"),
    ],
)
def test_mistakes(gatework, model, arguments, message):
    done = gatework("explain", model, *arguments)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1
