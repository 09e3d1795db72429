"""Training: from a recipe to weights, and on to a bundle. Needs torch.

train   the whole: fit, export, measure the exported bundle
fit     the loop alone: weights of the best epoch
"""

from __future__ import annotations

import os

# Idle OpenMP threads of GCC's library spin for the next piece of work. Beside any other busy process that makes two
# threads ten times slower than one. It reads this when torch is loaded, which the imports below do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from gatework.train.clock import Clock
from gatework.train.finder import RateCurve, find_learning_rate
from gatework.train.fitting import FitResult, fit
from gatework.train.pipeline import TrainResult, train
from gatework.train.progress import Progress, ProgressCallback
from gatework.train.run_folder import RunFolder, saved_recipe

__all__ = [
    "Clock",
    "FitResult",
    "Progress",
    "ProgressCallback",
    "RateCurve",
    "RunFolder",
    "TrainResult",
    "find_learning_rate",
    "fit",
    "saved_recipe",
    "train",
]
