"""Which engine computes: the compiled extension at an instruction-set level, or NumPy.

Levels, slowest first: `numpy` (the definitions in `cells`, always there), `portable` (plain C++), `simd128` (SSE2 or
NEON), `avx2` (with FMA), `avx512`. The fastest the processor has is used; the environment variable GATEWORK_LEVEL
forces a lower one.
"""

from __future__ import annotations

import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from gatework import _native as native
else:
    try:
        from gatework import _native as native
    except ImportError:
        native = None

NUMPY = "numpy"
_warned = False


def available() -> bool:
    """Whether the compiled extension is installed."""
    return native is not None


def levels() -> list[str]:
    """Levels of this installation on this processor, slowest first."""
    return [NUMPY, *(native.levels() if available() else [])]


def level() -> str:
    """The level in use. Raises ConfigError where GATEWORK_LEVEL names one that is not there."""
    known = levels()
    forced = os.environ.get("GATEWORK_LEVEL", "")
    if forced:
        return check_level(forced, "GATEWORK_LEVEL")
    if not available():
        _warn_once()
    return known[-1]


def trains() -> bool:
    """Whether the level in use has the training kernels: any but numpy."""
    return available() and os.environ.get("GATEWORK_LEVEL") != NUMPY


def multiplies_bfloat16() -> bool:
    """Whether the level in use has instructions for products of bfloat16 numbers; others go by float32 ones, slowly."""
    return level() == "avx512bf16"


def check_level(name: str, what: str = "level") -> str:
    """`name`, if this installation and processor have that level; else a ConfigError."""
    known = levels()
    if name not in known:
        raise ConfigError(f"{what} {name!r} is not available here. {nearest(name, known)}")
    return name


def native_cells() -> frozenset[str]:
    """Cells the extension has a kernel for."""
    return frozenset(native.cells()) if available() else frozenset()


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "gatework runs without its compiled extension: answers are the same, many times slower. "
            "Install a C++20 compiler and run: pip install --force-reinstall --no-binary gatework gatework",
            RuntimeWarning,
            stacklevel=3,
        )


def extension() -> Any:
    """The extension module; only where `available()`."""
    return native


_SMALL = 1 << 14


def empty(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A float32 array not set to anything; a large one over memory that is used again once the array is gone."""
    size = math.prod(shape)
    if size < _SMALL:
        return np.empty(shape, dtype=np.float32)
    array: npt.NDArray[np.float32] = extension().buffer(size).reshape(shape)
    return array
