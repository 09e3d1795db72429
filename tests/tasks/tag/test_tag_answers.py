"""From a recipe to a codec, and from tag paths to answers: offsets, options, running text, hostile input."""

import json
import math

import numpy as np
import pytest

from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.core.paths import TagPaths
from gatework.core.recipe import Recipe
from gatework.core.recipe_io import build_recipe
from gatework.tasks import TASKS
from gatework.tasks.tag import open_codec

TAG = TASKS["tag"]
ENGLISH = (
    "Mr.\tO\nAda\tB-PER\nLovelace\tI-PER\nvisits\tO\nParis\tB-LOC\n.\tO\n\nShe\tO\ndid\tO\nn't\tO\nstay\tO\n.\tO\n\n"
    * 4
)
CHINESE = "在\tO\n北\tB-LOC\n京\tI-LOC\n▁\tO\n见\tO\n张\tB-PER\n三\tI-PER\n。\tO\n\n" * 6


def prepared(folder, text=ENGLISH, say=None, **sections):
    (folder / "train.conll").write_text(text, encoding="utf-8")
    data = {"train": str(folder / "train.conll"), "dev": str(folder / "train.conll")} | sections.pop("data", {})
    values = {"task": "tag", "data": data, "input": {"min_count": 1} | sections.pop("input", {}), **sections}
    store = folder / "prepared"
    store.mkdir(exist_ok=True)
    return TAG.prepare(build_recipe(values).filled(TAG.defaults), store, *([say] if say else []))


def opened(one):
    decode = TAG.settle(one, {})
    config = {"decode": json.loads(json.dumps(decode)), "architecture": one.architecture.to_dict()}
    return open_codec(config, one.entries())


def paths_of(codec, rows, p=0.9):
    """Tag paths of given tags (of the network), one row a path, the first the best."""
    number = {tag: index for index, tag in enumerate(codec.labels)}
    tags = np.array([[number[tag] for tag in row] for row in rows], dtype=np.int32)
    p_T = np.full(tags.shape[1], p, dtype=np.float32)
    log_p = np.log(np.array([0.5 / (index + 1) for index in range(len(rows))]))
    return TagPaths(tags, log_p, p_T, p_T)


def answer(codec, text, *rows, **options):
    encoded = codec.encode(text)
    assert len(encoded.parts) == len(rows)
    outputs = [[[paths_of(codec, row if isinstance(row[0], list) else [row])] for row in rows]]
    return codec.decode(outputs, [encoded], **options)[0]


# ── preparing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_english(tmp_path):
    said = []
    one = prepared(tmp_path, say=said.append)
    assert one.layers[0].labels == ("O", "S-LOC", "B-PER", "E-PER")
    assert one.recipe.input.unit == "treebank"
    assert one.train.targets_of(0).tolist() == [0, 2, 3, 0, 1, 0]
    assert one.gold[0].tolist() == [0, 2, 3, 0, 1, 0, 0, 0, 0, 0, 0] * 4
    assert one.architecture.head == "per_step"
    assert one.architecture.ngram_rows == len(one.codec.ngrams)
    assert any("8 training sentences of 44 tokens" in sentence for sentence in said)
    perfect = TAG.score(one, {"tags": one.gold[0]})
    assert (perfect["f1"], perfect["accuracy"]) == (1.0, 1.0)
    assert "1.0000" in TAG.report(perfect)


def test_chinese(tmp_path):
    one = prepared(tmp_path, CHINESE)
    assert (one.recipe.input.unit, one.space, one.cut) == ("glyph", "▁", True)
    assert one.recipe.input.affixes == 0, "a character has none"


def test_a_part_is_held_back_by_sentence(tmp_path):
    text = "".join(f"w{n}\tB-A\nx\tO\n\n" * 2 for n in range(50))
    one = prepared(tmp_path, text, data={"dev": 0.2})
    assert (len(one.train), len(one.dev)) == (80, 20)
    dev = {sentence.tokens for sentence in one.examples("dev")}
    assert len(dev) == 10, "equal sentences stay together"


def test_layers(tmp_path):
    text = "Ada\tNNP\tB-PER\nruns\tVB\tO\n\nBob\tNNP\tB-PER\nsits\tVB\tO\n\n"
    one = prepared(tmp_path, text, data={"also": [1]})
    assert one.layers[1].labels == ("NNP", "VB")
    assert one.train.targets_of(0).tolist() == [[1, 0], [0, 1]]
    assert one.architecture.also == (2,)
    assert len(one.constraints) == 2
    assert one.constraints[1] is None
    metrics = TAG.score(one, {"tags": one.gold[0], "tags.1": one.gold[1]})
    assert metrics["layers"]["1"]["accuracy"] == 1.0


