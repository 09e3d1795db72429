"""Parameters by their names in a bundle, as arrays and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gatework.core.errors import BundleError

Named = Iterable[tuple[str, Tensor]]
"""Parameters under their names in a bundle (see `core.architecture`)."""


def to_arrays(named: Named) -> dict[str, npt.NDArray[np.float32]]:
    """A float32 copy of every parameter."""
    return {name: np.array(w.detach().cpu().float().numpy()) for name, w in named}


@torch.no_grad()
def load_arrays(named: Named, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
    """Take over what `to_arrays` gave. Raises BundleError: a name is missing or unknown, or a shape differs."""
    own = dict(named)
    if odd := sorted(set(own) ^ set(weights)):
        raise BundleError(f"weights: {odd[0]!r} is {'missing' if odd[0] in own else 'unknown'}. Export it again.")
    for name, parameter in own.items():
        if weights[name].shape != tuple(parameter.shape):
            raise BundleError(
                f"weights: {name} has shape {weights[name].shape}, wanted {tuple(parameter.shape)}. "
                "Export the model again."
            )
    for name, parameter in own.items():
        parameter.copy_(torch.from_numpy(np.array(weights[name], dtype=np.float32)))
