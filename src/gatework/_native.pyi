"""The compiled extension; see native/. Use it through `gatework.kernels`."""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]
_I64 = npt.NDArray[np.int64]

threads: ModuleType
step: ModuleType
generate: ModuleType
text: ModuleType

class Sentence:
    def __init__(self, *parts: Any) -> None: ...
    def run(self, tokens: Any, local: Any, rows: Any, out: _F32) -> bool: ...

def levels() -> list[str]: ...
def cells() -> list[str]: ...

class Packed:
    def __init__(
        self,
        cell: str,
        level: str,
        precision: str,
        inputs: int,
        units: int,
        outputs: int,
        weights: dict[str, Any],
    ) -> None: ...
    @property
    def inputs(self) -> int: ...
    @property
    def units(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

def forward(
    level: str,
    cell: str,
    precision: str,
    x: _F32,
    lengths: _I64,
    directions: list[dict[str, Any]],
    units: int,
    outputs: int,
    y: _F32,
    tape: _F32 | None,
    projected: bool = False,
    reverse: bool = False,
) -> None: ...
def backward(
    level: str,
    cell: str,
    precision: str,
    x: _F32,
    lengths: _I64,
    directions: list[dict[str, Any]],
    units: int,
    outputs: int,
    dy: _F32 | None,
    dx: _F32 | None,
    tape: _F32,
) -> None: ...
def tape_floats(cell: str, rows: int, batch: int, units: int, outputs: int, directions: int, masked: bool) -> int: ...
def buffer(floats: int) -> _F32: ...
def activate(level: str, function: str, x: _F32, y: _F32) -> None: ...
def multiply_adds(level: str, rounds: int, factor: float) -> int: ...

class crf:
    @staticmethod
    def forward_backward(
        level: str,
        emissions: _F32,
        lengths: _I64,
        transitions: _F32,
        start: _F32,
        end: _F32,
        gold: _I64 | None,
        weights: _F32 | None,
        nll: _F32,
        d_emissions: _F32 | None,
        d_transitions: _F32 | None,
        d_start: _F32 | None,
        d_end: _F32 | None,
    ) -> None: ...
    @staticmethod
    def path_marginals(
        level: str,
        emissions: _F32,
        lengths: _I64,
        transitions: _F32,
        start: _F32,
        end: _F32,
        tags: _I64,
        nll: _F32,
        p: _F32,
        step: _F32,
    ) -> None: ...
    @staticmethod
    def best_path(
        level: str,
        emissions: _F32,
        lengths: _I64,
        transitions: _F32,
        start: _F32,
        end: _F32,
        tags: _I64,
        scores: _F32,
        nll: _F32,
        p: _F32,
        step: _F32,
    ) -> None: ...
    @staticmethod
    def viterbi(
        level: str,
        emissions: _F32,
        lengths: _I64,
        transitions: _F32,
        start: _F32,
        end: _F32,
        tags: _I64,
        scores: _F32,
    ) -> None: ...
    @staticmethod
    def n_best(
        emissions: _F32, lengths: _I64, transitions: _F32, start: _F32, end: _F32, tags: _I64, scores: _F32
    ) -> None: ...
