"""Random cases that do not hide bugs: distinct weights, nonzero states, ragged lengths, rubbish in padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatework.cells import CELLS


@dataclass(frozen=True)
class Case:
    """A layer's weights and a ragged batch in float64. Sizes: T, B, I, H, and P for cells that project."""

    name: str
    x_TBI: np.ndarray
    lengths: np.ndarray
    params: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    """As the oracles take it: h, and c where there is one, each (B, width)."""

    @property
    def cell_state(self) -> Any:
        return CELLS[self.name].State(*self.state.values())

    def rounded(self) -> Case:
        """Every number rounded to float32, still in float64: what float32 code was really given."""

        def nearest(a: np.ndarray) -> np.ndarray:
            return a.astype(np.float32).astype(np.float64)

        return Case(
            self.name,
            nearest(self.x_TBI),
            self.lengths,
            {key: nearest(value) for key, value in self.params.items()},
            {key: nearest(value) for key, value in self.state.items()},
        )


def random_case(
    name: str, rng: np.random.Generator, T: int, B: int, I: int, H: int, P: int = 2, *, shortest: int = 1
) -> Case:
    """Weights of rows with norm about 1, lengths from `shortest` to T with one of each end where B allows."""
    cell = CELLS[name]
    projection = P if cell.projects else 0
    params = {}
    for key, shape in cell.parameters(I, H, projection).items():
        scale = 1.0 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.5
        params[key] = rng.normal(size=shape) * scale
        if key.startswith("g"):  # gains of layer normalisation stay near 1
            params[key] = 1.0 + 0.3 * params[key]
    lengths = rng.integers(shortest, T + 1, size=B)
    lengths[rng.integers(B)] = T
    widths = [cell.outputs(H, projection)] + [H] * (len(cell.State._fields) - 1)
    state = {key: rng.normal(size=(B, width)) * 0.7 for key, width in zip("hc", widths, strict=False)}
    x_TBI = rng.normal(size=(T, B, I))
    for b, length in enumerate(lengths):
        x_TBI[length:, b] = 1e3
    return Case(name, x_TBI, lengths, params, state)
