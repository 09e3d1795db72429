"""Data for a trained tagger, of another form than its training file."""

import json

import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.tasks.tag.reading import read_labelled
from gatework.text import infer_tagged

CONLL = "张\tx\tB-PER\n三\tx\tI-PER\n来\tx\tO\n\n北\tx\tB-LOC\n京\tx\tI-LOC\n\n"
WANT = [(("张", "三", "来"), ("B-PER", "E-PER", "O")), (("北", "京"), ("B-LOC", "E-LOC"))]
SPANS = [{"text": "张三来", "spans": [[0, 2, "PER"]]}, {"text": "北京", "spans": [[0, 2, "LOC"]]}]
TOKENS = [
    {"tokens": ["张", "三", "来"], "tags": ["B-PER", "L-PER", "O"]},
    {"tokens": ["北", "京"], "tags": ["B-LOC", "L-LOC"]},
]


def written(path, data):
    if not isinstance(data, str):
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in data)
    path.write_text(data, encoding="utf-8")
    return path


@pytest.fixture(params=[("train.conll", CONLL), ("train.jsonl", SPANS), ("train.json", TOKENS)], ids=lambda one: one[0])
def config(request, tmp_path):
    """What the bundle of a model trained on such a file tells."""
    found = infer_tagged(written(tmp_path / request.param[0], request.param[1]))
    return {"facts": {"formats": {"train": found.to_dict()}}, "recipe": {"input": {"unit": "glyph"}}}


@pytest.mark.parametrize(("name", "data"), [("a.conll", CONLL), ("a.jsonl", SPANS), ("b.jsonl", TOKENS)])
def test_any_form_is_read_by_a_model_of_any(tmp_path, config, name, data):
    """Columns and keys of another form are its own; text is cut as the model cuts it."""
    path = written(tmp_path / name, data)
    assert [(one.tokens, one.tags[0]) for one in read_labelled(path, config)] == WANT


def test_columns_of_training_go_on(tmp_path):
    train = written(tmp_path / "train.conll", CONLL.replace("\tx\t", "\tB-X\t"))
    found = infer_tagged(train, None).to_dict() | {"tags": (1,)}
    config = {"facts": {"formats": {"train": found}}}
    path = written(tmp_path / "test.conll", CONLL.replace("\tx\t", "\tB-Y\t"))
    assert next(read_labelled(path, config)).tags == (("S-Y",) * 3,)
    assert next(read_labelled(path, config, {"label": 2})).tags == (WANT[0][1],)
    with pytest.raises(DataError, match=r"test\.conll:1: no column 9"):
        next(read_labelled(path, config, {"label": 9}))
    with pytest.raises(ConfigError, match=r"data\.lable is no option .* Did you mean 'label'"):
        next(read_labelled(path, config, {"lable": 1}))
