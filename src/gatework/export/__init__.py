"""From trained weights to a bundle: storage types, the model card, and fitting a size.

export_bundle   write a trained model
restore         the same model with its weights stored another way
plan_size       a recipe whose bundle fits `export.max_size`
"""

from __future__ import annotations

from gatework.export.size import SizePlan, plan_size
from gatework.export.writer import BundleInfo, export_bundle, restore

__all__ = ["BundleInfo", "SizePlan", "export_bundle", "plan_size", "restore"]
