"""Metrics of tags as a text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def report(metrics: Mapping[str, Any]) -> str:
    """Scores of spans overall and by type, token accuracy, further layers."""
    lines = [f"{metrics['n']:,} sentences, {metrics['tokens']:,} tokens"]
    lines += _layer(metrics)
    for name, values in metrics.get("layers", {}).items():
        lines += ["", f"layer {name}", *_layer(values)]
    return "\n".join(lines)


def _layer(metrics: Mapping[str, Any]) -> list[str]:
    lines = [f"accuracy   {metrics['accuracy']:.4f}  of tokens"]
    if "seg_f1" in metrics:
        lines.append(
            f"words      {metrics['seg_f1']:.4f}  F1 of their borders "
            f"(precision {metrics['seg_precision']:.4f}, recall {metrics['seg_recall']:.4f})"
        )
    if "f1" not in metrics:
        return lines
    rows = [("all", metrics), *metrics["types"].items()]
    width = max(len(name) for name, _ in rows)
    lines += ["", f"{'':<{width}}  precision  recall      F1   right   found    data"]
    for name, one in rows:
        lines.append(
            f"{name:<{width}}  {one['precision']:9.4f}  {one['recall']:6.4f}  {one['f1']:6.4f}  "
            f"{one['right']:6}  {one['found']:6}  {one['gold']:6}"
        )
    return lines
