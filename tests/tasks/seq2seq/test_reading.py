"""Files for a model that is trained: read as its training file was, or afresh where they are of another kind."""

import pytest

from gatework.core.errors import ConfigError
from gatework.tasks.seq2seq.reading import read_as_trained

TRAINED = {
    "recipe": {"data": {"source": 1, "target": 0}},
    "facts": {"formats": {"train": {"table": "tsv", "source": 1, "target": 0}}},
}


def pairs(path, config=TRAINED, **options):
    return [(one.source, one.target) for one in read_as_trained(path, config, options, dialogue=False)]


def test_a_file_of_the_same_kind_has_the_same_columns(tmp_path):
    (path := tmp_path / "a.tsv").write_text("the cat\tdie Katze\n")
    assert pairs(path) == [("die Katze", "the cat")]
    assert pairs(path, source=0, target=1) == [("the cat", "die Katze")]


def test_a_file_of_another_kind_is_looked_at_afresh(tmp_path):
    (objects := tmp_path / "a.jsonl").write_text('{"source": "die Katze", "target": "the cat"}\n')
    assert pairs(objects) == [("die Katze", "the cat")]
    (tmp_path / "b.de").write_text("die Katze\nder Hund\n")
    (tmp_path / "b.en").write_text("the cat\nthe dog\n")
    assert pairs(tmp_path / "b.de") == [("die Katze", "the cat"), ("der Hund", "the dog")]
    named = {"recipe": {"data": {"source": "de", "target": "en"}}, "facts": {"formats": {"train": {"table": "jsonl"}}}}
    (table := tmp_path / "c.tsv").write_text("die Katze\tthe cat\n")
    assert pairs(table, named) == [("die Katze", "the cat")]


def test_options_are_of_reading_alone(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.sorce is no option"):
        pairs(tmp_path / "a.tsv", sorce=1)
