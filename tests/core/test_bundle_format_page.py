"""The page on the format names what the code has."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from bundles import architecture, text_codec, write_small
from gatework.core import archive, bundle
from gatework.core.architecture import Architecture, Bert, Characters, Encoder, LanguageModel, States
from gatework.core.bundle import read_bundle
from gatework.core.writer import Writer
from gatework.runtime.shapes import weight_shapes
from gatework.tasks.tag.answer import Settings
from language_models import language_architecture
from seq2seqs import CASES, seq2seq_architecture
from taggers import CLASSES, SPANS, tag_codec, write_tagger

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bundle-format.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [Architecture, Encoder, Characters, Bert, States, LanguageModel, Writer])
def test_every_key_of_the_architecture(kind):
    section = PAGE.split("`architecture`, every key")[1].split("### `labels.json`")[0]
    assert {field.name for field in fields(kind)} <= set(re.findall(r"`(\w+)`", section))


def test_every_entry(tmp_path):
    write_small(tmp_path / "m.gw", input={"characters": "cnn"}, entries={"metrics.json": b"{}", "README.md": b""})
    read = read_bundle(tmp_path / "m.gw")
    for name in read.entries:
        assert f"| `{name}` |" in PAGE
    for name in ("format", *read.config, "command", "measured_as"):
        assert f"| `{name}` |" in PAGE, name


def test_every_tensor():
    for options, changes in (({"characters": "cnn"}, {}), ({}, {"attention": 2, "pooling": ("attention",)})):
        for name in weight_shapes(architecture(text_codec(**options), **changes)):
            head, _, tail = name.rpartition(".")
            assert f"`{name}`" in PAGE or f"`.{tail}`" in PAGE or head.startswith(("encoder.", "characters.")), name


def test_every_tensor_of_a_language_model():
    for name in weight_shapes(language_architecture(embedding=5, language={"cutoffs": (4,)})):
        head, _, tail = name.rpartition(".")
        assert f"`{name}`" in PAGE or f"`.{tail}`" in PAGE or f">.{tail}`" in PAGE or head.startswith("encoder."), name


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_of_a_writer(case):
    section, transformer = PAGE.split("### A writer")[1].split("### A BERT")[0].split("### A transformer")
    architecture = seq2seq_architecture(**CASES[case])
    transformers = [name for name in ("encoder", "writer") if getattr(architecture, name).network == "transformer"]
    for name in weight_shapes(architecture):
        part, _, tail = name.partition(".")
        number, _, rest = tail.partition(".")
        if part in transformers and (number.isdigit() or number == "norm"):
            whole, _, last = (f"<layer>.{rest}" if number.isdigit() else tail).rpartition(".")
            assert f"`<part>.{whole}." in transformer, name
            assert f".{last}`" in transformer, name
        elif name.startswith("writer."):
            part, tail = name.removeprefix("writer.").split(".", 1)
            shown = f"`writer.{part}." if not part.isdigit() else "`writer.<layer>.<parameter>`"
            assert shown in section, name
            assert part.isdigit() or f".{tail.rpartition('.')[2]}`" in section, name


def test_limits_and_versions():
    assert f"version {bundle.FORMAT}." in PAGE
    assert f"| `format` | {bundle.FORMAT}." in PAGE
    assert f"At most {archive.MAX_ENTRIES} entries" in PAGE
    assert f"1 to {archive.MAX_NAME}" in PAGE
    assert archive.MAX_BYTES == 2**32 - 2
    assert f"At most {bundle.MAX_CONFIG >> 20} MiB" in PAGE
    assert f"at most {bundle.MAX_WEIGHTS_HEADER >> 20} MiB" in PAGE
    assert f"multiple of {archive.ALIGNMENT}" in PAGE


def test_every_part_of_a_tagger(tmp_path):
    layers = (SPANS, CLASSES)
    _, _, codec = write_tagger(tmp_path / "t.gw", codec=tag_codec(lexicon=True), layers=layers)
    for name in read_bundle(tmp_path / "t.gw").entries:
        assert f"`{name.replace('.1.', '.<i>.')}`" in PAGE, name
    decode = PAGE.split("`decode` of tagging")[1].split("###")[0]
    assert {field.name for field in fields(Settings)} <= set(re.findall(r"`(\w+)`", decode))
    head = json.loads(codec.to_entries()["tokenizer/codec.json"])
    assert head.keys() <= set(re.findall(r"`(\w+)`", PAGE.split("`codec.json`: ")[1].split("\n\n")[0]))
