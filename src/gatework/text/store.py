"""Encoded examples on disk: written once, then read through memory maps, so that data may be larger than memory.

A store `name` in a folder is these files, numbers little-endian, one example after the other:

    name.tokens.i32       token ids                    name.starts.i64     where each example's begin, and the end
    name.ngrams.i32       n-gram rows                  name.ngrams.i64     where each example's begin, and the end
    name.local.i32        n-grams that end at each token (T x M each)
    name.characters.i32   character ids (T x K each)   name.characters.i64 likewise; only with character composition
    name.lexicon.i32      slots and rows of lexicon words (2 x L each); name.lexicon.f32 their weights
    name.lexicon.i64      where each example's weights begin; these three only with a lexicon
    name.pieces.i32       pieces for a BERT or language model; name.pieces.i64 where each example's begin, and the end
    name.counts.i32       pieces of each token; these three only with one of them
    name.hidden.f16       its hidden layers at each token (layers x width each) where it is frozen, see `attach_hidden`
    name.targets.i64 | name.targets.f32 | name.tags.i32  a class id each; C numbers each; or a tag a token (Y x T each)
    name.json             counts; written last, so a store without it is not whole

N examples, T tokens of one, M n-gram lengths from two up (and features of a token), K characters of its longest word,
L lexicon words over it, C labels, Y tag layers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError, OutputError
from gatework.text.encoded import Encoded
from gatework.text.lexicon import LexiconHits
from gatework.text.pieces import Pieces
from gatework.text.vocabulary import EMPTY

FORMAT = 1
_PARTS = (
    "tokens.i32",
    "ngrams.i32",
    "local.i32",
    "characters.i32",
    "lexicon.i32",
    "lexicon.f32",
    "pieces.i32",
    "counts.i32",
)


class ExampleStore:
    """Read access to a store; `write` makes one."""

    def __init__(self, folder: Path, name: str, head: dict[str, Any]) -> None:
        self._count = int(head["examples"])
        self._stem = folder / name
        self._has_characters = bool(head["characters"])
        self.left_out = int(head["left_out"])
        """Tokens past the limit, over all examples."""
        self._tokens = self._map("tokens.i32", "<i4")
        self._starts = self._map("starts.i64", "<i8")
        self._ngrams = self._map("ngrams.i32", "<i4")
        self._ngram_starts = self._map("ngrams.i64", "<i8")
        self._longer = int(head["longer"])
        self._local = self._map("local.i32", "<i4").reshape(-1, self._longer) if self._longer else None
        if self._has_characters:
            self._characters = self._map("characters.i32", "<i4")
            self._character_starts = self._map("characters.i64", "<i8")
        self._has_lexicon = bool(head.get("lexicon", False))
        if self._has_lexicon:
            self._lexicon = self._map("lexicon.i32", "<i4")
            self._lexicon_weights = self._map("lexicon.f32", "<f4")
            self._lexicon_starts = self._map("lexicon.i64", "<i8")
        self._has_pieces = bool(head.get("pieces", False))
        if self._has_pieces:
            self._pieces = self._map("pieces.i32", "<i4")
            self._piece_starts = self._map("pieces.i64", "<i8")
            self._piece_counts = self._map("counts.i32", "<i4")
        self._hidden: npt.NDArray[np.float16] | None = None
        self._layers = int(head.get("layers", 0))
        self.targets: npt.NDArray[Any] = self._map(*_target_file(head["labels"], self._layers))
        """Class ids, int64, (N,), or for multi-label float32, (N, C); with a tag a token see `targets_of`."""
        if head["labels"] is not None:
            self.targets = self.targets.reshape(self._count, head["labels"])
        self.lengths_N: npt.NDArray[np.int64] = np.diff(np.asarray(self._starts))
        """Tokens of each example, (N,)."""
        wanted = len(self._tokens) * self._layers if self._layers else self._count
        if not len(self._starts) == len(self._ngram_starts) == self._count + 1 or len(self.targets) != wanted:
            raise DataError(f"{self._stem}.json: the files do not fit together. Delete the folder and start again.")

    @classmethod
    def write(cls, folder: Path, name: str, examples: Iterable[tuple[Encoded, Any]]) -> ExampleStore:
        """Write encoded examples with their targets, replacing a store of that name.

        Args:
            folder: an existing folder.
            name: of the store.
            examples: pairs of an encoded text and its target: a class id; C numbers; or a tag a token, an integer
                array (Y, T), -1 where the tag is not known. Read once.
        Raises: OutputError: the folder cannot be written, or the disk is full.
        """
        folder = Path(folder)
        head_path = folder / f"{name}.json"
        try:
            head_path.unlink(missing_ok=True)
            with ExitStack() as stack:
                head = _Writer(folder, name, stack).write(examples)
            head_path.write_text(json.dumps(head), encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot write encoded examples: {error.strerror or error}. Free some space, or choose "
                f"another output folder."
            ) from error
        return cls(folder, name, head)

    @classmethod
    def open(cls, folder: Path, name: str) -> ExampleStore:
        """Open a store that `write` finished. Raises DataError: there is none, or it is not whole."""
        path = Path(folder) / f"{name}.json"
        try:
            head = json.loads(path.read_text(encoding="utf-8"))
            if head.get("format") != FORMAT:
                raise DataError(f"{path}: written by another version. Delete the folder and start again.")
            return cls(Path(folder), name, head)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise DataError(f"{path}: no whole store of examples: {error}. Delete the folder, start again.") from None

    def __len__(self) -> int:
        return self._count

    def encoded(self, index: int) -> Encoded:
        """One example; its arrays are views of the files."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        tokens_T = self._tokens[self._starts[index] : self._starts[index + 1]]
        rows_N = self._ngrams[self._ngram_starts[index] : self._ngram_starts[index + 1]]
        span = slice(self._starts[index], self._starts[index + 1])
        local_TM = self._local[span] if self._local is not None else np.empty((len(tokens_T), 0), dtype=np.int32)
        characters_TK = None
        if self._has_characters:
            flat = self._characters[self._character_starts[index] : self._character_starts[index + 1]]
            characters_TK = flat.reshape(len(tokens_T), -1)
        lexicon = None
        if self._has_lexicon:
            start, end = self._lexicon_starts[index : index + 2]
            slots_L, rows_L = self._lexicon[2 * start : 2 * end].reshape(2, -1)
            lexicon = LexiconHits(slots_L, rows_L, self._lexicon_weights[start:end])
        empty = len(tokens_T) == 1 and int(tokens_T[0]) == EMPTY
        pieces = hidden = None
        if self._hidden is not None:
            hidden = self._hidden[span]
        elif self._has_pieces:
            ids_P = self._pieces[self._piece_starts[index] : self._piece_starts[index + 1]]
            pieces = Pieces(ids_P, np.append(0, np.cumsum(self._piece_counts[span])).astype(np.int32))
        return Encoded(tokens_T, rows_N, local_TM, characters_TK, empty, lexicon=lexicon, pieces=pieces, hidden=hidden)

    def pieces_digest(self) -> bytes:
        """Fingerprint of the pieces of all tokens."""
        return b"".join(sha256(part.tobytes()).digest() for part in (self._pieces, self._piece_counts))

    def hidden_files(self) -> tuple[Path, Path]:
        """Where hidden layers are written, and what they were computed from."""
        return Path(f"{self._stem}.hidden.f16"), Path(f"{self._stem}.hidden.json")

    def attach_hidden(self, layers: int, width: int, key: str) -> bool:
        """Give the hidden layers on disk with every example from now on, if they are whole and of this key.

        Args:
            layers, width: of the hidden layers at each token.
            key: what they were computed from.
        Returns: whether they are there.
        """
        path, head = self.hidden_files()
        try:
            made = json.loads(head.read_text(encoding="utf-8"))["key"]
            whole = path.stat().st_size == len(self._tokens) * layers * width * 2
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if made != key or not whole:
            return False
        self._hidden = self._map("hidden.f16", "<f2").reshape(-1, layers, width)
        return True

    def targets_of(self, index: int) -> npt.NDArray[np.int64]:
        """The tags of an example, (T,), or with several layers (Y, T); -1 where one is not known."""
        start, end = int(self._starts[index]), int(self._starts[index + 1])
        tags_YT = self.targets[self._layers * start : self._layers * end].reshape(self._layers, -1).astype(np.int64)
        return tags_YT if self._layers > 1 else tags_YT[0]

    def _map(self, part: str, dtype: str) -> npt.NDArray[Any]:
        path = Path(f"{self._stem}.{part}")
        if path.stat().st_size == 0:  # an empty file cannot be mapped
            return np.empty(0, dtype=dtype)
        # The plain view of the map: slicing np.memmap itself costs ten times as much.
        return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _target_file(labels: int | None, layers: int) -> tuple[str, str]:
    if layers:
        return ("tags.i32", "<i4")
    return ("targets.i64", "<i8") if labels is None else ("targets.f32", "<f4")


