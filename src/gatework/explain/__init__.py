"""Looking into a model: plots of how it errs. Needs the extra `plots`."""

from __future__ import annotations

from gatework.explain.confusion import confusion_png
from gatework.explain.reliability import reliability_png

__all__ = ["confusion_png", "reliability_png"]
