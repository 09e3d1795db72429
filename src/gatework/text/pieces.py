"""Between tokens and what a BERT reads: pieces of each token, and rows of pieces of bounded length.

    tokens --WordPiece--> pieces (P,), where each token's begin (T + 1,)
           --cut----------> rows  [CLS] pieces [SEP]  of at most the model's positions

A sequence too long for one row is cut into overlapping rows at token borders; a token's vectors are taken from the row
in whose middle it stands. A token of which no piece is left (control characters, say) is the unknown piece, so every
token has at least one; of a very long token the first MOST_PIECES count.

Bundle entry `tokenizer/bert.json`, checked when it is read. P pieces, T tokens, R rows, N tokens of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.batch import BertBatch
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.text.wordpiece import LONGEST_WORD, WordPiece

if TYPE_CHECKING:
    from gatework.core.architecture import Bert
    from gatework.core.bert_folder import BertFolder
    from gatework.core.recipe import Recipe

IntArray = npt.NDArray[np.int32]
ENTRY = "tokenizer/bert.json"
FORMAT = 1
MOST_PIECES = 64
"""Pieces of a token that are read."""
MOST_CACHED, LONGEST_CACHED = 1 << 17, 64
SPECIAL = ("unknown", "begin", "end")


class Pieces(NamedTuple):
    """The pieces of the tokens of a sequence."""

    ids_P: IntArray
    starts_T: IntArray
    """Where each token's pieces begin in `ids_P`, T + 1 entries with the end."""


