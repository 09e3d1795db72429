"""Small pieces of the papers' notation: gates of a packed matrix by name, the logistic function, its slope."""

from __future__ import annotations

import numpy as np


def logistic(a: np.ndarray) -> np.ndarray:
    """Written for either sign, so that exp never overflows."""
    small = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + small), small / (1 + small))


def gates(packed: np.ndarray, names: str) -> dict[str, np.ndarray]:
    """The rows of each gate, by its letter."""
    return dict(zip(names, np.split(packed, len(names)), strict=True))


def pack(parts: dict[str, np.ndarray], names: str) -> np.ndarray:
    """The inverse of `gates`."""
    return np.concatenate([parts[name] for name in names])


def zeros(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.zeros_like(value) for name, value in p.items()}
