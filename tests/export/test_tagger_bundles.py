"""Taggers as bundles: what fits a size, and files that are not what they should be."""

from dataclasses import replace

import numpy as np
import pytest

from gatework.core.errors import BundleError, ConfigError
from gatework.core.recipe import Recipe
from gatework.runtime import load
from gatework.tasks import TASKS
from taggers import CLASSES, SENTENCES, SPANS, tag_codec, write_tagger

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    sections, _ = TASKS["tag"].sample(folder)
    lexicon = folder / "words.txt"
    lexicon.write_text("\n".join(["Paris", "Sydney", "old thing", "new place", *(f"word{n}" for n in range(3000))]))
    sections["input"] |= {"lexicon": str(lexicon), "affixes": 3, "shape": True, "characters": "cnn"}
    return folder, Recipe.model_validate({"task": "tag", **sections})


@pytest.mark.parametrize("limit", [70_000, 30_000, 22_000])
def test_a_tagger_fits_its_size(sample, tmp_path, limit):
    """Storage, n-grams, lexicon and vocabulary shrink before training; the bundle keeps to the limit and answers."""
    from gatework.train import train

    _, recipe = sample
    said = []
    recipe = recipe.replace(export={"max_size": limit, "weights": "fp32"}, train={"epochs": 1, "threads": 1})
    result = train(recipe, tmp_path / "m.gw", say=said.append)
    assert result.nbytes == (tmp_path / "m.gw").stat().st_size <= limit
    model = load(tmp_path / "m.gw")
    assert model.bundle.storage == "int8"
    assert model.predict([["Paris", "here"]])[0].tokens[0].text == "Paris"
    assert any("planned size" in sentence for sentence in said)
    if limit < 70_000:
        assert any("lexicon: " in sentence for sentence in said)
        assert model.bundle.architecture.lexicon_rows < 3004


def test_a_size_that_nothing_fits(sample, tmp_path):
    from gatework.train import fit

    _, recipe = sample
    with pytest.raises(ConfigError, match=r"export\.max_size 4,000: the smallest model"):
        fit(recipe.replace(export={"max_size": 4000}), run_folder=tmp_path / "run")


def test_dropping_ngrams_of_a_tagger_keeps_those_with_long_vectors(tmp_path):
    from gatework.export.writer import drop_ngrams

    shape_of, weights, codec = write_tagger(tmp_path / "m.gw")
    entries = codec.to_entries()
    fewer, kept, left = drop_ngrams(shape_of, weights, entries, 5)
    assert fewer == replace(shape_of, ngram_rows=5)
    assert kept["local.weight"].shape == (6, shape_of.ngram_embedding)
    assert not kept["local.weight"][0].any()
    lengths = np.sort((weights["local.weight"][1:] ** 2).sum(axis=1))
    np.testing.assert_allclose(np.sort((kept["local.weight"][1:] ** 2).sum(axis=1)), lengths[-5:])
    assert len(left["tokenizer/ngrams.u32"]) == 20


@pytest.mark.parametrize("storage", ["fp32", "bf16", "int8"])
def test_transitions_keep_their_bits(tmp_path, storage):
    _, weights, _ = write_tagger(tmp_path / "m.gw", layers=(SPANS, CLASSES), storage=storage)
    stored = load(tmp_path / "m.gw").bundle.weights
    for name in ("crf.transitions", "also.0.transitions", "crf.start"):
        assert stored.slots[name].dtype == "F32"
        np.testing.assert_array_equal(stored[name], weights[name])


C = len(SPANS.labels)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": {"crf.transitions": np.zeros((C, C + 1), np.float32)}}, "'crf.transitions' has shape"),
        ({"weights": {"crf.start": np.zeros((C, 1), np.float32)}}, "'crf.start' has shape"),
        ({"weights": {"crf.end": None}}, "'crf.end' is missing"),
        ({"weights": {"crf.transitions": np.full((C, C), np.nan, np.float32)}}, "NaN or infinity"),
        ({"weights": {"crf.transitions": np.full((C, C), -np.inf, np.float32)}}, "NaN or infinity"),
        ({"weights": {"head.weight": np.zeros((C + 1, 10), np.float32)}}, "'head.weight' has shape"),
        ({"weights": {"also.0.weight": np.zeros((3, 10), np.float32)}}, "not part of the architecture"),
        ({"weights": {"ngrams.weight": np.zeros((3, C), np.float32)}}, "not part of the architecture"),
        ({"weights": {"lexicon.weight": np.zeros((3, 4), np.float32)}}, "not part of the architecture"),
        ({"architecture": {"decoder": "softmax"}}, "not part of the architecture"),
        ({"architecture": {"decoder": ""}}, "need each other"),
        ({"architecture": {"also": [3]}}, "tags|also.0|labels"),
        ({"architecture": {"outputs": C + 1}}, "tags"),
        ({"architecture": {"head": "per_sequence", "decoder": "", "pooling": ["mean"]}}, "needs the head per_step"),
        ({"architecture": {"ngram_embedding": 0}}, "does not read"),
        ({"architecture": {"lexicon_rows": 9, "lexicon_embedding": 4}}, "lexicon"),
        ({"entries": {"labels.json": None}}, "labels.json is missing"),
        ({"entries": {"labels.json": b'["O", "B-PER"]'}}, "tags"),
        ({"entries": {"labels.json": b'["O", "O"]'}}, "different strings"),
        ({"entries": {"labels.json": b'["O", "Q-PER", "I-PER", "E-PER", "S-PER", "a", "b", "c", "d"]'}}, "labels.json"),
        ({"decode": {"schemes": ["beads"]}}, "decode.schemes"),
        ({"decode": {"layers": []}}, "decode.layers"),
        ({"decode": {"schemes": ["bio", "bio"]}}, "decode.schemes"),
    ],
    ids=str,
)
def test_hostile_taggers_are_refused(tmp_path, changes, said):
    """One line, no matter what is wrong, before anything is answered."""
    path = tmp_path / "m.gw"
    write_tagger(path, **changes)
    with pytest.raises(BundleError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_lexicon_without_its_rows(tmp_path):
    path = tmp_path / "m.gw"
    codec = tag_codec(lexicon=True)
    write_tagger(path, codec=codec)
    assert load(path).predict([list(SENTENCES[0])])[0].tokens
    for name in ("tokenizer/lexicon.u64", "tokenizer/lexicon.f32"):
        write_tagger(path, codec=codec, entries={name: None})
        with pytest.raises(BundleError, match="lexicon"):
            load(path)
        write_tagger(path, codec=codec, entries={name: b"\xff" * 12})
        with pytest.raises(BundleError, match="lexicon"):
            load(path)
    write_tagger(path, codec=codec, architecture={"lexicon_rows": 4})
    with pytest.raises(BundleError, match="lexicon"):
        load(path)
