"""One short text through a whole network in one call, for latency; and the search for its n-grams.

Both are None where NumPy does the work; the caller then takes the general road, which gives the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gatework.cells import CELLS
from gatework.kernels import dispatch
from gatework.kernels.layer import Float32, float32_params
from gatework.kernels.sequence import Packed, pack

Int32 = npt.NDArray[np.int32]
TableRows = tuple[npt.NDArray[Any], Float32 | None]
"""Rows, float32 or int8, and the scale of each int8 row."""

WIDE_LEVELS = ("avx512bf16",)
"""Levels with instructions for products of bytes."""
POOLS = {"mean": "m", "max": "x", "last": "l"}
"""Kinds of pooling there is code for."""


class Sentence(Protocol):
    """A network for one text; any threads may share it."""

    def run(
        self, tokens_T: Int32, local_TM: Int32, rows_N: Int32, out: Float32, beside_TX: Float32 | None = None
    ) -> bool:
        """Write the logits to `out`, (1, C), or the outputs of the layers, (T, P). False, with nothing done, where an
        id is beyond a table."""


def sentence(
    cell: str,
    layers: Sequence[Sequence[Packed]],
    first: Sequence[Any],
    *,
    tokens: TableRows,
    locals_: TableRows | None,
    ngrams: TableRows | None,
    head_CP: Float32 | None,
    bias_C: Float32 | None,
    pooling: Sequence[str],
    residual: bool,
    recurrent: Sequence[TableRows] = (),
    beside: int = 0,
) -> Sentence | None:
    """Prepare a network whose layers read token vectors, with vectors of n-grams and others beside them or without.

    Args:
        layers: packed weights of each layer's directions, bottom first.
        first: the bottom layer's parameters, for each direction. Its products with token vectors are kept, 64 MB at
            most.
        tokens, locals_, ngrams: token vectors; vectors that are summed and joined to them; rows of logits.
        recurrent: of each layer and direction, bottom first, the recurrent matrix as it is stored in 8 bits, with its
            scales: products with activations in 24 bits are as near as float32 ones, and read a quarter.
        head_CP, bias_C, pooling: of a head that gives a text one answer; without pooling there is no head.
        beside: width of further inputs of each token, which `run` is given.
        residual: a layer's inputs are added to its outputs, from the second layer on.
    Returns: None where there is no code for it.
    """
    compiled = all(packed.native is not None for ways in layers for packed in ways)
    if not compiled or not set(pooling) <= set(POOLS) or {packed.precision for packed in layers[0]} != {"float32"}:
        return None
    kind, width, level = CELLS[cell], tokens[0].shape[1], layers[0][0].level
    split, rest = [], []
    for given in first:
        params = float32_params(kind, given)
        split.append(pack(cell, params._replace(w_GI=np.ascontiguousarray(params.w_GI[:, :width])), level=level))
        if locals_ is not None or beside:
            own = params._replace(w_GI=np.ascontiguousarray(params.w_GI[:, width:]))
            rest.append(pack(cell, own, level=level))
    packs = [[packed.native for packed in ways] for ways in (split, *layers[1:])]
    made: Sentence = dispatch.extension().Sentence(
        packs,
        [packed.native for packed in rest],
        tokens,
        locals_,
        ngrams,
        None if head_CP is None else np.ascontiguousarray(head_CP, dtype=np.float32),
        None if bias_C is None else np.ascontiguousarray(bias_C, dtype=np.float32),
        "".join(POOLS[kind] for kind in pooling),
        residual,
        list(recurrent) if level in WIDE_LEVELS else [],
        beside,
    )
    return made


def ngram_search() -> Callable[[Any, Any, int, Int32, Int32], int] | None:
    """`search(keys_T, kept_R, n, rows, local_TM) -> count`: what `gatework.text.ngrams` says, at once."""
    if dispatch.level() == dispatch.NUMPY:
        return None
    search: Callable[[Any, Any, int, Int32, Int32], int] = dispatch.extension().text.find
    return search