def test_parts_of_speech_are_measured_by_accuracy(tmp_path):
    said = []
    one = prepared(tmp_path, "Ada\tNNP\nruns\tVB\n\n" * 3, say=said.append)
    assert one.recipe.train.metric == "accuracy"
    assert any("mark no spans" in sentence for sentence in said)
    assert "f1" not in TAG.score(one, {"tags": one.gold[0]})


def test_words_are_found_in_characters(tmp_path):
    one = prepared(tmp_path, "中国\tns\n人民\tn\n\n很\td\n好\ta\n\n" * 3, data={"segment": True})
    assert one.layers[0].labels[:2] == ("S-a", "S-d")
    metrics = TAG.score(one, {"tags": one.gold[0]})
    assert (metrics["f1"], metrics["seg_f1"]) == (1.0, 1.0)
    codec = opened(one)
    got = answer(codec, "中国好", ["B-ns", "E-ns", "S-a"])
    assert [(span.text, span.label) for span in got.spans] == [("中国", "ns"), ("好", "a")]


def test_a_tag_that_only_dev_has_is_said_and_missed(tmp_path):
    (tmp_path / "dev.conll").write_text("Ada\tB-PER\nX\tB-ORG\n", encoding="utf-8")
    said = []
    one = prepared(tmp_path, say=said.append, data={"dev": str(tmp_path / "dev.conll")})
    assert any("dev.conll:1: tag 'B-ORG' (S-ORG in bioes) does not occur in training" in sentence for sentence in said)
    assert one.dev.targets_of(0).tolist() == [-1, -1]
    metrics = TAG.score(one, {"tags": np.array([0, 0], dtype=np.int32)})
    assert (metrics["gold"], metrics["right"]) == (2, 0)


def test_partial_annotation(tmp_path):
    one = prepared(tmp_path, "a\tB-X\nb\tO\nc\t?\n\nd\t?\ne\tO\n\n" * 2, data={"unknown": "?", "scheme": "bio"})
    assert one.train.targets_of(0).tolist() == [1, 0, -1]


def test_long_sentences_are_cut_outside_spans(tmp_path):
    text = "a\tO\nb\tB-X\nc\tI-X\n" * 40 + "\nz\tO\n\n"
    one = prepared(tmp_path, text, input={"max_tokens": 11})
    rows = [one.train.targets_of(index) for index in range(len(one.train))]
    assert max(map(len, rows)) <= 11
    assert sum(map(len, rows)) == 121
    inside = one.layers[0].labels.index("E-X")
    assert all(row[0] != inside for row in rows)
    assert int(one.dev.lengths_N.max()) == 120, "dev sentences are judged whole"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Ada 5\nLee\n", r"lexicon\.txt:2: 'Lee': a word and its count are expected"),
        ("Ada -5\n", r"lexicon\.txt:1: the count -5 is no count"),
        ("Ada\nLee\tx\n", r"lexicon\.txt:2: 2 fields where a word alone is expected"),
        ("Ada 1 2 3\nLee 1 2 x\n", r"lexicon\.txt:2: a word and its vector are expected"),
        ("Ada 1 2 3\n", r"lexicon\.txt:1: vectors of width 3, .* Set model\.lexicon_embedding to 3"),
        ("", r"lexicon\.txt:1: the file is empty"),
    ],
)
def test_lexicon_files_with_odd_lines(tmp_path, lines, message):
    path = tmp_path / "lexicon.txt"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, ENGLISH, input={"lexicon": str(path)})


@pytest.mark.parametrize(
    ("text", "sections", "message"),
    [
        ("a\tO\nb\tO\n\n", {}, r"every token has the one tag 'O'"),
        (ENGLISH, {"train": {"metric": "bleu"}}, "train.metric 'bleu' is unknown"),
        (ENGLISH, {"input": {"unit": "bpe"}}, "input.unit 'bpe' cannot hold the tokens"),
        (ENGLISH, {"data": {"format": "csv"}}, "data.format 'csv' holds no tags"),
        (ENGLISH, {"model": {"pooling": ["last"]}}, "model.pooling is not for tagging. Leave it out."),
        (ENGLISH, {"data": {"unlabelled": ["a.txt"]}}, "data.unlabelled is not for tagging"),
        ("a\tB-X\nb\tO\n", {"data": {"dev": 0.5}}, "a single sentence"),
        ("", {}, "the file is empty"),
    ],
)
def test_what_is_refused(tmp_path, text, sections, message):
    with pytest.raises((DataError, ConfigError), match=message):
        prepared(tmp_path, text, **sections)


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def codec(tmp_path):
    return opened(prepared(tmp_path))


