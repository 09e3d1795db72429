"""Every problem of the data files of one model, with file and line, before any training.

Errors are what training would refuse; warnings are what it would accept, but a person should know. Files are read
once, one record at a time; of each text only a 64-bit number is kept, so the check's memory grows by some thirty bytes
an example.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gatework.core.counted import counted
from gatework.core.errors import DataError
from gatework.text.formats import Format, infer
from gatework.text.lines import read_lines
from gatework.text.readers import Example, read_examples, text_key
from gatework.text.settings import DataSettings
from gatework.text.units import PATTERNS, blank_break_tags, resolve_unit

if TYPE_CHECKING:
    from gatework.text.tagged_format import TagFormat

LONG_LINE = 1_000_000
"""Characters of a text from which on it is pointed out."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
SHOWN = 10
"""Problems of one kind that `CheckReport.lines` shows; the rest is counted."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong, and where."""

    severity: Severity
    kind: str
    """What sort of problem, for grouping: "encoding", "columns", "duplicate" and so on."""
    path: str
    line: int
    """0 where it concerns the whole file."""
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.severity}: {self.message}"


@dataclass(kw_only=True)
class FileReport:
    """What one file holds."""

    role: str
    """train, dev, test, or the place in the list given."""
    path: str
    format: Format | TagFormat | None = None
    """How it was read; None where that could not be found out."""
    examples: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    """Examples of each label, most frequent first."""
    characters: dict[str, float] = field(default_factory=dict)
    """Quantiles of the texts' lengths in characters."""
    tokens: dict[str, float] = field(default_factory=dict)
    """Quantiles of the texts' lengths in tokens of the default unit; of the sentences' where they are tagged."""
    spans: dict[str, int] = field(default_factory=dict)
    """Spans of each type, where tags mark some, most frequent first."""
    notes: list[str] = field(default_factory=list)
    """What else there is to know, a sentence each."""


@dataclass(kw_only=True)
class CheckReport:
    """Files and problems."""

    files: list[FileReport] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, severity: Severity, kind: str, path: str, line: int, message: str) -> None:
        """One more problem; `line` 0 for the whole file."""
        self.problems.append(Problem(severity=severity, kind=kind, path=path, line=line, message=message))

    def unreadable(self, path: str, message: str) -> None:
        """An error that ended the reading of a file, its place taken off the message; not told twice."""
        place = re.match(re.escape(path) + r"(?::(\d+))?: ", message)
        line, text = (int(place[1] or 0), message[place.end() :]) if place else (0, message)
        if not any((one.path, one.line, one.message) == (path, line, text) for one in self.problems):
            self.add("error", "unreadable", path, line, text)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def ok(self) -> bool:
        """Training would accept the data."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "ok": self.ok,
            "files": [
                {
                    **{name: getattr(one, name) for name in ("role", "path", "examples", "labels")},
                    "characters": one.characters,
                    "tokens": one.tokens,
                    "spans": one.spans,
                    "notes": one.notes,
                    "format": one.format.to_dict() if one.format else None,
                    "inferred": one.format.describe() if one.format else "",
                }
                for one in self.files
            ],
            "problems": [asdict(problem) for problem in self.problems],
        }

    def lines(self, *, every: bool = False) -> Iterator[str]:
        """The report as lines for a terminal: files first, then problems, at most SHOWN of a kind in each file unless
        `every` is true."""
        for one in self.files:
            yield f"{one.role}: {one.path}"
            if one.format is not None:
                yield f"  read as {one.format.describe()}"
            if one.examples:
                yield f"  {one.examples:,} examples" + (f"; labels: {_counts(one.labels)}" if one.labels else "")
                said = {"tokens a text": one.tokens, "characters": one.characters}
                yield "  " + "; ".join(f"{name}: {_quantiles(values)}" for name, values in said.items() if values)
            if one.spans:
                yield f"  {sum(one.spans.values()):,} spans: {_counts(one.spans)}"
            yield from (f"  {note}" for note in one.notes)
        shown: Counter[tuple[str, str]] = Counter()
        for problem in self.problems:
            shown[problem.path, problem.kind] += 1
            if every or shown[problem.path, problem.kind] <= SHOWN:
                yield str(problem)
        for (path, kind), count in shown.items():
            if count > SHOWN and not every:
                yield f"{path}: and {count - SHOWN:,} more of kind {kind!r} (`--all` lists them)"
        yield f"{counted(len(self.errors), 'error')}, {counted(len(self.warnings), 'warning')}"


def check(
    paths: Mapping[str, Path | str] | Sequence[Path | str] | Path | str, data: DataSettings | None = None
) -> CheckReport:
    """Read data files to their ends and report every problem; a mistake in the data is never raised.

    Args:
        paths: files by role, `{"train": ..., "dev": ..., "test": ...}`, or in a list in that order, or one file. The
            first is what the others are compared with.
        data: how they are read; what it leaves open is inferred.
    """
    return _Check(data).run(_roles(paths))


def _roles(paths: Mapping[str, Path | str] | Sequence[Path | str] | Path | str) -> dict[str, str]:
    if isinstance(paths, Mapping):
        return {role: str(path) for role, path in paths.items()}
    if isinstance(paths, str | Path):
        paths = [paths]
    names = ("train", "dev" if len(paths) > 2 else "test", "test")
    return {names[n] if n < len(names) else f"file {n + 1}": str(path) for n, path in enumerate(paths)}


@dataclass
class _Texts:
    """Of every example read: its text's number, its line, its label set's number, its file's number."""

    keys: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    files: array[int] = field(default_factory=lambda: array("q"))


