"""The encoder of an architecture: its recurrent stack on the kernels, with packed weights, or its transformer.

T time, W windows, I inputs, P outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework import kernels
from gatework.cells import CELLS
from gatework.core import architecture
from gatework.core.batch import IntArray
from gatework.core.quantize import SCALE
from gatework.core.tensors import TensorFile
from gatework.kernels import transformer
from gatework.kernels.layer import check_precision
from gatework.kernels.transformer import Layer, norm_of
from gatework.runtime.inputs import Inputs
from gatework.runtime.tables import dense

Float32 = npt.NDArray[np.float32]

GROUP_TOKENS = 8192
"""Tokens that run through the encoder together, padding counted: what bounds the memory of an answer."""


class Encoder:
    """Vectors of tokens to outputs at each token."""

    def __init__(self, of: architecture.Architecture, weights: TensorFile, *, precision: str) -> None:
        """Raises: ConfigError: `precision` is unknown."""
        self.settings, self._ways = of.encoder, of.directions
        self._names = CELLS[of.encoder.cell].Params._fields
        self.layers = [
            [kernels.pack(of.encoder.cell, self.params(weights, layer, way), precision=precision) for way in self._ways]
            for layer in range(of.encoder.layers)
        ]

    def begin(self) -> kernels.RecurrentState:
        """The state before the first token of one sequence, of an encoder that reads forward."""
        shapes = [(self.settings.cell, packed.units, packed.outputs) for [packed] in self.layers]
        return kernels.RecurrentState.zeros(shapes, 1)

    def go_on(self, x_T1I: Float32, state: kernels.RecurrentState) -> tuple[Float32, kernels.RecurrentState]:
        """y_T1P of further tokens of that sequence, and the state after them."""
        lengths, lasts = np.array([len(x_T1I)]), []
        for [packed], before in zip(self.layers, state.layers, strict=True):
            y_T1P, last = kernels.sequence(self.settings.cell, x_T1I, lengths, packed, before)
            if self.settings.residual and y_T1P.shape == x_T1I.shape:
                y_T1P += x_T1I
            x_T1I = y_T1P
            lasts.append(last)
        return x_T1I, replace(state, layers=tuple(lasts))

    def __call__(self, x_TWI: Float32, lengths_W: IntArray) -> Float32:
        """y_TWP, zero past each length."""
        for layer in self.layers:
            if len(layer) == 2:
                y_TWP = kernels.both_ways(self.settings.cell, x_TWI, lengths_W, layer[0], layer[1])[0]
            else:
                y_TWP = kernels.sequence(self.settings.cell, x_TWI, lengths_W, layer[0])[0]
            if self.settings.residual and y_TWP.shape == x_TWI.shape:
                y_TWP += x_TWI
                y_TWP[np.arange(len(y_TWP))[:, None] >= lengths_W] = 0.0
            x_TWI = y_TWP
        return x_TWI

    def params(self, weights: TensorFile, layer: int, way: str) -> dict[str, Float32]:
        """Parameters of one direction of a layer, by the cell's names."""
        return {name: dense(weights, f"encoder.{layer}.{way}.{name}") for name in self._names}

    def first_params(self, weights: TensorFile) -> list[dict[str, Float32]]:
        """Parameters of the first layer's directions."""
        return [self.params(weights, 0, way) for way in self._ways]


class TransformerEncoder:
    """The same of a transformer."""

    def __init__(self, of: architecture.Architecture, weights: TensorFile, *, precision: str) -> None:
        """Raises: ConfigError: `precision` is unknown."""
        check_precision(precision)
        weight = partial(dense, weights)
        layers = [Layer.of(weight, f"encoder.{layer}", looks=False) for layer in range(of.encoder.layers)]
        self._stack = transformer.Encoder(
            layers, norm_of(weight, "encoder.norm"), heads=of.encoder.heads, precision=precision
        )

    def __call__(self, x_TWI: Float32, lengths_W: IntArray) -> Float32:
        """y_TWP; past a length anything."""
        return self._stack(x_TWI.transpose(1, 0, 2), lengths_W).transpose(1, 0, 2)


def stored_recurrent(
    of: architecture.Architecture, weights: TensorFile, ways: Sequence[str]
) -> list[tuple[Any, Float32]]:
    """The recurrent matrices as they lie, by layer and direction, where all of them are int8; else none."""
    recurrent = CELLS[of.encoder.cell].Params._fields[1]
    names = [f"encoder.{n}.{way}.{recurrent}" for n in range(of.encoder.layers) for way in ways]
    if any(weights.slots[name].dtype != "I8" for name in names):
        return []
    scales = (np.ascontiguousarray(weights[name + SCALE], dtype=np.float32) for name in names)
    return list(zip((weights[name] for name in names), scales, strict=True))


def short_way(
    of: architecture.Architecture,
    inputs: Inputs,
    encoder: Encoder,
    weights: TensorFile,
    *,
    ngrams: kernels.TableRows | None = None,
    head_CP: Float32 | None = None,
    bias_C: Float32 | None = None,
) -> kernels.Sentence | None:
    """The network as one call for one text; None where there is no code for it. Without a head, its encoder alone."""
    if inputs.contextual is not None or (of.encoder.residual and of.encoder.outputs == of.encoder_inputs):
        return None
    return kernels.sentence(
        of.encoder.cell,
        encoder.layers,
        encoder.first_params(weights),
        tokens=inputs.embedding.stored,
        locals_=None if inputs.local is None else inputs.local.stored,
        ngrams=ngrams,
        head_CP=head_CP,
        bias_C=bias_C,
        pooling=of.pooling,
        residual=of.encoder.residual,
        recurrent=stored_recurrent(of, weights, of.directions),
        beside=inputs.beside_width,
    )


def groups(lengths_W: IntArray) -> Iterator[slice]:
    """Consecutive windows, at most GROUP_TOKENS with padding in each group, but at least one window."""
    count = len(lengths_W)
    if count * int(lengths_W.max(initial=1)) <= GROUP_TOKENS:
        yield slice(0, count)
        return
    start, longest = 0, 0
    for index, length in enumerate(lengths_W.tolist()):
        longest = max(longest, length)
        if index > start and longest * (index + 1 - start) > GROUP_TOKENS:
            yield slice(start, index)
            start, longest = index, length
    yield slice(start, count)