def test_offsets_into_the_callers_string(codec):
    text = "  Née\u0301 😀Ａda\u200b Lovelace,\tParis. "
    encoded = codec.encode(text)
    [part] = encoded.parts
    tags = ["B-PER" if one == "Lovelace" else "S-LOC" if one == "Paris" else "O" for one in part.surfaces]
    tags[tags.index("B-PER")] = "S-LOC"
    got = answer(codec, text, tags)
    assert [text[token.start : token.end] for token in got.tokens] == [token.text for token in got.tokens]
    assert [(span.text, span.label) for span in got.spans] == [("Lovelace", "LOC"), ("Paris", "LOC")]
    for span in got.spans:
        assert text[span.start : span.end] == span.text
        assert [token.text for token in got.tokens[slice(*span.tokens)]] == [span.text]


def test_token_lists_count_into_the_joined_tokens(codec):
    got = answer(codec, ["Ada", "Lovelace", "!"], ["B-PER", "E-PER", "O"])
    [span] = got.spans
    assert (got.text, span.text, span.start, span.end, span.tokens) == ("Ada Lovelace !", "Ada Lovelace", 0, 12, (0, 2))
    assert got.tags == ("B-PER", "I-PER", "O"), "as the training file writes them"
    assert span.score == pytest.approx(0.81)
    assert got.to_line() == "Ada Lovelace\tPER\t0.8100"
    json.dumps(got.to_dict())


def test_empty_texts_get_an_answer(codec):
    for text in ("", "  \n", "\u200b", []):
        encoded = codec.encode(text)
        assert codec.parts(encoded) == ()
        [got] = codec.decode([[]], [encoded], top_k=3)
        assert (got.tokens, got.spans, got.to_line(3)) == ((), (), "1.0000\t")


def test_any_string_is_encoded(codec):
    for text in ("\ud83d Ada \udc00", "a\0b", "\x7f\x80", "x" * 10_000, "'" * 3_000, "a-" * 5_000, "." * 5_000):
        encoded = codec.encode(text)
        for part, one in zip(encoded.parts, encoded.encoded, strict=True):
            assert len(one.tokens) == len(part.surfaces) == len(part.offsets)
        json.dumps(text)


def test_a_document_is_cut_into_sentences(codec):
    text = "Mr. Smith stayed. She left.\n\nThe end"
    parts = codec.encode(text).parts
    assert [part.surfaces[0] for part in parts] == ["Mr.", "She", "The"]
    assert [part.first for part in parts] == [0, 4, 7]
    rows = [["O"] * len(part.surfaces) for part in parts]
    rows[1][0] = "S-LOC"
    got = answer(codec, text, *rows)
    assert (got.spans[0].text, got.spans[0].tokens) == ("She", (4, 5))


def test_a_long_text_of_one_megabyte_is_cut(codec):
    encoded = codec.encode("She did n't stay at U.S. Inc. . " * 30_000)
    assert sum(len(part.surfaces) for part in encoded.parts) > 200_000


def test_chinese_blanks_are_read_as_training_writes_them(tmp_path):
    codec = opened(prepared(tmp_path, CHINESE))
    encoded = codec.encode("在北京 见")
    [part], [one] = encoded.parts, encoded.encoded
    assert part.surfaces == ["在", "北", "京", " ", "见"]
    assert one.tokens[3] == codec.text.vocabulary.id("▁")
    assert len(codec.encode("在北京。见张三。\n在").parts) == 3


def test_thresholds_and_calibration(codec):
    spans = ["B-PER", "E-PER", "O", "S-LOC"]
    assert len(answer(codec, ["a", "b", "c", "d"], spans, threshold=0.85).spans) == 1
    assert len(answer(codec, ["a", "b", "c", "d"], spans, threshold=0.0).spans) == 2
    config = {"layers": ["2"], "schemes": ["bio"], "calibration": [2.0, -1.0]}
    codec.settings = type(codec.settings).from_dict(config, source="test")
    got = answer(codec, ["d"], ["S-LOC"]).spans[0].score
    assert got == pytest.approx(1 / (1 + math.exp(-(2 * math.log(9) - 1))), rel=1e-5)


