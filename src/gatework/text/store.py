"""Encoded examples on disk: written once, then read through memory maps, so that data may be larger than memory.

A store `name` in a folder is these files, numbers little-endian, one example after the other:

    name.tokens.i32       token ids                    name.starts.i64     where each example's begin, and the end
    name.ngrams.i32       n-gram rows                  name.ngrams.i64     where each example's begin, and the end
    name.local.i32        n-grams that end at each token (T x M each)
    name.characters.i32   character ids (T x K each)   name.characters.i64 likewise; only with character composition
    name.targets.i64 | name.targets.f32                a class id each, or C numbers each
    name.json             counts; written last, so a store without it is not whole

N examples, T tokens of one, M n-gram lengths from two up, K characters of its longest word, C labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError, OutputError
from gatework.text.codec import Encoded
from gatework.text.vocabulary import EMPTY

FORMAT = 1
_PARTS = ("tokens.i32", "ngrams.i32", "local.i32", "characters.i32")


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
        self.targets: npt.NDArray[Any] = self._map(*_target_file(head["labels"]))
        """Class ids, int64, (N,), or for multi-label float32, (N, C)."""
        if head["labels"] is not None:
            self.targets = self.targets.reshape(self._count, head["labels"])
        self.lengths_N: npt.NDArray[np.int64] = np.diff(np.asarray(self._starts))
        """Tokens of each example, (N,)."""
        if not len(self._starts) == len(self._ngram_starts) == self._count + 1 or len(self.targets) != self._count:
            raise DataError(f"{self._stem}.json: the files do not fit together. Delete the folder and start again.")

    @classmethod
    def write(cls, folder: Path, name: str, examples: Iterable[tuple[Encoded, Any]]) -> ExampleStore:
        """Write encoded examples with their targets, replacing a store of that name.

        Args:
            folder: an existing folder.
            name: of the store.
            examples: pairs of an encoded text and its target: a class id, or C numbers; read once.
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
        return Encoded(tokens_T, rows_N, local_TM, characters_TK, len(tokens_T) == 1 and int(tokens_T[0]) == EMPTY)

    def _map(self, part: str, dtype: str) -> npt.NDArray[Any]:
        path = Path(f"{self._stem}.{part}")
        if path.stat().st_size == 0:  # an empty file cannot be mapped
            return np.empty(0, dtype=dtype)
        # The plain view of the map: slicing np.memmap itself costs ten times as much.
        return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _target_file(labels: int | None) -> tuple[str, str]:
    return ("targets.i64", "<i8") if labels is None else ("targets.f32", "<f4")


class _Writer:
    """The files of a store being written."""

    def __init__(self, folder: Path, name: str, stack: ExitStack) -> None:
        self._stem = folder / name
        self._stack = stack
        self._files: dict[str, BinaryIO] = {}
        self._ends = {part: [0] for part in _PARTS}

    def write(self, examples: Iterable[tuple[Encoded, Any]]) -> dict[str, Any]:
        count = left_out = 0
        labels: int | None = None
        characters = False
        longer = 0
        for encoded, target in examples:
            if count == 0:
                labels = None if np.ndim(target) == 0 else len(target)
                characters = encoded.characters is not None
                longer = encoded.local.shape[1]
            self._append("tokens.i32", encoded.tokens)
            self._append("ngrams.i32", encoded.ngram_rows)
            self._append("local.i32", encoded.local.reshape(-1))
            if encoded.characters is not None:
                self._append("characters.i32", encoded.characters.reshape(-1))
            part, dtype = _target_file(labels)
            self._file(part).write(np.asarray(target, dtype=dtype).tobytes())
            count += 1
            left_out += encoded.left_out
        for part in (*_PARTS[: 3 + characters], _target_file(labels)[0]):
            self._file(part)
        for part, starts in (("tokens.i32", "starts.i64"), ("ngrams.i32", "ngrams.i64")):
            self._file(starts).write(np.array(self._ends[part], dtype="<i8").tobytes())
        if characters:
            self._file("characters.i64").write(np.array(self._ends["characters.i32"], dtype="<i8").tobytes())
        return {
            "format": FORMAT,
            "examples": count,
            "labels": labels,
            "longer": longer,
            "characters": characters,
            "left_out": left_out,
        }

    def _append(self, part: str, values: npt.NDArray[np.int32]) -> None:
        self._file(part).write(np.ascontiguousarray(values, dtype="<i4").data)
        self._ends[part].append(self._ends[part][-1] + len(values))

    def _file(self, part: str) -> BinaryIO:
        if part not in self._files:
            path = Path(f"{self._stem}.{part}")
            self._files[part] = self._stack.enter_context(path.open("wb"))
        return self._files[part]
