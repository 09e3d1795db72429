"""What a network that reads forward alone has gathered of a text: all that the rest needs of what came before.

Pooling gathers as it goes (`pooling`), the encoder keeps its state, and of the n-grams beside it are kept which there
were, once each, and the sum of their rows. A `Reading` does not change: reading on gives another one.

P outputs of the encoder, C outputs, N n-grams.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.kernels import RecurrentState
from gatework.runtime.pooling import Pool

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class Reading(NamedTuple):
    """See the module."""

    state: RecurrentState
    """Of the encoder's layers, one sequence."""
    pools: tuple[Pool, ...]
    rows_N: Int32
    """Rows of the n-grams beside the encoder, rising."""
    wide_C: Float32
    """The sum of what these rows say."""
    tokens: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        parts = [part for layer in self.state.layers for part in layer]
        parts += [part for pool in self.pools for part in pool.gathered.values()]
        return int(sum(part.nbytes for part in (*parts, self.rows_N, self.wide_C)))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, all but the state."""
        return {
            "pools": [{name: part.tolist() for name, part in pool.gathered.items()} for pool in self.pools],
            "rows": self.rows_N.tolist(),
            "wide": self.wide_C.tolist(),
            "tokens": self.tokens,
        }

    def with_values(self, values: Any, state: RecurrentState, *, most_rows: int) -> Reading:
        """Another of the same model, from `to_dict` and a state. Raises DataError: they are none of this model."""
        own = (self.state.shapes, len(self.state))
        if not isinstance(values, dict) or set(values) != {"pools", "rows", "wide", "tokens"}:
            raise _odd()
        given = values["pools"]
        if (state.shapes, len(state)) != own or not isinstance(given, list) or len(given) != len(self.pools):
            raise _odd()
        if type(values["tokens"]) is not int or not 0 <= values["tokens"] < 1 << 62:
            raise _odd()
        pools = []
        for pool, one in zip(self.pools, given, strict=True):
            if not isinstance(one, dict) or set(one) != set(pool.gathered):
                raise _odd()
            pools.append(pool.with_gathered({name: _as(part, one[name]) for name, part in pool.gathered.items()}))
        rows_N = _numbers(values["rows"], np.dtype(np.int32))
        if rows_N.size and not (rows_N[0] >= 0 and rows_N[-1] < most_rows and (np.diff(rows_N) > 0).all()):
            raise _odd()
        return Reading(state, tuple(pools), rows_N, _as(self.wide_C, values["wide"]), values["tokens"])


def _as(like: npt.NDArray[Any], values: Any) -> npt.NDArray[Any]:
    """Numbers of the type and shape of an array."""
    found = _numbers(values, like.dtype)
    if found.size != like.size or np.shape(values) != like.shape:
        raise _odd()
    return found.reshape(like.shape)


def _numbers(values: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    try:
        flat = np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        raise _odd() from None
    if not isinstance(values, list) or not np.isfinite(flat).all() or np.abs(flat).max(initial=0.0) >= 1 << 53:
        raise _odd()
    if dtype.kind == "i" and ((flat != np.floor(flat)).any() or np.abs(flat).max(initial=0.0) > np.iinfo(dtype).max):
        raise _odd()
    return flat.astype(dtype)


def _odd() -> DataError:
    return DataError("The state is not one of this model's streams. Start without it.")
