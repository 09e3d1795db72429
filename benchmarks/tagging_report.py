"""Results of the taggers as the section Sequence labelling of `benchmarks/README.md`.

    python -m benchmarks.tagging_report results/tagging.jsonl --readme benchmarks/README.md

Without `--readme` the tables go to stdout. A later line replaces an earlier one of the same system and set.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.report import command, provenance
from benchmarks.tag_sets import SETS, Goal, TagSet

BEGIN, END = "<!-- tagging:begin -->", "<!-- tagging:end -->"
SIZE_LIMIT, STORAGE_LIMIT = 3.0, 0.2
"""Megabytes of a bundle, and what int8 may cost in percent."""
RATE_GOALS, LATENCY_GOALS = (20_000, 60_000), (1.0, 0.3)
"""Floor and target: tokens a second, milliseconds for 20."""

Record = dict[str, Any]
Results = dict[tuple[str, str], Record]
"""Figures by system and set; set `install` for the size of an install."""


def merge(lines: Iterable[str]) -> Results:
    """Records by system and set, the last line winning."""
    records = [json.loads(line) for line in lines if line.strip()]
    return {(record["system"], record["set"]): record for record in records}


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A markdown table; empty without rows. The first `left` columns are text."""
    if not rows:
        return []
    ruler = ["---"] * left + ["---:"] * (len(head) - left)
    return [f"| {' | '.join(row)} |" for row in (head, ruler, *rows)] + [""]


def quality(results: Results) -> list[str]:
    """Scores beside what is published and what was set out for; storage, size and training time."""
    head = ["set", "metric, %", "published", "floor", "target", "Gatework", "reached", "fp32", "int8 costs", "MB",
            "training, min", "limit"]  # fmt: skip
    rows = []
    for one, record in _of(results, "gatework"):
        for goal in one.goals:
            value = 100 * record[goal.metric]
            whole = 100 * record["fp32"][goal.metric] if "fp32" in record else None
            seconds = record.get("train_seconds")
            rows.append([
                one.title, goal.title, goal.published, f"{goal.floor:g}", f"{goal.target:g}", f"{value:.2f}",
                reached(value, goal), f"{whole:.2f}" if whole is not None else "",
                f"{whole - value:+.2f}" if whole is not None else "", f"{record['bytes'] / 1e6:.2f}",
                f"{seconds / 60:.1f}" if seconds is not None else "", f"{one.minutes:g}",
            ])  # fmt: skip
    return table(head, rows, left=3)


def reached(value: float, goal: Goal) -> str:
    """`target`, `floor` or `-`, by the figure as it is shown."""
    value = round(value, 2)
    return "target" if value >= goal.target else "floor" if value >= goal.floor else "-"


def speed(results: Results) -> list[str]:
    """Speed of our runtime."""
    head = ["set", "unit", "a second, 32 a call", "one a call", "20 tokens: p50, ms", "p99, ms"]
    rows = [
        [one.title, one.unit, *_rates(record["speed"]), *_latency(record["speed"])]
        for one, record in _of(results, "gatework")
        if "speed" in record
    ]
    return table(head, rows, left=2)


def beside_spacy(results: Results) -> list[str]:
    """Both on the sets that spaCy was trained on; speed as measured in turn, where it was."""
    head = ["set", "tagger", "score, %", "model, MB", "install, MB", "a second, 32 a call", "one a call",
            "20 tokens: p50, ms", "p99, ms", "training, min"]  # fmt: skip
    rows = []
    for one, record in _of(results, "spacy"):
        ours = results.get(("gatework", one.name), {}) | {"speed": record.get("gatework_speed")}
        for name, system, own in (("Gatework", "gatework", ours), ("spaCy", "spacy", record)):
            if "bytes" in own:
                rows.append([one.title, name, *_score(one, own), f"{own['bytes'] / 1e6:.2f}", _install(results, system),
                             *_rates(own["speed"]), *_latency(own["speed"]), _minutes(own)])  # fmt: skip
    return table(head, rows, left=2)


