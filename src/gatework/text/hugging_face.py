"""Tokenizers of Hugging Face folders, as far as encoders of the BERT family have them: WordPiece and byte pairs.

They are read from `tokenizer.json`, or from the older `vocab.txt` (WordPiece) or `vocab.json` and `merges.txt` (byte
pairs). What comes out needs no package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gatework.core.architecture import Bert
from gatework.core.bert_folder import COPY, BertFolder, choose
from gatework.core.errors import ConfigError, DataError
from gatework.text.byte_pieces import BytePieces
from gatework.text.pieces import PieceCutter, PieceModel
from gatework.text.wordpiece import LONGEST_WORD, WordPiece

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe

Json = Mapping[str, Any]
MakeModel = Callable[[Sequence[str], int], PieceModel]
"""A model of a vocabulary and the id of its unknown piece."""
Special = tuple[str, str, str]
"""Pieces that stand for the unknown, before and after a sequence."""


class OpenBert(NamedTuple):
    """The BERT of a recipe."""

    architecture: Bert
    """As far as the network reads it."""
    cutter: PieceCutter


def open_bert(recipe: Recipe) -> OpenBert | None:
    """The BERT of a recipe; None where it has none.

    Raises: DataError: the folder. ConfigError: options that do not fit it or each other.
    """
    model, inside = recipe.model, recipe.export.bert == "inside"
    if model.bert is None:
        return None
    if model.bert_trained and not inside:
        raise ConfigError(
            "export.bert 'reference' with model.bert_trained: a fine-tuned BERT is no longer that of its folder. "
            "Set export.bert = 'inside'."
        )
    if recipe.train.pretrain_epochs:
        raise ConfigError(
            "train.pretrain_epochs with model.bert: the BERT sees the words that pre-training would have to guess. "
            "Set train.pretrain_epochs = 0."
        )
    folder = BertFolder(model.bert)
    read = choose(folder.architecture, model.bert_layers, pieces=model.bert_pieces, inside=inside)
    return OpenBert(read, piece_cutter(folder))


def piece_cutter(folder: BertFolder) -> PieceCutter:
    """The cutter of a Hugging Face folder.

    Raises: DataError: a kind of tokenizer that is not supported, a piece that is missing, or more pieces than vectors.
    """
    settings = folder.json("tokenizer_config.json") if folder.has("tokenizer_config.json") else {}
    if folder.has("tokenizer.json"):
        source = str(folder.path / "tokenizer.json")
        vocabulary, special, model = _from_tokenizer(folder.json("tokenizer.json"), source)
    elif folder.has("vocab.txt"):
        source = str(folder.path / "vocab.txt")
        vocabulary, special, model = _from_lines(folder.lines("vocab.txt"), settings)
    elif folder.has("vocab.json") and folder.has("merges.txt"):
        source = str(folder.path / "vocab.json")
        vocabulary, special, model = _from_merges(folder.json("vocab.json"), folder.lines("merges.txt"), settings)
    else:
        raise DataError(f"{folder.path}: neither tokenizer.json nor vocab.txt is there. {COPY}")
    unknown, begin, end = special
    ids = {piece: index for index, piece in enumerate(vocabulary) if piece}
    for piece in special:
        if piece not in ids:
            raise DataError(f"{source}: the piece {piece!r} is missing. {COPY}")
    if len(vocabulary) > folder.architecture.vocabulary:
        raise DataError(
            f"{source}: the tokenizer has {len(vocabulary):,} pieces, the weights {folder.architecture.vocabulary:,}. "
            "The two are of different models: copy the folder again."
        )
    numbers = {"unknown": ids[unknown], "begin": ids[begin], "end": ids[end]}
    return PieceCutter(model(vocabulary, ids[unknown]), positions=folder.architecture.positions, **numbers)


def _from_tokenizer(values: Json, source: str) -> tuple[list[str], Special, MakeModel]:
    model, normalizer = values.get("model") or {}, values.get("normalizer") or {}
    cutter = values.get("pre_tokenizer") or {}
    kinds = (model.get("type"), normalizer.get("type"), cutter.get("type"))
    if kinds == ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        lowercase, accents = bool(normalizer.get("lowercase")), normalizer.get("strip_accents")
        make = _wordpiece(
            lowercase=lowercase,
            strip_accents=lowercase if accents is None else bool(accents),
            chinese=bool(normalizer.get("handle_chinese_chars", True)),
            prefix=str(model.get("continuing_subword_prefix", "##")),
            longest_word=int(model.get("max_input_chars_per_word", LONGEST_WORD)),
        )
        unknown, ends = str(model.get("unk_token", "[UNK]")), ("[CLS]", "[SEP]")
    elif kinds == ("BPE", None, "ByteLevel"):
        make = _bytes([_pair(merge) for merge in model.get("merges", ())])
        unknown, ends = "<unk>", ("<s>", "</s>")
    else:
        raise DataError(
            f"{source}: a tokenizer of {' + '.join(str(kind) for kind in kinds)}; supported are WordPiece with "
            "BertNormalizer and BertPreTokenizer, and BPE with ByteLevel. Use a model of the BERT family."
        )
    added = {one["content"]: one["id"] for one in values.get("added_tokens", ())}
    begin, end = _ends(values.get("post_processor") or {}) or ends
    return _ordered({**model.get("vocab", {}), **added}), (unknown, begin, end), make


def _from_lines(lines: Sequence[str], settings: Json) -> tuple[list[str], Special, MakeModel]:
    lowercase, accents = bool(settings.get("do_lower_case", True)), settings.get("strip_accents")
    make = _wordpiece(
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else bool(accents),
        chinese=bool(settings.get("tokenize_chinese_chars", True)),
    )
    return list(lines), _special(settings, "[UNK]", "[CLS]", "[SEP]"), make


def _from_merges(
    vocabulary: Mapping[str, Any], lines: Sequence[str], settings: Json
) -> tuple[list[str], Special, MakeModel]:
    merges = [_pair(line) for line in lines if line and not line.startswith("#version")]
    return _ordered(vocabulary), _special(settings, "<unk>", "<s>", "</s>"), _bytes(merges)


def _wordpiece(**settings: Any) -> MakeModel:
    return lambda vocabulary, unknown: WordPiece(vocabulary, unknown=unknown, **settings)


def _bytes(merges: Sequence[tuple[str, str]]) -> MakeModel:
    return lambda vocabulary, unknown: BytePieces(vocabulary, merges, unknown=unknown)


def _ordered(ids: Mapping[str, int]) -> list[str]:
    """Pieces in the order of their ids, "" where there is none."""
    vocabulary = [""] * (max(ids.values(), default=-1) + 1)
    for piece, index in ids.items():
        vocabulary[index] = piece
    return vocabulary


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _ends(post: Json) -> tuple[str, str] | None:
    """What stands before and after a sequence."""
    if post.get("type") == "TemplateProcessing":
        special = [part["SpecialToken"]["id"] for part in post.get("single", ()) if "SpecialToken" in part]
        return (special[0], special[1]) if len(special) == 2 else None
    if post.get("type") in ("BertProcessing", "RobertaProcessing"):
        return post["cls"][0], post["sep"][0]
    return None


def _special(settings: Json, *usual: str) -> Special:
    """Special pieces of `tokenizer_config.json`, given as strings or as objects."""
    found = []
    for name, other in zip(("unk_token", "cls_token", "sep_token"), usual, strict=True):
        value = settings.get(name, other)
        found.append(str(value.get("content", other) if isinstance(value, Mapping) else value))
    return found[0], found[1], found[2]
