"""Answering: a bundle opened, run and asked. NumPy and the kernels; no torch, no pydantic.

model = load("reviews.gw")
model.predict("great film").label
"""

from __future__ import annotations

from gatework.runtime.model import Model, load

__all__ = ["Model", "load"]
