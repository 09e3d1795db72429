"""Results of the language models as the section Language models of `benchmarks/README.md`.

    python -m benchmarks.language_report results/language.jsonl --readme benchmarks/README.md

Without `--readme` the tables go to stdout. A later line replaces an earlier one of the same system and set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.language_sets import SETS, LanguageSet
from benchmarks.report import command, provenance
from benchmarks.tagging_report import merge, table

BEGIN, END = "<!-- language:begin -->", "<!-- language:end -->"
OURS = "gatework"
STORAGE_LIMIT = 1.0
"""Percent of perplexity that int8 may cost."""

Record = dict[str, Any]
Results = dict[tuple[str, str], Record]


def quality(results: Results) -> list[str]:
    """Scores beside what is published and what was set out for; size and training time."""
    head = ["set", "metric", "published", "floor", "target", "Gatework", "reached", "95 %", "MB", "training, min",
            "limit"]  # fmt: skip
    rows = []
    for one, record in _of(results, OURS):
        value, seconds = record[one.metric], record.get("train_seconds")
        rows.append([
            one.title, f"{one.shown}{'' if one.scored_on == 'test' else ', dev'}", one.published, f"{one.floor:g}",
            f"{one.target:g}", figure(value), reached(value, one), _interval(one, record),
            f"{record['bytes'] / 1e6:.2f}", f"{seconds / 60:.1f}" if seconds is not None else "", f"{one.minutes:g}",
        ])  # fmt: skip
    return table(head, rows, left=3)


def reached(value: float, one: LanguageSet) -> str:
    """`target`, `floor` or `-`, by the figure as it is shown."""
    shown = float(figure(value))
    return "target" if shown <= one.target else "floor" if shown <= one.floor else "-"


def figure(value: float) -> str:
    """A perplexity, or bits or nats a character, for the table."""
    return f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def storage(results: Results) -> list[str]:
    """What int8 weights cost."""
    head = ["set", "perplexity, int8", "fp32", "int8 costs, %", "MB, int8", "fp32"]
    rows = []
    for one, record in _of(results, OURS):
        if whole := record.get("fp32"):
            small, exact = record["perplexity"], whole["perplexity"]
            sizes = [f"{own['bytes'] / 1e6:.2f}" for own in (record, whole)]
            rows.append([one.title, f"{small:.3f}", f"{exact:.3f}", f"{100 * (small / exact - 1):+.2f}", *sizes])
    return table(head, rows)


def readings(results: Results) -> list[str]:
    """Perplexity with what a model may learn from the text it has read."""
    head = ["set", "plain", "neural cache", "dynamic evaluation"]
    rows = [
        [one.title, *(figure(own["perplexity"]) for own in (record, record["cache"], record["dynamic"]))]
        for one, record in _of(results, OURS)
        if "cache" in record and "dynamic" in record
    ]
    return table(head, rows)


def cells(results: Results) -> list[str]:
    """Every system that was measured on the Tang poems."""
    one = SETS["lm-tang"]
    found = {system: record for (system, name), record in results.items() if name == one.name}
    if len(found) < 2:
        return []
    titles = {OURS: "LSTM, the recipe", "gatework-lstm": "LSTM", "gatework-gru": "GRU", "gatework-rnn": "RNN"}
    titles["kneser-ney-4"] = "4-gram Kneser-Ney"
    rows = []
    for system, record in sorted(found.items(), key=lambda item: -item[1]["perplexity"]):
        seconds, size = record.get("train_seconds"), record.get("bytes")
        rows.append([
            titles.get(system, system), figure(record["perplexity"]), f"{record['bits_per_char']:.3f}",
            f"{size / 1e6:.2f}" if size else "", f"{seconds / 60:.1f}" if seconds is not None else "",
            f"{record['epochs']}" if "epochs" in record else "",
        ])  # fmt: skip
    return table(["model", "perplexity", "bits a character", "MB", "training, min", "epochs"], rows)


def render(results: Results) -> str:
    """All tables and where their figures come from."""
    sections = {
        "Scores, size and training time": (
            quality(results),
            "From the exported int8 bundle, as `gatework evaluate` reads the text: whole, from its beginning, the "
            "state carried along, every token counted. On test; tinyshakespeare has none: its last tenth is dev, which "
            "also chose the epoch. Nothing is learnt from the text that is scored.",
        ),
        "Tang poems: cells and counts": (
            cells(results),
            "Each poem alone; the recipe, and the recipe with each cell for as many epochs as the table says.",
        ),
        "Learning on from the text": (
            readings(results),
            "The same bundles on test: a neural cache of the last 2,000 words, and dynamic evaluation by plain "
            "gradients. Their settings were chosen on dev.",
        ),
        "Storage": (storage(results), f"Limit: {STORAGE_LIMIT:g} % of perplexity."),
    }
    lines: list[str] = []
    for title, (found, note) in sections.items():
        lines += [f"### {title}", "", note, "", *found] if found else []
    return "\n".join([*lines, "### Where the figures of the language models come from", "", *provenance(results)])


def _interval(one: LanguageSet, record: Record) -> str:
    low_high = record.get("interval", {}).get(one.metric)
    return "–".join(figure(value) for value in low_high) if low_high else ""


def _of(results: Results, system: str) -> Iterator[tuple[LanguageSet, Record]]:
    for name, one in SETS.items():
        if (system, name) in results:
            yield one, results[system, name]


def main() -> int:
    return command(__doc__, merge, render, BEGIN, END)


if __name__ == "__main__":
    sys.exit(main())
