"""Between tokens and what a BERT reads: pieces of each token, and rows of pieces of bounded length. Rows are what a
language model reads too, whose pieces are characters (`letters`).

    tokens --model------> pieces (P,), where each token's begin (T + 1,)
           --cut--------> rows  [CLS] pieces [SEP]  of at most the model's positions

A sequence too long for one row is cut into overlapping rows at token borders; a token's vectors are taken from the row
in whose middle it stands. A token of which no piece is left (control characters, say) is the unknown piece, so every
token has at least one; of a very long token the first MOST_PIECES count.

Bundle entry `tokenizer/bert.json`, checked when it is read. P pieces, T tokens, R rows, N tokens of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gatework.core.batch import PieceBatch
from gatework.core.errors import BundleError
from gatework.text.byte_pieces import BytePieces
from gatework.text.wordpiece import WordPiece

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


class PieceModel(Protocol):
    """A token in, ids of its pieces out: `WordPiece` or `BytePieces`."""

    vocabulary: tuple[str, ...]

    def __call__(self, token: str) -> list[int]: ...

    def to_json(self) -> dict[str, Any]: ...


class PieceCutter:
    """Tokens to pieces, and sequences to rows."""

    def __init__(self, model: PieceModel, *, positions: int, unknown: int, begin: int, end: int) -> None:
        """
        Args:
            model: cuts a token.
            positions: most pieces of a row, the special ones counted.
            unknown, begin, end: ids of `[UNK]`, `[CLS]` and `[SEP]`.
        """
        self.model = model
        self.positions = positions
        self.unknown, self.begin, self.end = unknown, begin, end
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode(self, tokens: Sequence[str]) -> Pieces:
        """The pieces of each token, at least one each."""
        cut = [self._cache.get(token) or self._cut(token) for token in tokens]
        starts_T = np.zeros(len(cut) + 1, dtype=np.int32)
        np.cumsum(list(map(len, cut)), out=starts_T[1:])
        return Pieces(np.array([one for pieces in cut for one in pieces], dtype=np.int32), starts_T)

    def _cut(self, token: str) -> tuple[int, ...]:
        pieces = tuple(self.model(token)[:MOST_PIECES]) or (self.unknown,)
        if len(token) <= LONGEST_CACHED:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[token] = pieces
        return pieces

    def collate(self, sequences: Sequence[Pieces]) -> PieceBatch:
        """Several sequences as rows."""
        return collate_pieces(sequences, positions=self.positions, begin=self.begin, end=self.end)

    def to_entries(self) -> dict[str, bytes]:
        """The bundle entry this is read back from."""
        kind = next(name for name, made in KINDS.items() if isinstance(self.model, made))
        values: dict[str, Any] = {"format": FORMAT, "kind": kind, "positions": self.positions}
        values |= {name: getattr(self, name) for name in SPECIAL}
        return {ENTRY: json.dumps(values | self.model.to_json(), ensure_ascii=False, separators=(",", ":")).encode()}

    @classmethod
    def from_json(cls, values: Any, *, source: str) -> PieceCutter:
        """Read what `to_entries` wrote, parsed. Raises BundleError naming `source`."""

        def fault(what: str) -> BundleError:
            return BundleError(f"{source}: {what}. Export the model again.")

        if not isinstance(values, dict) or values.get("format") != FORMAT or values.get("kind") not in KINDS:
            raise fault(f"expected an object of format {FORMAT} and of kind {' or '.join(KINDS)}")
        vocabulary = values.get("vocabulary")
        if not isinstance(vocabulary, list) or not all(isinstance(piece, str) for piece in vocabulary):
            raise fault("vocabulary must be a list of strings")
        for name in SPECIAL:
            if type(values.get(name)) is not int or not 0 <= values[name] < len(vocabulary):
                raise fault(f"{name} must be the number of a piece")
        if type(values.get("positions")) is not int or not 3 <= values["positions"] < 1 << 20:
            raise fault("positions must be a whole number from 3")
        options = {name: values[name] for name in (*SPECIAL, "positions")}
        return cls(_model(values, fault), **options)


def collate_pieces(sequences: Sequence[Pieces], *, positions: int, begin: int, end: int) -> PieceBatch:
    """Sequences as rows of at most `positions` pieces, of which the first is `begin` and the last `end`."""
    room = positions - 2
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
    ids_RP[:, 0] = begin
    for index, row in enumerate(rows):
        ids_RP[index, 1 : len(row) + 1] = row
    ids_RP[np.arange(len(rows)), lengths_R - 1] = end
    place_NC = np.concatenate([*places, np.empty((0, 3), dtype=np.int64)])
    return PieceBatch(ids_RP, lengths_R, place_NC[:, 0], place_NC[:, 1], place_NC[:, 2])


KINDS: Mapping[str, type[WordPiece] | type[BytePieces]] = {"wordpiece": WordPiece, "bytes": BytePieces}


def _model(values: Mapping[str, Any], fault: Callable[[str], BundleError]) -> PieceModel:
    vocabulary = values["vocabulary"]
    if values["kind"] == "bytes":
        merges = values.get("merges")
        pairs = isinstance(merges, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in merges)
        if not pairs or not all(isinstance(half, str) for pair in merges or () for half in pair):
            raise fault("merges must be a list of pairs of strings")
        return BytePieces(vocabulary, [(left, right) for left, right in merges or ()], unknown=values["unknown"])
    for name, kind in (("lowercase", bool), ("strip_accents", bool), ("chinese", bool), ("prefix", str)):
        if type(values.get(name)) is not kind:
            raise fault(f"{name} must be of type {kind.__name__}")
    if type(values.get("longest_word")) is not int or not 1 <= values["longest_word"] < 1 << 20:
        raise fault("longest_word must be a whole number from 1")
    names = ("unknown", "lowercase", "strip_accents", "chinese", "prefix", "longest_word")
    return WordPiece(vocabulary, **{name: values[name] for name in names})


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
