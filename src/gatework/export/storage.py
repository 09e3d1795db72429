"""How weights are stored: fp32, bf16 or int8. Arithmetic is float32 either way.

Vectors (biases, peepholes, gains) and the transitions of a CRF are float32 always: they are few, and errors in them
reach every answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.bundle import Bundle
from gatework.core.errors import ConfigError, nearest
from gatework.core.quantize import SCALE, dequantize, quantize
from gatework.core.tensors import pack_header

Array = npt.NDArray[Any]
STORAGE = ("int8", "bf16", "fp32")


class Stored(NamedTuple):
    """Tensors as `core.bundle.write_bundle` takes them."""

    tensors: dict[str, Array]
    bfloat16: frozenset[str]
    """Names of those stored as bfloat16."""


def check_storage(storage: str) -> str:
    """`storage` if it is one; else a ConfigError."""
    if storage not in STORAGE:
        raise ConfigError(f"export.weights {storage!r} is unknown. {nearest(storage, STORAGE)}")
    return storage


def store(weights: Mapping[str, npt.NDArray[np.floating]], storage: str) -> Stored:
    """Float weights as they are to be stored.

    Raises: ConfigError: `storage` is unknown, or a weight is NaN or infinite (training diverged).
    """
    check_storage(storage)
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ConfigError(
                f"{name} holds NaN or infinity: training diverged. Lower train.learning_rate and train again."
            )
    tensors: dict[str, Array] = {}
    for name, array in weights.items():
        if storage == "int8" and _narrowed(name, array.shape):
            tensors[name], tensors[name + SCALE] = quantize(array)
        else:
            tensors[name] = np.asarray(array, dtype=np.float32)
    return Stored(tensors, _bfloat16({name: array.shape for name, array in weights.items()}, storage))


def stored_again(bundle: Bundle, storage: str) -> Stored:
    """The weights of a bundle, stored another way. Stored the same way, they keep their bits."""
    slots = bundle.weights.slots
    names = [name for name in slots if not name.endswith(SCALE)]
    if check_storage(storage) == bundle.storage:
        kept = frozenset(name for name, slot in slots.items() if slot.dtype == "BF16")
        return Stored(dict(bundle.weights), kept)
    weights = {
        name: dequantize(bundle.weights[name], bundle.weights[name + SCALE])
        if slots[name].dtype == "I8"
        else bundle.weights[name]
        for name in names
    }
    return store(weights, storage)


def stored_bytes(shapes: Mapping[str, tuple[int, ...]], storage: str) -> int:
    """Bytes of the whole `weights.safetensors` of weights of these shapes, before they exist."""
    dtypes: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shape in shapes.items():
        if storage == "int8" and _narrowed(name, shape):
            dtypes[name] = shape, "i1"
            dtypes[name + SCALE] = shape[:1], "f4"
        else:
            dtypes[name] = shape, "f4"
    bfloat16 = _bfloat16(shapes, storage)
    # Arrays of one element seen through strides of zero: they have the shape, and take no memory.
    ghosts = {name: np.broadcast_to(np.zeros((), dtype), shape) for name, (shape, dtype) in dtypes.items()}
    header, _ = pack_header(ghosts, bfloat16=bfloat16)
    return len(header) + sum(ghost.size * (2 if name in bfloat16 else ghost.itemsize) for name, ghost in ghosts.items())


def _narrowed(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is stored in fewer bits than 32 where the storage has fewer."""
    return len(shape) > 1 and not name.endswith(".transitions")


def _bfloat16(shapes: Mapping[str, tuple[int, ...]], storage: str) -> frozenset[str]:
    if storage == "fp32":
        return frozenset()
    many = [name for name, shape in shapes.items() if _narrowed(name, shape)]
    return frozenset(many if storage == "bf16" else [name + SCALE for name in many])
