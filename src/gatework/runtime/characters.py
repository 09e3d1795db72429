"""A word's vector composed of its characters; the equations stand in `nn.characters`, this is their forward pass.

What came of a word is kept, for most words of a text have been seen before.

W windows, T time, K characters of the longest word, N words, e character width, F outputs.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.architecture import Characters
from gatework.core.tensors import TensorFile
from gatework.runtime.tables import Table, dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


FIRST_KEPT, MOST_KEPT = 1 << 10, 1 << 16
"""Words there is room for at first, and words after which the memory starts afresh."""


class _Memory(NamedTuple):
    """Words composed before. Entries are added and never change; where there is no more room, another takes over."""

    known: dict[bytes, int]
    """The row of each word; the empty word, padding, has row 0."""
    vectors_RF: Float32


class CharacterComposition:
    """Character ids of each word to a vector of each word."""

    def __init__(self, settings: Characters, weights: TensorFile, *, source: str) -> None:
        self._settings = settings
        self._lock = Lock()
        self._memory = _Memory({b"": 0}, np.zeros((FIRST_KEPT, settings.outputs), dtype=np.float32))
        self._embedding = Table(weights, "characters.embedding.weight", source=source)
        if settings.kind == "cnn":
            self._filters_FeK = dense(weights, "characters.convolution.weight")
            self._bias_F = dense(weights, "characters.convolution.bias")
            return
        fields = CELLS["lstm"].Params._fields
        self._ahead, self._back = (
            kernels.pack("lstm", {name: dense(weights, f"characters.{direction}.{name}") for name in fields})
            for direction in ("forward", "backward")
        )

    def __call__(self, characters_TWK: IntArray) -> Float32:
        """x_TWF; a word without characters is the zero vector."""
        time, windows, longest = characters_TWK.shape
        spelt_NK = np.ascontiguousarray(characters_TWK.reshape(time * windows, longest), dtype=np.int32)
        # As bytes strings end before their zeros, however wide the batch is.
        words = spelt_NK.view(f"S{4 * longest}")[:, 0].tolist()
        memory = self._memory
        try:
            rows = list(map(memory.known.__getitem__, words))
        except KeyError:
            memory = self._learn(words, spelt_NK)
            rows = list(map(memory.known.__getitem__, words))
        x_NF: Float32 = memory.vectors_RF.take(rows, axis=0)
        return x_NF.reshape(time, windows, -1)

    def _learn(self, words: list[bytes], spelt_NK: IntArray) -> _Memory:
        """Compose the words that are new. Returns a memory that holds all of `words`, for good."""
        with self._lock:
            known, vectors_RF = self._memory
            if len(known) > MOST_KEPT:
                known, vectors_RF = {b"": 0}, np.zeros((FIRST_KEPT, self._settings.outputs), dtype=np.float32)
            if all(word in known for word in words):
                return self._memory  # another thread was faster
            places = {word: place for place, word in enumerate(words) if word not in known}
            new_NK = spelt_NK[list(places.values())]
            used = len(known)
            while len(vectors_RF) < used + len(places):  # who reads the old pair goes on with it
                known, vectors_RF = known.copy(), np.concatenate([vectors_RF, np.zeros_like(vectors_RF)])
            compose = self._convolve if self._settings.kind == "cnn" else self._read
            vectors_RF[used : used + len(places)] = compose(new_NK, (new_NK > 0).sum(axis=1))
            known.update(zip(places, range(used, used + len(places)), strict=True))
            self._memory = _Memory(known, vectors_RF)
            return self._memory

    def _convolve(self, spelt_NK: IntArray, lengths_N: IntArray) -> Float32:
        count, longest = spelt_NK.shape
        width = self._settings.width
        left = (width - 1) // 2
        padded = np.zeros((count, longest + width - 1, self._settings.embedding), dtype=np.float32)
        padded[:, left : left + longest] = self._embedding[spelt_NK]
        # Characters past a word's end are id 0, whose vector training keeps at zero; hold to that here as well.
        padded[:, left : left + longest][spelt_NK == 0] = 0.0
        y_NKF = np.broadcast_to(self._bias_F, (count, longest, self._settings.units)).copy()
        for offset in range(width):
            y_NKF += padded[:, offset : offset + longest] @ self._filters_FeK[:, :, offset].T
        y_NKF[np.arange(longest) >= lengths_N[:, None]] = -np.inf
        best: Float32 = np.tanh(y_NKF.max(axis=1))
        return best

    def _read(self, spelt_NK: IntArray, lengths_N: IntArray) -> Float32:
        x_KNe = self._embedding[spelt_NK.T]
        _, (ahead, back) = kernels.both_ways("lstm", x_KNe, lengths_N, self._ahead, self._back)
        return np.concatenate([ahead[0], back[0]], axis=1)
