"""A word's vector composed of its characters; the equations stand in `nn.characters`, this is their forward pass.

W windows, T time, K characters of the longest word, N words, e character width, F outputs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.architecture import Characters
from gatework.core.tensors import TensorFile
from gatework.runtime.tables import Table, dense

Float32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]


class CharacterComposition:
    """Character ids of each word to a vector of each word."""

    def __init__(self, settings: Characters, weights: TensorFile, *, source: str) -> None:
        self._settings = settings
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
        spelt_NK = characters_TWK.reshape(time * windows, longest)
        lengths_N = (spelt_NK > 0).sum(axis=1)
        words = lengths_N.nonzero()[0]
        x_NF = np.zeros((time * windows, self._settings.outputs), dtype=np.float32)
        if len(words):
            compose = self._convolve if self._settings.kind == "cnn" else self._read
            x_NF[words] = compose(spelt_NK[words], lengths_N[words])
        return x_NF.reshape(time, windows, -1)

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
