"""Bundles from anyone: whatever is wrong, opening raises BundleError in one line, and nothing else ever."""

import json

import numpy as np
import pytest

import gatework.runtime
from bundles import architecture, config, random_weights, text_codec, write_small
from gatework.core.archive import read_archive, write_archive
from gatework.core.bundle import FORMAT, read_bundle
from gatework.core.errors import BundleError

TEXTS = ["a great film", "", "dull " * 50]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def whole(request, tmp_path_factory):
    """The bytes of a sound bundle."""
    path = tmp_path_factory.mktemp("whole") / "m.gw"
    write_small(path, storage=request.param)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.gw"


def refused(path, said=None):
    """Opening raises BundleError; returns its message."""
    with pytest.raises(BundleError, match=said) as caught:
        gatework.runtime.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 600
    return message


def opens_or_is_refused(path):
    try:
        model = gatework.runtime.load(path)
        model.predict_batch(TEXTS)
        model.info()
    except BundleError:
        return False
    return True


def test_what_was_written_is_read(path):
    shape_of, weights, codec = write_small(path)
    bundle = read_bundle(path)
    assert bundle.task == "classify"
    assert bundle.storage == "fp32"
    assert bundle.architecture == shape_of
    assert bundle.nbytes == path.stat().st_size
    assert bundle.config["format"] == FORMAT
    for name, array in weights.items():
        np.testing.assert_array_equal(bundle.weights[name], array)
    for name, data in codec.to_entries().items():
        assert bytes(bundle.entry(name)) == data
    with pytest.raises(BundleError, match=r"gone\.json is missing"):
        bundle.entry("gone.json")


def test_same_model_same_bytes(path, tmp_path):
    write_small(path)
    write_small(tmp_path / "again.gw")
    assert path.read_bytes() == (tmp_path / "again.gw").read_bytes()


def test_cut_anywhere(whole, path):
    lengths = {*range(0, len(whole), 37), *range(100), *range(len(whole) - 900, len(whole))}
    for at in [index for index in range(len(whole)) if whole[index : index + 2] == b"PK"]:
        lengths |= set(range(max(0, at - 3), min(len(whole), at + 5)))
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        refused(path)


def test_flipped_bits(whole, path):
    rng = np.random.default_rng(0)
    for index in rng.integers(len(whole), size=400).tolist():
        path.write_bytes(whole[:index] + bytes([whole[index] ^ (1 << int(rng.integers(8)))]) + whole[index + 1 :])
        refused(path)


def test_other_files(tmp_path, path):
    refused(path, "no such file")
    refused(tmp_path, "not a regular file")
    for data, said in ((b"", "empty"), (b"\x80\x04.", "not a gatework bundle"), (b"PK\x03\x04", "end of the file")):
        path.write_bytes(data)
        refused(path, said)


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe{}", b"[]", b"{", b'{"format":' * 100_000, b'{"format":1,"format":1}', b"NaN", b""]
)
def test_config_that_is_no_config(whole, path, raw):
    rewrite(path, whole, {"config.json": raw})
    assert "config.json" in refused(path)


@pytest.mark.parametrize(
    ("version", "said"),
    [(FORMAT + 1, "Install a newer"), (0, "format 0"), (True, "True"), ("1", "1"), (None, "None"), (1.0, "1.0")],
)
def test_format_versions(path, version, said):
    write_small(path, config_changes={"format": version})
    refused(path, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": 3}, "task is missing or of the wrong type"),
        ({"task": "fortune"}, "'fortune' is unknown. Known: classify"),
        ({"architecture": None}, "architecture is missing"),
        ({"decode": []}, "decode must be an object"),
        ({"recipe": "x"}, "recipe must be an object"),
        ({"decode": {"temperature": 0}}, "temperature"),
        ({"decode": {"prior": [1, 2]}}, "prior"),
    ],
)
def test_config_entries(path, changes, said):
    write_small(path, config_changes=changes)
    refused(path, said)


