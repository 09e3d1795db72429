"""Metrics of tags as a text for a terminal. Chinese names count two columns a character."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatework.core.plain import display_width

MOST_TYPES = 40
"""Types listed one by one; of more, the most frequent are shown."""


def report(metrics: Mapping[str, Any]) -> str:
    """Scores of spans overall and by type, token accuracy, words outside the vocabulary, kinds of errors, layers."""
    lines = _layer(metrics)
    for name, values in metrics.get("layers", {}).items():
        lines += ["", f"layer {name}", *_layer(values)]
    return "\n".join([*lines, "", f"{metrics['n']:,} sentences, {metrics['tokens']:,} tokens"])


def _layer(metrics: Mapping[str, Any]) -> list[str]:
    lines = _table(metrics) if "f1" in metrics else []
    names = {"f1": "F1 of spans", "seg_f1": "F1 of words, whatever their tag", "accuracy": "accuracy of tokens"}
    interval: Mapping[str, Sequence[float]] = metrics.get("interval", {})
    for name, words in names.items():
        if name in metrics:
            between = f", 95 % interval {interval[name][0]:.4f} to {interval[name][1]:.4f}" if name in interval else ""
            lines.append(f"{metrics[name]:.4f}  {words}{between}")
    if "ece" in metrics:
        lines.append(f"{metrics['ece']:.4f}  calibration error of the spans' scores")
    oov = metrics.get("oov")
    if oov is not None and oov["tokens"]:
        lines.append(f"{oov['accuracy']:.4f}  accuracy of the {oov['tokens']:,} tokens outside the vocabulary")
        if oov.get("gold"):
            lines.append(f"{oov['f1']:.4f}  F1 of spans that hold one ({oov['gold']:,} in the data)")
    if any(metrics.get("errors", {}).values()):
        lines.append("errors: " + ", ".join(f"{count:,} {kind}" for kind, count in metrics["errors"].items() if count))
    return lines


def _table(metrics: Mapping[str, Any]) -> list[str]:
    """Overall and by type, as `conlleval` lists them."""
    types = sorted(metrics["types"].items(), key=lambda one: -one[1]["gold"])
    lines = [f"(the {MOST_TYPES} of {len(types)} types that are most frequent)"] if len(types) > MOST_TYPES else []
    shown = sorted(types[:MOST_TYPES])
    rows: list[tuple[str, Mapping[str, Any]]] = [("all", metrics), *((name or "(no type)", one) for name, one in shown)]
    width = max(display_width(name) for name, _ in rows)
    lines.append(f"{'':<{width}}  precision  recall      F1    right    found  in data")
    for name, one in rows:
        lines.append(
            f"{name}{' ' * (width - display_width(name))}  {one['precision']:9.4f}  {one['recall']:6.4f}  "
            f"{one['f1']:6.4f}  {one['right']:7,}  {one['found']:7,}  {one['gold']:7,}"
        )
    return [*lines, ""]