def beside_pytorch(results: Results) -> list[str]:
    """Training speed of the same network, and what it reaches in the same epochs."""
    head = ["set", "tokens a second: Gatework", "PyTorch", "ratio", "score, %: Gatework", "PyTorch", "epochs: Gatework",
            "PyTorch", "left out"]  # fmt: skip
    rows = []
    for one, record in _of(results, "pytorch"):
        ours, training = results.get(("gatework", one.name), {}), record["training"]
        rows.append([
            one.title, f"{training['gatework_rate']:,.0f}", f"{training['pytorch_rate']:,.0f}",
            f"{training['ratio']:.2f}", *_score(one, ours), *_score(one, record), str(ours.get("epochs", "")),
            str(record.get("epochs", "")), ", ".join(record["left_out"]) or "-",
        ])  # fmt: skip
    return table(head, rows)


def render(results: Results) -> str:
    """All tables and where their figures come from."""
    sections = {
        "Scores, size and training time": (
            quality(results),
            "From the exported int8 bundle, as `gatework evaluate` scores; spans as `conlleval` counts them. On "
            f"test; CLUENER on dev. Limits: {SIZE_LIMIT:g} MB, and {STORAGE_LIMIT:g} for int8 storage against fp32 "
            "weights of the same training.",
        ),
        "Speed of the runtime, one thread": (
            speed(results),
            f"Floor {RATE_GOALS[0]:,} a second and {LATENCY_GOALS[0]:g} ms, target {RATE_GOALS[1]:,} and "
            f"{LATENCY_GOALS[1]:g} ms. All test sentences as tokens, in the order of the file; answers with spans, "
            "offsets and scores. Median of 3 rounds.",
        ),
        "Beside spaCy": (
            beside_spacy(results),
            "spaCy's small CNN pipeline with its CPU defaults, trained on the same files, one thread; the two timed in "
            "turn on the same sentences. Install: the package with all it needs, for answering.",
        ),
        "Beside PyTorch with pytorch-crf": (
            beside_pytorch(results),
            "The same network from the same weights, whole training steps on the same batches in turn, one thread, "
            "seconds of the processor; scores after training by the same recipe.",
        ),
    }
    lines: list[str] = []
    for title, (found, note) in sections.items():
        lines += [f"### {title}", "", note, "", *found] if found else []
    return "\n".join([*lines, "### Where these figures come from", "", *provenance(results), *_notes(results)])


def _notes(results: Results) -> list[str]:
    spacy = [
        f"{one.title} {record['epochs'] + 1} epochs, ended by {record['reason']}"
        for one, record in _of(results, "spacy")
    ]
    return [f"spaCy's training: {'; '.join(spacy)}.", ""] if spacy else []


def _of(results: Results, system: str) -> Iterator[tuple[TagSet, Record]]:
    for name, one in SETS.items():
        if (system, name) in results:
            yield one, results[system, name]


def _score(one: TagSet, record: Record) -> list[str]:
    value = record.get(one.goals[-1].metric)
    return [f"{100 * value:.2f}" if value is not None else ""]


def _rates(speed: Record | None) -> list[str]:
    return [f"{speed[name]:,.0f}" if speed else "" for name in ("batch_rate", "single_rate")]


def _latency(speed: Record | None) -> list[str]:
    return [f"{speed[name]:.3f}" if speed and name in speed else "" for name in ("p50", "p99")]


def _minutes(record: Record) -> str:
    return f"{record['train_seconds'] / 60:.1f}" if "train_seconds" in record else ""


def _install(results: Results, system: str) -> str:
    record = results.get((system, "install"))
    return f"{record['install_bytes'] / 1e6:.0f}" if record else ""


def main() -> int:
    return command(__doc__, merge, render, BEGIN, END)


if __name__ == "__main__":
    sys.exit(main())