@pytest.mark.parametrize(
    ("where", "name", "value", "said"),
    [
        ("", "outputs", 4, "labels.json names 3|shape"),
        ("", "outputs", "3", "outputs must be of type int"),
        ("", "outputs", True, "outputs must be of type int"),
        ("", "outputs", 0, "outside"),
        ("", "vocabulary", 10**30, "outside"),
        ("", "embedding", -1, "outside"),
        ("", "embedding", 2**31 - 1, "shape"),
        ("", "head", "per_token", "head must be one of per_sequence, per_step"),
        ("", "head", "per_step", "a head per_step has no pooling"),
        ("", "decoder", "crf", "need each other"),
        ("", "decoder", "beam", "decoder must be one of"),
        ("", "also", [3], "no further tag layers"),
        ("", "also", [0], "further tag layers"),
        ("", "also", 3, "further tag layers"),
        ("", "lexicon_rows", 3, "lexicon_rows and lexicon_embedding"),
        ("", "lexicon_embedding", 3, "lexicon_rows and lexicon_embedding"),
        ("", "pooling", [], "pooling"),
        ("", "pooling", ["median"], "pooling"),
        ("", "pooling", [["mean"]], "pooling"),
        ("", "pooling", "mean", "pooling"),
        ("", "pooling", ["attention"], "attention"),
        ("", "attention", 3, "attention"),
        ("", "pooling", ["mean"], "shape"),
        ("", "ngram_rows", 1, "tokenizer has 47 n-grams, the network 1|shape"),
        ("", "ngram_rows", 0, "ngram_embedding"),
        ("", "window", 0, "outside"),
        ("", "surprise", 1, "unknown entry 'surprise'"),
        ("", "encoder", [], "expected an object"),
        ("", "encoder", None, "expected an object"),
        ("", "characters", 1, "expected an object"),
        ("encoder", "cell", "abacus", "'abacus' is unknown"),
        ("encoder", "cell", ["lstm"], "cell must be of type str"),
        ("encoder", "cell", "gru", "shape|weight"),
        ("encoder", "units", 4, "shape"),
        ("encoder", "layers", 2, "missing"),
        ("encoder", "layers", 2**30, "outside"),
        ("encoder", "bidirectional", False, "not part of|shape"),
        ("encoder", "bidirectional", 1, "bidirectional must be of type bool"),
        ("encoder", "projection", 3, "projection"),
    ],
)
def test_architecture_entries(path, where, name, value, said):
    shape_of = architecture(text_codec()).to_dict()
    (shape_of[where] if where else shape_of)[name] = value
    write_small(path, config_changes={"architecture": shape_of})
    refused(path, said)


@pytest.mark.parametrize("name", ["outputs", "encoder", "pooling", "vocabulary"])
def test_architecture_without_an_entry(path, name):
    shape_of = architecture(text_codec()).to_dict()
    del shape_of[name]
    write_small(path, config_changes={"architecture": shape_of})
    refused(path, f"{name} is missing")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["embedding.weight", "encoder.0.backward.r_GH", "head.bias"])
def test_numbers_that_are_none(path, name, bad):
    weights = random_weights(architecture(text_codec()))
    array = weights[name].copy()
    array.reshape(-1)[-1] = bad
    write_small(path, weights={name: array})
    refused(path, f"{name}' holds NaN")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head.bias": None}, "'head.bias' is missing"),
        ({"extra": np.zeros(3, "f4")}, "'extra' is not part"),
        ({"head.bias": np.zeros(4, "f4")}, r"shape \(4,\), wanted \(3,\)"),
        ({"head.bias": np.zeros((3, 1), "f4")}, "shape"),
        ({"head.bias": np.zeros(3, "f8")}, "type F64"),
        ({"head.bias": np.zeros(3, "i8")}, "type I64"),
        ({"head.bias": np.zeros(3, "i1")}, "needs a scale"),
        ({"head.weight": np.zeros((3, 20), "i1")}, "needs a scale"),
        ({"head.weight.scale": np.ones(3, "f4")}, "no scale"),
        ({"head.weight": np.zeros((3, 20), "i1"), "head.weight.scale": np.ones(2, "f4")}, "needs a scale"),
        ({"head.weight": np.zeros((3, 20), "i1"), "head.weight.scale": np.zeros(3, "f4")}, "no scale"),
        ({"head.weight": np.zeros((3, 20), "i1"), "head.weight.scale": np.full(3, np.nan, "f4")}, "NaN"),
        ({"head.weight": np.zeros((3, 20), "i1"), "head.weight.scale": np.ones(3, "i1")}, "needs a scale|shape"),
    ],
)
def test_weights_that_do_not_fit(path, change, said):
    write_small(path, weights=change)
    refused(path, said)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"labels.json": None}, "labels.json"),
        ({"labels.json": b'["a","b"]'}, "names 2 labels"),
        ({"labels.json": b'["a","a","b"]'}, "different"),
        ({"labels.json": b'["a","b",3]'}, "different strings"),
        ({"labels.json": b'{"a":1}'}, "list"),
        ({"labels.json": b'["\\ud800","b","c"]'}, "JSON"),
        ({"tokenizer/codec.json": None}, "tokenizer/codec.json"),
        ({"tokenizer/vocabulary.json": b"[1]"}, "tokenizer/vocabulary.json"),
        ({"tokenizer/vocabulary.json": b"[" * 100_000}, "tokenizer/vocabulary.json"),
        ({"tokenizer/vocabulary.json": b"\xff"}, "tokenizer/vocabulary.json"),
        ({"tokenizer/ngrams.u32": b"123"}, "tokenizer/ngrams.u32"),
        ({"tokenizer/ngrams.u32": None}, "tokenizer/ngrams.u32"),
    ],
)
def test_other_entries(path, entries, said):
    write_small(path, entries=entries)
    refused(path, said)