def _shape_of(encoded: Encoded, target: Any) -> dict[str, Any]:
    """What the first example tells about all of them."""
    tags = np.ndim(target) == 2
    return {
        "labels": None if np.ndim(target) != 1 else len(target),
        "layers": len(target) if tags else 0,
        "longer": encoded.local.shape[1],
        "characters": encoded.characters is not None,
        "lexicon": encoded.lexicon is not None,
        "pieces": encoded.pieces is not None,
    }


class _Writer:
    """The files of a store being written."""

    def __init__(self, folder: Path, name: str, stack: ExitStack) -> None:
        self._stem = folder / name
        self._stack = stack
        self._files: dict[str, BinaryIO] = {}
        self._ends = {part: [0] for part in _PARTS}

    def write(self, examples: Iterable[tuple[Encoded, Any]]) -> dict[str, Any]:
        head: dict[str, Any] = {"format": FORMAT, "labels": None, "layers": 0, "longer": 0}
        head |= {"characters": False, "lexicon": False, "pieces": False}
        count = left_out = 0
        for encoded, target in examples:
            if count == 0:
                head |= _shape_of(encoded, target)
            self._append("tokens.i32", encoded.tokens)
            self._append("ngrams.i32", encoded.ngram_rows)
            self._append("local.i32", encoded.local.reshape(-1))
            if encoded.characters is not None:
                self._append("characters.i32", encoded.characters.reshape(-1))
            if encoded.lexicon is not None:
                slots_L, rows_L, weights_L = encoded.lexicon
                self._append("lexicon.i32", np.concatenate([slots_L, rows_L]))
                self._append("lexicon.f32", weights_L)
            if encoded.pieces is not None:
                self._append("pieces.i32", encoded.pieces.ids_P)
                self._append("counts.i32", np.diff(encoded.pieces.starts_T))
            part, dtype = _target_file(head["labels"], head["layers"])
            self._file(part).write(np.asarray(target, dtype=dtype).tobytes())
            count += 1
            left_out += encoded.left_out
        starts = {"tokens.i32": "starts.i64", "ngrams.i32": "ngrams.i64"}
        starts |= {"characters.i32": "characters.i64"} if head["characters"] else {}
        starts |= {"lexicon.f32": "lexicon.i64"} if head["lexicon"] else {}
        starts |= {"pieces.i32": "pieces.i64"} if head["pieces"] else {}
        more = (*(("lexicon.i32",) if head["lexicon"] else ()), *(("counts.i32",) if head["pieces"] else ()))
        for part in (*starts, "local.i32", *more, _target_file(head["labels"], head["layers"])[0]):
            self._file(part)
        for part, name in starts.items():
            self._file(name).write(np.array(self._ends[part], dtype="<i8").tobytes())
        return head | {"examples": count, "left_out": left_out}

    def _append(self, part: str, values: npt.NDArray[Any]) -> None:
        self._file(part).write(np.ascontiguousarray(values, dtype=f"<{part[-3]}4").data)
        self._ends[part].append(self._ends[part][-1] + len(values))

    def _file(self, part: str) -> BinaryIO:
        if part not in self._files:
            path = Path(f"{self._stem}.{part}")
            self._files[part] = self._stack.enter_context(path.open("wb"))
        return self._files[part]
