"""Merge results files into the tables of `benchmarks/README.md`.

    python -m benchmarks.report gatework.jsonl fasttext.jsonl pytorch.jsonl --readme benchmarks/README.md

Without `--readme` the tables go to stdout. A later line replaces an earlier one of the same system and set. The best
figure of a row is bold, whoever has it, and a list below the tables names every row that a rival wins.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sets import SETS, TextSet

BEGIN, END = "<!-- classification:begin -->", "<!-- classification:end -->"

Record = dict[str, Any]
Results = dict[tuple[str, str], Record]
"""Figures by system and set."""

TITLES = {
    "gatework": "Gatework",
    "gatework-plain": "Gatework, no recipe",
    "fasttext": "fastText",
    "fasttext-refit": "fastText, dev put back",
    "fasttext-100000": "fastText .ftz, 100k rows",
    "fasttext-10000": "fastText .ftz, 10k rows",
    "pytorch": "PyTorch BiLSTM",
}
OURS = "gatework"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One table: a figure of every system, one row a set."""

    title: str
    value: Callable[[Record], float | None]
    show: Callable[[float], str]
    lower_is_better: bool = True
    goals: tuple[tuple[str, Callable[[TextSet], str]], ...] = ()
    note: str = ""


def _at(*path: str, scale: float = 1.0) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found: Any = record
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return None if found is None else scale * float(found)

    return value


MEASURES = (
    Measure(
        title="Accuracy, %", value=_at("accuracy", scale=100), show=lambda figure: f"{figure:.2f}",
        lower_is_better=False, note="On test; TNEWS on its dev file, with dev held out of train.",
        goals=(("floor", lambda one: f"{one.goal.floor:g}"), ("target", lambda one: f"{one.goal.target:g}")),
    ),
    Measure(
        title="F1 of the positive class, %", value=_at("f1", scale=100), show=lambda figure: f"{figure:.2f}",
        lower_is_better=False,
    ),
    Measure(
        title="Size of the model file, MB", value=_at("bytes", scale=1e-6), show=lambda figure: f"{figure:.3g}"
        if figure < 100 else f"{figure:.0f}", goals=(("limit", lambda one: f"{one.goal.megabytes:g}"),),
        note="Everything needed to answer, tokeniser included; 1 MB is a million bytes.",
    ),
    Measure(
        title="Training, seconds", value=_at("train_seconds"), show=lambda figure: f"{figure:.1f}",
        goals=(("limit", lambda one: f"{60 * one.goal.minutes:g}"),),
        note="Without the search for fastText's setting; a quantised model adds its compression.",
    ),
    Measure(
        title="One 20-token sentence, one thread, p50 in ms", value=_at("latency_ms", "p50"),
        show=lambda figure: f"{figure:.3f}", note="From Python, tokenising included.",
    ),
    Measure(
        title="One 20-token sentence, one thread, p99 in ms", value=_at("latency_ms", "p99"),
        show=lambda figure: f"{figure:.3f}",
    ),
    Measure(
        title="Cold start to one answer, seconds", value=_at("cold_start_seconds"),
        show=lambda figure: f"{figure:.2f}",
        note="A new process that loads the model and answers one text; median of 7.",
    ),
)  # fmt: skip


def merge(lines: Iterable[str]) -> Results:
    """Records by system and set, the last line winning; what is nested becomes a system of its own."""
    results: Results = {}
    for line in lines:
        if not line.strip():
            continue
        record = json.loads(line)
        system, name = record["system"], record["set"]
        for key in [key for key in results if key[1] == name and _owner(key[0], system)]:
            del results[key]
        results[system, name] = record
        for small in record.get("quantised", []):
            seconds = record["train_seconds"] + small["seconds"]
            results[f"{system}-{small['rows']}", name] = small | {"train_seconds": seconds}
        if "refit" in record:
            results[f"{system}-refit", name] = record["refit"]
    return results


def _owner(key: str, system: str) -> bool:
    """Whether `key` names `system` or a variant nested in its records (not another system such as `-plain`)."""
    rest = key.removeprefix(f"{system}-")
    return key == system or (rest != key and (rest == "refit" or rest.isdigit()))