def test_tokenizer_of_another_size_than_the_tables(path):
    """More words or n-grams than rows would read past the tables."""
    codec = text_codec()
    entries = codec.to_entries()
    words = json.loads(entries["tokenizer/vocabulary.json"])
    more = json.dumps([*words, "one-more"]).encode()
    head = json.dumps(json.loads(entries["tokenizer/codec.json"]) | {"words": len(words) + 1}).encode()
    write_small(path, entries={"tokenizer/vocabulary.json": more, "tokenizer/codec.json": head})
    refused(path, "tokens, the network")
    keys = np.append(codec.ngrams.keys_R, np.uint32(2**32 - 1)).astype("<u4").tobytes()
    write_small(path, entries={"tokenizer/ngrams.u32": keys})
    refused(path, "n-grams, the network")
    write_small(path, entries={"tokenizer/characters.json": b'["a"]'}, input={"characters": "cnn"})
    refused(path, "characters, the network")


def test_mutated_entries_in_a_sound_archive(whole, path):
    """A forger gets every checksum right; what is inside is odd. Opened or refused, nothing else."""
    rng = np.random.default_rng(7)
    entries = {name: bytes(data) for name, data in read_archive(memoryview(whole), source="x").items()}
    refusals = 0
    for _ in range(400):
        name = list(entries)[int(rng.integers(len(entries)))]
        data = bytearray(entries[name])
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(max(1, min(len(data), 2000))))
            action = int(rng.integers(4))
            if action == 0:
                data[at : at + 1] = bytes([int(rng.integers(256))])
            elif action == 1:
                del data[at : at + int(rng.integers(1, 9))]
            elif action == 2:
                data[at:at] = rng.bytes(int(rng.integers(1, 5)))
            else:
                data[at : at + 1] = b"9"
        rewrite(path, whole, {name: bytes(data)})
        refusals += not opens_or_is_refused(path)
    assert refusals > 100


def test_config_is_bounded(path):
    write_small(path, config_changes={"facts": {"x": "y" * (16 << 20)}})
    refused(path, "at most")


def test_nothing_in_a_bundle_is_run(path, tmp_path, monkeypatch):
    """No import and no file is opened but what an ordinary bundle of ours makes Python import and open."""
    import builtins

    write_small(path)
    gatework.runtime.load(path).predict("a film")
    opened = []
    plain_open = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *args, **kwargs: opened.append(args[0]) or plain_open(*args, **kwargs))
    for name in ("eval", "exec", "compile", "__import__"):
        plain = getattr(builtins, name)
        monkeypatch.setattr(builtins, name, _forbidden(name, plain))
    gatework.runtime.load(path).predict("a film")
    assert [str(one) for one in opened] == [str(path)]


def _forbidden(name, plain):
    def called(*arguments, **options):
        if name == "__import__":
            fromlist = arguments[3] if len(arguments) > 3 else ()
            module = plain(*arguments, **options)
            assert arguments[0].split(".")[0] in {"gatework", "numpy", "__future__", "typing"} or not fromlist, (
                arguments[0]
            )
            return module
        raise AssertionError(f"{name} was called")

    return called


def rewrite(path, whole, changes):
    """The bundle `whole` with entries changed, its checksums right."""
    entries = {name: [bytes(data)] for name, data in read_archive(memoryview(whole), source="x").items()}
    with path.open("wb") as file:
        write_archive(file, entries | {name: [data] for name, data in changes.items()})


def test_config_of_small_models_is_json():
    json.dumps(config(architecture(text_codec())))
