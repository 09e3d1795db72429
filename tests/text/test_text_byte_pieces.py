"""Byte pairs against Hugging Face `tokenizers`, and the folders they come from."""

import json
import random
from itertools import pairwise

import pytest

from berts import write_folder
from gatework.core.bert_folder import BertFolder
from gatework.core.errors import BundleError
from gatework.text.byte_pieces import runs
from gatework.text.hugging_face import piece_cutter
from gatework.text.pieces import ENTRY, PieceCutter

LINES = ["the great film was dull", "the actors' acting isn't great", "I'd say they're 1984 中文 café", "a  b\tc"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers", reason="the oracle of byte pairs is the package tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(LINES * 9, trainer)
    made.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


@pytest.fixture
def folder(tmp_path, tokenizer):
    write_folder(tmp_path, "roberta", vocab_size=tokenizer.get_vocab_size())
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    return tmp_path


def test_runs():
    assert runs(" don't") == [" don", "'t"]
    assert runs(" 's") == [" '", "s"]
    assert runs("'re12.5%") == ["'re", "12", ".", "5", "%"]
    assert runs(" a  b") == [" a", " ", " b"]
    assert runs(" x\t") == [" x", "\t"]


def test_as_tokenizers_on_mixed_tokens(folder, tokenizer):
    cutter = piece_cutter(BertFolder(folder))
    rng = random.Random(3)
    parts = [*"aB'sdlmtrve1½²Ⅷ中文é.,- \t\n\u3000\xa0\u0301\u200d\x1c", "the", "great", "ing", "'re", "😀", "  "]
    for _ in range(4000):
        token = "".join(rng.choices(parts, k=rng.randint(1, 7)))
        if token[0] in " \t\n\u3000\xa0":
            continue  # a token does not begin with a blank; the oracle then puts none before it
        got = cutter.model(token)
        assert got == tokenizer.encode(token, add_special_tokens=False).ids, repr(token)


def test_every_token_has_its_pieces(folder):
    cutter = piece_cutter(BertFolder(folder))
    pieces = cutter.encode(["great", "", "isn't"])
    found = [[cutter.model.vocabulary[i] for i in pieces.ids_P[a:b]] for a, b in pairwise(pieces.starts_T)]
    assert "".join(found[0]) == "Ġgreat"
    assert found[1] == ["<unk>"]
    assert "".join(found[2]) == "Ġisn't"
    batch = cutter.collate([pieces])
    assert (batch.ids_RP[0, 0], batch.ids_RP[0, batch.lengths_R[0] - 1]) == (0, 2)


def test_older_files_say_the_same(folder, tmp_path, tokenizer):
    want = piece_cutter(BertFolder(folder)).to_entries()
    model = json.loads(tokenizer.to_str())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges + "\n", encoding="utf-8")
    assert piece_cutter(BertFolder(folder)).to_entries() == want


def test_entries_round_trip(folder):
    cutter = piece_cutter(BertFolder(folder))
    values = json.loads(cutter.to_entries()[ENTRY])
    again = PieceCutter.from_json(values, source="b")
    assert again.model("greatest 中") == cutter.model("greatest 中")
    for merges in (None, "ab", [["a"]], [["a", 1]]):
        with pytest.raises(BundleError, match="b: merges must be a list of pairs"):
            PieceCutter.from_json({**values, "merges": merges}, source="b")
