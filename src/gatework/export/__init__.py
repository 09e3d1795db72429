"""From trained weights to a bundle: storage types, the model card, and fitting a size.

export_bundle   write a trained model
restore         the same model with its weights stored another way
add_shortlist   the same translator with a list of likely target words
plan_size       a recipe whose bundle fits `export.max_size`
"""

from __future__ import annotations

from gatework.export.shortlist import add_shortlist
from gatework.export.size import SizePlan, plan_size
from gatework.export.writer import BundleInfo, export_bundle, restore

__all__ = ["BundleInfo", "SizePlan", "add_shortlist", "export_bundle", "plan_size", "restore"]