def table(measure: Measure, results: Results) -> list[str]:
    """One markdown table, best of each row bold; empty where no system has the figure."""
    systems = _systems(results, measure)
    if not systems:
        return []
    head = ["set", *(name for name, _ in measure.goals), *(TITLES.get(system, system) for system in systems)]
    lines = [f"### {measure.title}", "", *([measure.note, ""] if measure.note else [])]
    lines += [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for one in SETS.values():
        shown = {s: measure.show(v) for s in systems if (v := _figure(measure, results, s, one)) is not None}
        if shown:
            best = _best(measure, shown)
            cells = [f"**{shown[s]}**" if shown.get(s) == best else shown.get(s, "") for s in systems]
            lines.append(_row([one.title, *(goal(one) for _, goal in measure.goals), *cells]))
    return [*lines, ""]


def losses(measures: Sequence[Measure], results: Results) -> list[str]:
    """One bullet a measure: the sets where a rival's figure is better than Gatework's as shown, and by whom."""
    lines = []
    for measure in measures:
        lost = []
        for one in SETS.values():
            ours = _figure(measure, results, OURS, one)
            rivals = {s: f for s in _systems(results, measure) if not s.startswith(OURS)
                      if (f := _figure(measure, results, s, one)) is not None}  # fmt: skip
            if ours is None or not rivals:
                continue
            shown = {system: measure.show(figure) for system, figure in rivals.items()}
            best = _best(measure, [*shown.values(), measure.show(ours)])
            winners = [system for system in shown if shown[system] == best]
            if measure.show(ours) != best:
                lost.append(f"{one.title} ({TITLES.get(winners[0], winners[0])} {best}, Gatework {measure.show(ours)})")
        if lost:
            lines.append(f"- {measure.title}: {'; '.join(lost)}.")
    return lines or ["- nowhere in these results"]


def provenance(results: Results) -> list[str]:
    """Machine, versions, dates and commands behind the tables, each distinct one once."""
    records = [record for record in results.values() if "command" in record]
    machines = {"{cpu}, {cores} cores, {system}, Python {python}".format(**r["machine"]) for r in records}
    loads = [r["machine"]["load"] for r in records if r["machine"]["load"] is not None]
    dates = sorted({r["date"] for r in records})
    lines = [f"Machine: {'; '.join(sorted(machines))}. Date: {dates[0]}" + (f" to {dates[-1]}" if dates[1:] else "")]
    lines[0] += f". Versions: {', '.join(sorted({r['version'] for r in records if 'version' in r}))}."
    if loads:
        lines[0] += f" Load average at the end of a set: {min(loads):.1f} to {max(loads):.1f}."
    return [*lines, "", "```", *sorted({r["command"] for r in records}), "```", ""]


def render(results: Results) -> str:
    """All tables, what rivals win, and where the figures come from."""
    lines = [line for measure in MEASURES for line in table(measure, results)]
    helps = sorted(r["help_seconds"] for r in results.values() if "help_seconds" in r)
    if helps:
        lines += [f"`gatework --help`: {helps[len(helps) // 2]:.2f} s, median of 7 processes.", ""]
    if any(system == OURS for system, _ in results):
        lines += ["### Where a rival is better", "", *losses(MEASURES, results), ""]
    return "\n".join([*lines, "### Where the figures come from", "", *provenance(results)])


def place(readme: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """`readme` with what stands between the markers replaced."""
    before, found, rest = readme.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        sys.exit(f"the README must hold the lines {begin} and {end}, in this order; the tables go between them.")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def _systems(results: Results, measure: Measure) -> list[str]:
    """Systems that have this figure for some set, the known ones first in their order."""
    having = {system for (system, _), record in results.items() if measure.value(record) is not None}
    return [system for system in TITLES if system in having] + sorted(having - TITLES.keys())


def _figure(measure: Measure, results: Results, system: str, one: TextSet) -> float | None:
    record = results.get((system, one.name))
    return None if record is None else measure.value(record)


def _best(measure: Measure, shown: dict[str, str] | Sequence[str]) -> str:
    """The best figure as shown, so that equal-looking figures win together."""
    figures = list(shown.values()) if isinstance(shown, dict) else list(shown)
    return (min if measure.lower_is_better else max)(figures, key=float)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    return command(__doc__, merge, render, BEGIN, END)


def command(
    description: str | None,
    merge: Callable[[Iterable[str]], Results],
    render: Callable[[Results], str],
    begin: str,
    end: str,
) -> int:
    """The command line of a report: results files in, tables out."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="results files, later ones over earlier ones")
    parser.add_argument("--readme", type=Path, help="file to put the tables into; default stdout")
    arguments = parser.parse_args()
    missing = [path for path in (*arguments.results, *filter(None, [arguments.readme])) if not path.is_file()]
    if missing:
        sys.exit(f"{missing[0]}: no such file; name the files that the benchmarks wrote with --out.")
    results = merge(line for path in arguments.results for line in path.read_text(encoding="utf-8").splitlines())
    if not results:
        sys.exit("no results in these files: run the benchmarks first.")
    text = render(results)
    if arguments.readme:
        readme = arguments.readme.read_text(encoding="utf-8")
        arguments.readme.write_text(place(readme, text, begin, end), encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
