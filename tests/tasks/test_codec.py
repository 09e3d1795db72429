"""The codec of a bundle: there and back, and hostile entries."""

import json

import pytest

from gatework.core.errors import BundleError
from gatework.core.recipe import InputSection
from gatework.tasks import TASKS
from gatework.tasks.classify import Settings, labels_entry
from gatework.text import TextCodec

LABELS = ("坏", "good", "so so")


@pytest.fixture(scope="module")
def bundle():
    texts = ["one two three", "two three four", "three two one"] * 3
    text = TextCodec.fit(lambda: texts, InputSection(unit="word", min_count=1))
    entries = {**text.to_entries(), "labels.json": labels_entry(LABELS)}
    settings = Settings(prior=(0.2, 0.5, 0.3), temperature=1.5)
    return {"decode": settings.to_dict(LABELS), "architecture": {"outputs": 3}}, entries


def _open(config, entries):
    return TASKS["classify"].open_codec(config, entries, source="m.gw")


def test_there_and_back(bundle):
    codec = _open(*bundle)
    assert codec.labels == LABELS
    encoded = [codec.encode("two one"), codec.encode(" ")]
    assert codec.collate(encoded).sequences == 2
    first, empty = codec.decode([[0.0, 3.0, 0.0], [9.0, 0.0, 0.0]], encoded)
    assert first.label == "good"
    assert empty.empty
    assert empty.scores == {"good": 0.5, "so so": 0.3, "坏": 0.2}


def test_entries_may_be_views(bundle):
    config, entries = bundle
    assert _open(config, {name: memoryview(data) for name, data in entries.items()}).labels == LABELS


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"[", "not valid JSON"),
        (b'"ab"', "must be a list"),
        (b'["a"]', "at least two names"),
        (b'["a", 1, "b"]', "different strings"),
        (b'["a", "a", "b"]', "different strings"),
        (b'["a", "b"]', "names 2 labels, the network has 3 outputs"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_hostile_labels(bundle, labels, message):
    config, entries = bundle
    with pytest.raises(BundleError, match=rf"^m\.gw: labels\.json.*{message}"):
        _open(config, {**entries, "labels.json": labels})


def test_missing_labels(bundle):
    config, entries = bundle
    with pytest.raises(BundleError, match=r"labels\.json is missing"):
        _open(config, {name: data for name, data in entries.items() if name != "labels.json"})


def test_hostile_decode(bundle):
    config, entries = bundle
    with pytest.raises(BundleError, match=r"m\.gw: config\.json: decode\.temperature"):
        _open({**config, "decode": {**config["decode"], "temperature": 0}}, entries)


def test_labels_entry_is_readable():
    assert json.loads(labels_entry(LABELS)) == list(LABELS)
    assert "坏" in labels_entry(LABELS).decode()
