"""What a cell is, and the few array helpers the cells share.

A cell states its equation once, as `look(xp, x, state, params)`, for NumPy and torch arrays alike: `xp` is the module
`numpy` or `torch`. Training's variants, the runtime's fallback and the readable reference are this one function.

T time, B batch, I inputs, H units, P projection, G = gates x H, packed in the cell's gate order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gatework.core.errors import ConfigError

Array = Any
"""A NumPy array or a torch tensor; one step uses only one kind."""

Module = Any
"""The module `numpy` or `torch`."""

Gates = tuple[Array, ...]

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One recurrent cell. States and parameters are NamedTuples, so that nothing travels by position."""

    name: str
    """Its name in `CELLS`, in recipes and in bundles."""
    look: Callable[[Module, Array, Any, Any], tuple[Any, Gates]]
    """`look(xp, x_BI, state, params) -> state, gates`: as `step`, with the gates as they acted, (B, H) each, in the
    order of `gates`: squashed already, so that i, f, o, r and z lie between 0 and 1, g and n between -1 and 1."""
    State: type[Any]
    """NamedTuple of what is carried from step to step; its first field is the output."""
    Params: type[Any]
    """NamedTuple of the weights."""
    gates: tuple[str, ...]
    """Order in which G packs the gates, from `core.gates`."""
    shapes: Callable[[int, int, int], Shapes]
    """`shapes(inputs, units, projection)` of the parameters; read through `parameters`."""
    projects: bool = False
    """Whether the output is a projection of the units, of its own width."""

    def step(self, xp: Module, x_BI: Array, state: Any, params: Any) -> Any:
        """Every sequence one time step on; `state` is left as it was."""
        return self.look(xp, x_BI, state, params)[0]

    def parameters(self, inputs: int, units: int, projection: int = 0) -> Shapes:
        """Shape of each parameter, by name, in the order of `Params`.

        Raises: ConfigError: a size is below 1, or a projection is asked of a cell without one, or missing.
        """
        self._check(units, projection)
        if inputs < 1:
            raise ConfigError(f"{self.name}: needs at least 1 input, got {inputs}.")
        return self.shapes(inputs, units, projection)

    def outputs(self, units: int, projection: int = 0) -> int:
        """Width of the output."""
        self._check(units, projection)
        return projection if self.projects else units

    def params(self, weights: Mapping[str, Array] | Any) -> Any:
        """The cell's NamedTuple of weights, from a mapping of the same names; a NamedTuple passes through.

        Raises: ConfigError: a name is missing or unknown.
        """
        if isinstance(weights, self.Params):
            return weights
        want, have = set(self.Params._fields), set(weights)
        if want != have:
            odd = sorted(want ^ have)[0]
            raise ConfigError(
                f"{self.name}: parameter {odd!r} is {'missing' if odd in want else 'unknown'}. "
                f"Give exactly: {', '.join(self.Params._fields)}."
            )
        return self.Params(**{name: weights[name] for name in self.Params._fields})

    def initial_state(
        self, xp: Module, batch: int, units: int, projection: int = 0, *, dtype: Any = None, device: Any = None
    ) -> Any:
        """The zero state of `batch` sequences. `dtype` and `device` as `xp.zeros` takes them; None for its defaults."""
        options = {key: value for key, value in (("dtype", dtype), ("device", device)) if value is not None}
        first = self.outputs(units, projection)
        widths = [first] + [units] * (len(self.State._fields) - 1)
        return self.State(*(xp.zeros((batch, width), **options) for width in widths))

    def output(self, state: Any) -> Array:
        """The part of the state that the next layer sees."""
        return state[0]

    def _check(self, units: int, projection: int) -> None:
        if units < 1 or projection < 0:
            raise ConfigError(
                f"{self.name}: units must be at least 1 and projection at least 0, got {units} and {projection}."
            )
        if self.projects and not projection:
            raise ConfigError(f"{self.name}: model.projection must be at least 1. Use the cell 'lstm' without one.")
        if projection and not self.projects:
            raise ConfigError(f"{self.name}: has no projection. Set model.projection to 0 or use 'lstm-projection'.")


def sigmoid(xp: Module, x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    own = getattr(xp, "sigmoid", None)
    return own(x) if own is not None else 0.5 * xp.tanh(0.5 * x) + 0.5


def split_gates(z_BG: Array, gates: int) -> list[Array]:
    """The G = gates x H columns gate by gate, each (B, H)."""
    units = z_BG.shape[1] // gates
    return [z_BG[:, gate * units : (gate + 1) * units] for gate in range(gates)]
