"""What a bundle and the run folder beside it tell: the same model in float32, and the course of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import measure


def in_float32(bundle: Path, target: Path) -> bool:
    """Write the model of `bundle` with the weights its run folder keeps, in float32; False where there is no run."""
    from gatework.core.bundle import CONFIG, WEIGHTS, read_bundle, write_bundle
    from gatework.export.storage import store
    from gatework.train.checkpoint import latest

    opened = read_bundle(bundle)
    kept = latest(bundle.with_suffix(".run") / "checkpoints", say=measure.say)
    if kept is None:
        return False
    weights = kept.under("best/weights")
    if {name: array.shape for name, array in weights.items()} != {
        name: slot.shape for name, slot in opened.weights.slots.items() if not name.endswith(".scale")
    }:
        measure.say(f"{bundle}: the run folder holds another model; no float32 figures.")
        return False
    config = {name: value for name, value in opened.config.items() if name != "format"}
    entries = {name: bytes(data) for name, data in opened.entries.items() if name not in (CONFIG, WEIGHTS)}
    write_bundle(target, config=config, weights=store(weights, "fp32").tensors, entries=entries)
    return True


def course(bundle: Path) -> dict[str, Any]:
    """Seconds and epochs of the training behind a bundle, from its run folder; {} without one."""
    from gatework.train.checkpoint import latest

    kept = latest(bundle.with_suffix(".run") / "checkpoints", say=measure.say)
    if kept is None:
        return {}
    state, threads = kept.state["course"], kept.state["identity"]["threads"]
    best = {"best_epoch": state["best_epoch"], "epochs": state["epoch"], "training_threads": threads}
    spent, tokens = state["train_seconds"], state["tokens"]
    return best | {"train_seconds": state["stage_seconds"], "train_rate": tokens / spent if spent else None}