def test_best_paths_of_several_parts(codec):
    text = "She left.\n\nShe left."
    first = [["S-LOC", "O", "O"], ["O", "O", "O"]]
    got = answer(codec, text, first, first, top_k=3)
    assert [path.score for path in got.paths] == pytest.approx([0.25, 0.125, 0.125])
    assert got.paths[0].tags == ("B-LOC", "O", "O", "B-LOC", "O", "O")
    assert got.to_line(3).startswith("0.2500\tShe/B-LOC left/O ./O")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k must be in"),
        ({"threshold": 1.5}, "threshold must be in"),
        ({"beam": 3}, "'beam' is no option of tagging"),
        ({"allow": ["PER"]}, "allow must map places"),
        ({"allow": {9: "PER"}}, "outside the 3 tokens"),
        ({"allow": {0: "XYZ"}}, "no tag 'XYZ'"),
        ({"allow": {(0, 2): "B-PER"}}, "no type 'B-PER'"),
        ({"allow": {"a": "PER"}}, "'a' is no place"),
        ({"allow": {0: 3}}, "3 is no tag"),
    ],
)
def test_options_that_are_refused(codec, options, message):
    with pytest.raises(ConfigError, match=message):
        codec.search([codec.encode(["a", "b", "c"])], **options)


def test_what_a_user_allows(codec):
    def allowed(allow, text=("a", "b", "c")):
        [[mask]] = codec.search([codec.encode(text)], allow=allow).allowed
        if mask is None:
            return None
        return ["".join(tag + " " for tag, may in zip(codec.labels, row, strict=True) if may).strip() for row in mask]

    every = "O S-LOC B-PER E-PER"
    assert allowed({}) is None
    assert allowed({1: "O"}) == [every, "O", every]
    assert allowed({1: "PER"}) == [every, "B-PER E-PER", every]
    assert allowed({1: ["O", "LOC"]}) == [every, "O S-LOC", every]
    assert allowed({1: "-PER"}) == [every, "O S-LOC", every]
    assert allowed({1: None}) == [every, "O", every]
    assert allowed({0: "B-LOC"}) == ["S-LOC", every, every], "as the file writes it"
    assert allowed({(0, 2): "PER"}) == ["B-PER", "E-PER", every]
    assert allowed({(0, 2): None, 2: "LOC"}) == ["O", "O", "S-LOC"]
    assert allowed({(4, 7): "LOC"}, text="The end") == [every, "S-LOC"], "characters of a string"


def test_several_texts_cannot_share_places(codec):
    with pytest.raises(ConfigError, match="got 2 texts"):
        codec.search([codec.encode("a"), codec.encode("b")], allow={0: "O"})


def test_no_path_left(codec):
    encoded = codec.encode(["a"])
    none = TagPaths(np.zeros((1, 1), np.int32), np.array([-np.inf]), np.zeros(1, np.float32), np.zeros(1, np.float32))
    with pytest.raises(ConfigError, match="no way of tagging"):
        codec.decode([[[none]]], [encoded])


# ── the bundle ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": []}, "decode.layers"),
        ({"schemes": ["xyz"]}, "decode.schemes"),
        ({"cut": 1}, "decode.cut"),
        ({"calibration": [0.0, 0.0]}, "decode.calibration"),
        ({"calibration": [float("nan"), 0.0]}, "decode.calibration"),
        ({"calibration": ["a", 0]}, "decode.calibration"),
    ],
)
def test_hostile_settings(tmp_path, change, message):
    one = prepared(tmp_path)
    config = {"decode": TAG.settle(one, {}) | change, "architecture": one.architecture.to_dict()}
    with pytest.raises(BundleError, match=message):
        open_codec(config, one.entries())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (b"[]", "at least two"),
        (b'["O", "O"]', "different strings"),
        (b'["O", "X-PER", "B-A", "E-A"]', "none of the bioes scheme"),
        (b'["O", "S-A"]', "tags, the network"),
        (b"{", "labels.json"),
    ],
)
def test_hostile_labels(tmp_path, labels, message):
    one = prepared(tmp_path)
    config = {"decode": TAG.settle(one, {}), "architecture": one.architecture.to_dict()}
    with pytest.raises(BundleError, match=message):
        open_codec(config, one.entries() | {"labels.json": labels})


def test_defaults_of_the_task_give_way_to_what_is_said():
    recipe = build_recipe({"task": "tag", "input": {"affixes": 1}}).filled(TAG.defaults)
    assert recipe.input.affixes == 1
    assert recipe.input.ngrams == TAG.defaults["input"]["ngrams"]
    assert recipe.train.averaging == "ema"
    assert (recipe.model.embedding_dropout, recipe.input.feature_dropout) == (0.5, 0.2)
    assert Recipe().filled(TASKS["classify"].defaults) == Recipe()
