"""Pieces of tokens, rows of pieces, and the tokenizer files they come from."""

import json
from itertools import pairwise

import numpy as np
import pytest

from berts import VOCABULARY, write_folder
from gatework.core.bert_folder import BertFolder
from gatework.core.errors import BundleError, DataError
from gatework.text.hugging_face import piece_cutter
from gatework.text.pieces import ENTRY, MOST_PIECES, PieceCutter

IDS = {piece: index for index, piece in enumerate(VOCABULARY)}


@pytest.fixture
def cutter(tmp_path):
    write_folder(tmp_path / "bert")
    folder = BertFolder(tmp_path / "bert")
    return piece_cutter(folder)


def names(cutter, batch, token):
    ids = batch.ids_RP[batch.row_N[token], batch.begin_N[token] : batch.end_N[token]]
    return [cutter.model.vocabulary[index] for index in ids]


def test_every_token_has_its_pieces(cutter):
    tokens = ["The", "actors", "\u200d", "😀", "Café", "x" * 500, "中文", "was"]
    pieces = cutter.encode(tokens)
    found = [[VOCABULARY[i] for i in pieces.ids_P[a:b]] for a, b in pairwise(pieces.starts_T)]
    assert found == [["the"], ["act", "##or", "##s"], ["[UNK]"], ["[UNK]"], ["cafe"], ["[UNK]"], ["中", "文"], ["was"]]
    assert [list(part) for part in cutter.encode(tokens)] == [list(part) for part in pieces]  # from the cache


def test_a_long_token_is_read_in_part(cutter):
    assert len(cutter.encode(["." * 9999, "film"]).ids_P) == MOST_PIECES + 1


def test_rows_carry_special_pieces_and_places(cutter):
    sequences = [["actors", "film"], ["dull"]]
    batch = cutter.collate([cutter.encode(one) for one in sequences])
    assert batch.lengths_R.tolist() == [6, 3]
    assert [VOCABULARY[i] for i in batch.ids_RP[0]] == ["[CLS]", "act", "##or", "##s", "film", "[SEP]"]
    assert [VOCABULARY[i] for i in batch.ids_RP[1, :3]] == ["[CLS]", "dull", "[SEP]"]
    assert [names(cutter, batch, n) for n in range(3)] == [["act", "##or", "##s"], ["film"], ["dull"]]
    assert batch.row_N.tolist() == [0, 0, 1]


def test_nothing_is_a_batch_too(cutter):
    batch = cutter.collate([])
    assert len(batch.ids_RP) == len(batch.row_N) == 0


@pytest.mark.parametrize("count", [13, 14, 15, 16, 29, 200])
def test_long_sequences_overlap_and_every_token_is_found_once(cutter, count):
    rng = np.random.default_rng(count)
    tokens = [["a", "actors", "film", "中文"][k] for k in rng.integers(0, 4, count)]
    pieces = cutter.encode(tokens)
    batch = cutter.collate([pieces])
    assert (batch.lengths_R <= 16).all()
    assert len(batch.row_N) == count
    assert (np.diff(batch.row_N) >= 0).all()
    for token in range(count):
        assert names(cutter, batch, token) == [
            VOCABULARY[i] for i in pieces.ids_P[pieces.starts_T[token] : pieces.starts_T[token + 1]]
        ]


def test_vectors_come_from_the_middle_of_rows(cutter):
    cutter.positions = 32
    batch = cutter.collate([cutter.encode(["film"] * 100)])
    starts_R = np.searchsorted(batch.row_N, np.arange(len(batch.lengths_R)))
    assert len(starts_R) == 5
    assert batch.begin_N[starts_R].tolist() == [1, 6, 6, 6, 6]
    assert batch.end_N[starts_R[1:] - 1].tolist() == [26, 26, 26, 26]


def test_tokens_wider_than_a_row_are_cut_to_it(cutter):
    batch = cutter.collate([cutter.encode(["." * 40, "a", "." * 40])])
    assert (batch.lengths_R <= 16).all()
    assert (batch.end_N <= batch.lengths_R[batch.row_N] - 1).all()
    assert names(cutter, batch, 0) == ["."] * 14


def test_tokenizer_json_and_vocab_txt_say_the_same(tmp_path, cutter):
    tokenizers = pytest.importorskip("tokenizers", reason="it writes the tokenizer.json of this test")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(IDS, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", IDS["[CLS]"]), ("[SEP]", IDS["[SEP]"])]
    )
    write_folder(tmp_path / "other")
    (tmp_path / "other" / "vocab.txt").unlink()
    (tmp_path / "other" / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    assert piece_cutter(BertFolder(tmp_path / "other")).to_entries() == cutter.to_entries()


def test_entries_round_trip(cutter):
    again = PieceCutter.from_json(json.loads(cutter.to_entries()[ENTRY]), source="b")
    tokens = ["Actors", "中文", "É"]
    assert [list(part) for part in again.encode(tokens)] == [list(part) for part in cutter.encode(tokens)]
    assert again.to_entries() == cutter.to_entries()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"kind": "bpe"},
        {"vocabulary": "abc"},
        {"vocabulary": [1]},
        {"unknown": -1},
        {"begin": 10**6},
        {"end": True},
        {"lowercase": 1},
        {"prefix": None},
        {"longest_word": 0},
        {"positions": 2},
    ],
)
def test_hostile_entries(cutter, change):
    values = json.loads(cutter.to_entries()[ENTRY])
    with pytest.raises(BundleError, match="somewhere"):
        PieceCutter.from_json({**values, **change}, source="somewhere")
    with pytest.raises(BundleError, match="somewhere"):
        PieceCutter.from_json([values], source="somewhere")


def test_other_tokenizers_are_named(tmp_path):
    write_folder(tmp_path)
    values = {"model": {"type": "Unigram"}, "normalizer": None, "pre_tokenizer": {"type": "Metaspace"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"tokenizer\.json: a tokenizer of Unigram \+ None \+ Metaspace; supported are"):
        piece_cutter(BertFolder(tmp_path))


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (["[UNK]", "a"], r"vocab\.txt: the piece '\[CLS\]' is missing"),
        ([*VOCABULARY, "more"], r"the tokenizer has 32 pieces, the weights 31\. The two are of different models"),
    ],
)
def test_vocabularies_that_do_not_fit(tmp_path, vocabulary, message):
    write_folder(tmp_path, vocabulary=vocabulary)
    with pytest.raises(DataError, match=message):
        piece_cutter(BertFolder(tmp_path))


def test_a_folder_without_a_tokenizer(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(DataError, match=r"neither tokenizer\.json nor vocab\.txt is there"):
        piece_cutter(BertFolder(tmp_path))
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"vocab\.txt: cannot be read"):
        piece_cutter(BertFolder(tmp_path))
