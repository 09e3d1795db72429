"""The compiled extension; see native/. Use it through `gatework.kernels`."""

from types import ModuleType

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]
_I64 = npt.NDArray[np.int64]

threads: ModuleType

def levels() -> list[str]: ...
def cells() -> list[str]: ...

class Packed:
    def __init__(self, cell: str, level: str, w: _F32, r: _F32, b: _F32, rb: _F32 | None) -> None: ...
    @property
    def inputs(self) -> int: ...
    @property
    def units(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

def forward(
    weights: Packed,
    x: _F32,
    lengths: _I64,
    h0: _F32,
    c0: _F32 | None,
    y: _F32,
    h: _F32,
    c: _F32 | None,
    reverse: bool,
) -> None: ...
def activate(level: str, function: str, x: _F32, y: _F32) -> None: ...
def multiply_adds(level: str, rounds: int, factor: float) -> int: ...