class PieceCutter:
    """Tokens to pieces, and sequences to rows."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        positions: int,
        unknown: int,
        begin: int,
        end: int,
        lowercase: bool,
        strip_accents: bool,
        chinese: bool = True,
        prefix: str = "##",
        longest_word: int = LONGEST_WORD,
    ) -> None:
        """
        Args:
            vocabulary: pieces in the order of their ids; "" where an id has none.
            positions: most pieces of a row, the special ones counted.
            unknown, begin, end: ids of `[UNK]`, `[CLS]` and `[SEP]`.
            lowercase, strip_accents, chinese, prefix, longest_word: see `WordPiece`.
        """
        self.vocabulary = tuple(vocabulary)
        self.positions = positions
        self.unknown, self.begin, self.end = unknown, begin, end
        self._settings = {
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "chinese": chinese,
            "prefix": prefix,
            "longest_word": longest_word,
        }
        ids = {piece: index for index, piece in enumerate(self.vocabulary) if piece}
        self._model = WordPiece(
            ids,
            unknown=unknown,
            lowercase=lowercase,
            strip_accents=strip_accents,
            chinese=chinese,
            prefix=prefix,
            longest_word=longest_word,
        )
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode(self, tokens: Sequence[str]) -> Pieces:
        """The pieces of each token, at least one each."""
        cut = [self._cache.get(token) or self._cut(token) for token in tokens]
        starts_T = np.zeros(len(cut) + 1, dtype=np.int32)
        np.cumsum(list(map(len, cut)), out=starts_T[1:])
        return Pieces(np.array([one for pieces in cut for one in pieces], dtype=np.int32), starts_T)

    def _cut(self, token: str) -> tuple[int, ...]:
        pieces = tuple(self._model(token)[:MOST_PIECES]) or (self.unknown,)
        if len(token) <= LONGEST_CACHED:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[token] = pieces
        return pieces

    def collate(self, sequences: Sequence[Pieces]) -> BertBatch:
        """Several sequences as rows."""
        room = self.positions - 2
        rows: list[IntArray] = []
        places: list[npt.NDArray[np.int64]] = []
        for one in sequences:
            starts_T = one.starts_T.astype(np.int64)
            place_TC = np.empty((len(starts_T) - 1, 3), dtype=np.int64)
            for first, last, kept in _windows(starts_T, room):
                own = starts_T[first]
                place_TC[kept, 0] = len(rows)
                place_TC[kept, 1] = starts_T[kept] - own + 1
                place_TC[kept, 2] = starts_T[kept.start + 1 : kept.stop + 1] - own + 1
                rows.append(one.ids_P[own : starts_T[last]][:room])
            np.minimum(place_TC[:, 2], room + 1, out=place_TC[:, 2])
            places.append(place_TC)
        lengths_R = np.array([len(row) + 2 for row in rows], dtype=np.int64)
        ids_RP = np.zeros((len(rows), int(lengths_R.max(initial=2))), dtype=np.int64)
        ids_RP[:, 0] = self.begin
        for index, row in enumerate(rows):
            ids_RP[index, 1 : len(row) + 1] = row
        ids_RP[np.arange(len(rows)), lengths_R - 1] = self.end
        place_NC = np.concatenate([*places, np.empty((0, 3), dtype=np.int64)])
        return BertBatch(ids_RP, lengths_R, place_NC[:, 0], place_NC[:, 1], place_NC[:, 2])

    def to_entries(self) -> dict[str, bytes]:
        """The bundle entry this is read back from."""
        head: dict[str, Any] = {"format": FORMAT, "kind": "wordpiece", "positions": self.positions}
        head |= {name: getattr(self, name) for name in SPECIAL}
        values = {**head, **self._settings, "vocabulary": self.vocabulary}
        return {ENTRY: json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()}

    @classmethod
    def from_json(cls, values: Any, *, source: str) -> PieceCutter:
        """Read what `to_entries` wrote, parsed. Raises BundleError naming `source`."""

        def fault(what: str) -> BundleError:
            return BundleError(f"{source}: {what}. Export the model again.")

        if not isinstance(values, dict) or values.get("kind") != "wordpiece" or values.get("format") != FORMAT:
            raise fault(f"expected an object of kind 'wordpiece' and format {FORMAT}")
        vocabulary = values.get("vocabulary")
        if not isinstance(vocabulary, list) or not all(isinstance(piece, str) for piece in vocabulary):
            raise fault("vocabulary must be a list of strings")
        for name in SPECIAL:
            value = values.get(name)
            if type(value) is not int or not 0 <= value < len(vocabulary):
                raise fault(f"{name} must be the number of a piece")
        for name, kind in (("lowercase", bool), ("strip_accents", bool), ("chinese", bool), ("prefix", str)):
            if type(values.get(name)) is not kind:
                raise fault(f"{name} must be of type {kind.__name__}")
        for name, least in (("longest_word", 1), ("positions", 3)):
            if type(values.get(name)) is not int or not least <= values[name] < 1 << 20:
                raise fault(f"{name} must be a whole number from {least}")
        names = (*SPECIAL, "lowercase", "strip_accents", "chinese", "prefix", "longest_word", "positions")
        return cls(vocabulary, **{name: values[name] for name in names})


def _windows(starts_T: npt.NDArray[np.int64], room: int) -> list[tuple[int, int, slice]]:
    """Tokens [first, last) of each row, and those of them whose vectors are taken from it.

    Rows hold at most `room` pieces. Neighbours share about a third of a row, and part in the middle of what they share.
    """
    count = len(starts_T) - 1
    if starts_T[-1] <= room:
        return [(0, count, slice(0, count))] if count else []
    rows: list[tuple[int, int]] = []
    first = 0
    while True:
        last = max(first + 1, int(np.searchsorted(starts_T, starts_T[first] + room, side="right")) - 1)
        rows.append((first, last))
        if last >= count:
            break
        back = int(np.searchsorted(starts_T, starts_T[last] - room // 3))
        first = max(first + 1, min(back, last))
    cuts = [0, *((begin + end) // 2 for (_, end), (begin, _) in pairwise(rows)), count]
    return [(*row, slice(cuts[index], cuts[index + 1])) for index, row in enumerate(rows)]


class OpenBert(NamedTuple):
    """The BERT of a recipe."""

    architecture: Bert
    """As far as the network reads it."""
    cutter: PieceCutter


def open_bert(recipe: Recipe) -> OpenBert | None:
    """The BERT of a recipe; None where it has none.

    Raises: DataError: the folder. ConfigError: options that do not fit it or each other.
    """
    from gatework.core.bert_folder import BertFolder, choose

    model, inside = recipe.model, recipe.export.bert == "inside"
    if model.bert is None:
        return None
    if model.bert_trained and not inside:
        raise ConfigError(
            "export.bert 'reference' with model.bert_trained: a fine-tuned BERT is no longer that of its folder. "
            "Set export.bert = 'inside'."
        )
    folder = BertFolder(model.bert)
    read = choose(folder.architecture, model.bert_layers, pieces=model.bert_pieces, inside=inside)
    return OpenBert(read, piece_cutter(folder))


def piece_cutter(folder: BertFolder) -> PieceCutter:
    """The cutter of a Hugging Face folder.

    Raises: DataError: a kind of tokenizer that is not supported, a piece that is missing, or more pieces than vectors.
    """
    tokenizer, lines, config = folder.tokenizer_files()
    source, positions = str(folder.path), folder.architecture.positions
    if tokenizer is not None:
        cutter = _from_tokenizer(tokenizer, positions, source=f"{source}/tokenizer.json")
    else:
        cutter = _from_lines(lines or [], config, positions, source=f"{source}/vocab.txt")
    if len(cutter.vocabulary) > folder.architecture.vocabulary:
        raise DataError(
            f"{source}: the tokenizer has {len(cutter.vocabulary):,} pieces, the weights "
            f"{folder.architecture.vocabulary:,}. The two are of different models: copy the folder again."
        )
    return cutter


def _from_lines(lines: Sequence[str], config: Mapping[str, Any], positions: int, *, source: str) -> PieceCutter:
    lowercase = bool(config.get("do_lower_case", True))
    accents = config.get("strip_accents")
    return _cutter(
        {piece.rstrip("\n"): index for index, piece in enumerate(lines)},
        unknown=_content(config, "unk_token", "[UNK]"),
        begin=_content(config, "cls_token", "[CLS]"),
        end=_content(config, "sep_token", "[SEP]"),
        positions=positions,
        source=source,
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else bool(accents),
        chinese=bool(config.get("tokenize_chinese_chars", True)),
    )


def _from_tokenizer(values: Mapping[str, Any], positions: int, *, source: str) -> PieceCutter:
    model, normalizer = values.get("model") or {}, values.get("normalizer") or {}
    cutter = values.get("pre_tokenizer") or {}
    kinds = (model.get("type"), normalizer.get("type"), cutter.get("type"))
    if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        raise DataError(
            f"{source}: a tokenizer of {' + '.join(str(kind) for kind in kinds)}; supported is WordPiece with "
            "BertNormalizer and BertPreTokenizer. Use a model of the BERT family."
        )
    lowercase, accents = bool(normalizer.get("lowercase")), normalizer.get("strip_accents")
    ends = _ends(values.get("post_processor") or {})
    return _cutter(
        model["vocab"],
        unknown=model.get("unk_token", "[UNK]"),
        begin=ends[0],
        end=ends[1],
        positions=positions,
        source=source,
        lowercase=lowercase,
        strip_accents=lowercase if accents is None else bool(accents),
        chinese=bool(normalizer.get("handle_chinese_chars", True)),
        prefix=model.get("continuing_subword_prefix", "##"),
        longest_word=int(model.get("max_input_chars_per_word", LONGEST_WORD)),
    )


def _ends(post: Mapping[str, Any]) -> tuple[str, str]:
    """What stands before and after a sequence."""
    if post.get("type") == "TemplateProcessing":
        special = [part["SpecialToken"]["id"] for part in post.get("single", ()) if "SpecialToken" in part]
        if len(special) == 2:
            return special[0], special[1]
    if post.get("type") == "BertProcessing":
        return post["cls"][0], post["sep"][0]
    return "[CLS]", "[SEP]"


def _content(config: Mapping[str, Any], name: str, usual: str) -> str:
    """A special piece of `tokenizer_config.json`, given as a string or as an object."""
    value = config.get(name, usual)
    return str(value.get("content", usual) if isinstance(value, Mapping) else value)


def _cutter(ids: Mapping[str, int], *, unknown: str, begin: str, end: str, source: str, **settings: Any) -> PieceCutter:
    for piece in (unknown, begin, end):
        if piece not in ids:
            raise DataError(f"{source}: the piece {piece!r} is missing. Copy the whole folder of the model.")
    vocabulary = [""] * (max(ids.values()) + 1)
    for piece, index in ids.items():
        vocabulary[index] = piece
    return PieceCutter(vocabulary, unknown=ids[unknown], begin=ids[begin], end=ids[end], **settings)