class _Check:
    """One run of the check."""

    def __init__(self, data: DataSettings | None) -> None:
        self._data = data
        self._report = CheckReport()
        self._texts = _Texts()
        self._label_sets: dict[tuple[str, ...], int] = {}
        self._like: Format | None = None
        self._has_dev = False
        """Without a dev file a part of every label is held back, so that each needs two examples."""

    def run(self, roles: Mapping[str, str]) -> CheckReport:
        self._has_dev = "dev" in roles
        for number, (role, path) in enumerate(roles.items()):
            report = FileReport(role=role, path=path)
            self._report.files.append(report)
            try:
                self._file(number, report)
            except DataError as error:
                self._report.unreadable(path, str(error))
        self._repeats(list(roles.values()))
        return self._report

    def _add(self, severity: Severity, kind: str, path: str, line: int, message: str) -> None:
        self._report.add(severity, kind, path, line, message)

    # ── one file ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _file(self, number: int, report: FileReport) -> None:
        path = report.path
        report.format = found = infer(path, self._data, like=self._like)
        self._like = self._like or found
        count = _token_counter(found.language)
        counts: Counter[str] = Counter()
        characters, tokens = array("q"), array("q")

        def fault(line: int, message: str) -> None:
            self._add("error", "unreadable", path, line, message)

        for example in read_examples(path, format=found, on_fault=fault):
            report.examples += 1
            counts.update(example.labels)
            characters.append(len(example.text))
            tokens.append(count(example.text))
            self._example(path, example, tokens[-1])
            self._texts.keys.append(text_key(example.text))
            self._texts.lines.append(example.line)
            self._texts.labels.append(self._label_sets.setdefault(tuple(sorted(example.labels)), len(self._label_sets)))
            self._texts.files.append(number)
        report.labels = dict(counts.most_common())
        report.characters, report.tokens = spread(characters), spread(tokens)
        self._blank_lines(path, found)
        if report.examples == 0:
            self._add("error", "empty", path, 0, "no example. Give a file with at least one.")
        elif number == 0:
            self._training_labels(report)
        else:
            self._unknown_labels(report)

    def _example(self, path: str, example: Example, tokens: int) -> None:
        text = example.text
        if not text.strip():
            self._add("warning", "empty text", path, example.line, "the text is empty; it is answered by the prior.")
        elif tokens == 0:
            self._add("warning", "empty text", path, example.line, "no token in the text, only control characters.")
        if "\0" in text:
            self._add("warning", "NUL", path, example.line, f"{text.count(chr(0))} NUL characters in the text.")
        if "\ufffd" in text:
            self._add(
                "warning", "encoding", path, example.line, "U+FFFD in the text: it was read in a wrong encoding once."
            )
        if len(text) > LONG_LINE:
            self._add("warning", "long text", path, example.line, f"{len(text):,} characters in one text.")
        for label in example.labels:
            if len(label) > 100:
                self._add("warning", "label", path, example.line, f"a label of {len(label)} characters.")

    def _blank_lines(self, path: str, found: Format) -> None:
        """Point out lines without anything; in CSV they may belong to a quoted cell."""
        if found.kind == "csv":
            return
        for line, text in read_lines(path, found.encoding, lambda line, message: None):
            if not text.strip():
                self._add("warning", "blank line", path, line, "a blank line; it is passed over.")

    def _training_labels(self, report: FileReport) -> None:
        if len(report.labels) == 1 and not (isinstance(report.format, Format) and report.format.multi_label):
            [only] = report.labels
            message = f"every example has the label {only!r}; at least two labels are needed."
            self._add("error", "labels", report.path, 0, message)
        for label, count in report.labels.items():
            if count == 1 and report.examples > 1:
                line = self._line_of(label)
                message = f"label {label!r} occurs once; it cannot be both learnt and measured."
                severity: Severity = "warning" if self._has_dev else "error"
                self._add(severity, "rare label", report.path, line, message)
        spelt: dict[str, str] = {}
        for label in report.labels:
            other = spelt.setdefault(label.strip().casefold(), label)
            if other != label:
                message = f"labels {other!r} and {label!r} differ in case only. Spell them alike."
                self._add("warning", "label", report.path, self._line_of(label), message)

    def _unknown_labels(self, report: FileReport) -> None:
        known = self._report.files[0].labels
        if not known:
            return
        for label in report.labels:
            if label not in known:
                message = f"label {label!r} does not occur in {self._report.files[0].path}."
                self._add("error", "unknown label", report.path, self._line_of(label), message)

    def _line_of(self, label: str) -> int:
        """The first line with a label in the file read last."""
        sets = {number for labels, number in self._label_sets.items() if label in labels}
        latest = self._texts.files[-1]
        for index, (file, number) in enumerate(zip(self._texts.files, self._texts.labels, strict=True)):
            if file == latest and number in sets:
                return int(self._texts.lines[index])
        return 0

    # ── all files ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _repeats(self, paths: list[str]) -> None:
        """Texts that occur more than once: within a file, with other labels, in two files."""
        keys = np.array(self._texts.keys, dtype=np.uint64)
        if not len(keys):
            return
        lines, labels, files = (
            np.array(values, dtype=np.int64) for values in (self._texts.lines, self._texts.labels, self._texts.files)
        )
        order = np.argsort(keys, kind="stable")
        same = np.r_[False, keys[order][1:] == keys[order][:-1]]
        empty = np.uint64(text_key(""))
        first = 0
        found: list[tuple[int, int]] = []
        for place in np.flatnonzero(same | np.r_[same[1:], False]).tolist():
            index = int(order[place])
            if not same[place]:
                first = index
            elif keys[index] != empty:
                found.append((index, first))
        for index, earlier in sorted(found):
            self._repeat(paths, index, earlier, lines, labels, files)

    def _repeat(self, paths: list[str], index: int, earlier: int, lines: Any, labels: Any, files: Any) -> None:
        path, line = paths[files[index]], int(lines[index])
        other = f"line {lines[earlier]}"
        if files[index] != files[earlier]:
            other = f"{paths[files[earlier]]}:{lines[earlier]}"
            self._add("warning", "leakage", path, line, f"the same text stands at {other}.")
        elif labels[index] == labels[earlier]:
            self._add("warning", "duplicate", path, line, f"the same text as {other}.")
        if labels[index] != labels[earlier]:
            sets = list(self._label_sets)
            mine, theirs = (", ".join(sets[labels[one]]) or "none" for one in (index, earlier))
            self._add(
                "warning", "conflict", path, line, f"label {mine!r} here, {theirs!r} for the same text at {other}."
            )


def _token_counter(language: str) -> Callable[[str], int]:
    pattern = re.compile(PATTERNS[resolve_unit("auto", language)])
    return lambda text: len(pattern.findall(blank_break_tags(text)))


def spread(values: array[int]) -> dict[str, float]:
    """Quantiles of some lengths, by name."""
    if not values:
        return {}
    numbers = np.quantile(np.array(values, dtype=np.int64), QUANTILES)
    names = ("min", "25%", "median", "75%", "95%", "max")
    return {name: round(float(number), 1) for name, number in zip(names, numbers, strict=True)}


def _counts(labels: Mapping[str, int], most: int = 20) -> str:
    shown = ", ".join(f"{label} {count:,}" for label, count in list(labels.items())[:most])
    return shown + (f" and {len(labels) - most} more" if len(labels) > most else "")


def _quantiles(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number:,.0f}" for name, number in values.items())
