"""Looking into a model: plots of how it errs. Needs the extra `plots`."""

from __future__ import annotations

from gatework.explain.alignment import alignment_png
from gatework.explain.confusion import confusion_png
from gatework.explain.reliability import reliability_png

__all__ = ["alignment_png", "confusion_png", "reliability_png"]
