"""Looking into a model: what each token did, what the gates did, and plots of how it errs. Pictures need the extra
`plots`."""

from __future__ import annotations

from gatework.explain.alignment import alignment_png
from gatework.explain.confusion import confusion_png
from gatework.explain.explanation import explain
from gatework.explain.html import explanation_html
from gatework.explain.occlusion import Attribution, occlusion
from gatework.explain.picture import explanation_png
from gatework.explain.reliability import reliability_png

__all__ = [
    "Attribution",
    "alignment_png",
    "confusion_png",
    "explain",
    "explanation_html",
    "explanation_png",
    "occlusion",
    "reliability_png",
]
