"""Text classification: one label of two or many, or several labels at once."""

from __future__ import annotations

from gatework.tasks.classify.answer import Classification, Settings, decisions, decode, probabilities
from gatework.tasks.classify.calibration import calibrate, tune_thresholds
from gatework.tasks.classify.codec import ClassifyCodec, labels_entry, open_codec
from gatework.tasks.classify.metrics import metrics
from gatework.tasks.classify.report import report
from gatework.tasks.classify.task import Classify

__all__ = [
    "Classification",
    "Classify",
    "ClassifyCodec",
    "Settings",
    "calibrate",
    "decisions",
    "decode",
    "labels_entry",
    "metrics",
    "open_codec",
    "probabilities",
    "report",
    "tune_thresholds",
]
