"""Every problem of files of pairs of texts, with file and line, before any training. See `checks` for the report.

Errors are what training would refuse; warnings are what it would accept, but a person should know: empty sides, lengths
that do not go together, pairs that come twice, sources (of dialogues: whole ones) that a file before holds too, and
sides in another script than the rest of the file, or than the first file's. Of each text a few numbers are kept, some
fifty bytes a pair.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gatework.core.errors import ConfigError, DataError
from gatework.text.checks import CheckReport, FileReport, Severity, spread
from gatework.text.pairs import Pair, language_of, pair_format, read_pairs, target_beside
from gatework.text.readers import text_key
from gatework.text.scripts import NAMES, script_of

UNLIKE = 4.0
"""Times that a target may be longer or shorter than is usual for the length of its source."""
LEAST = 20
"""Characters of both sides together, below which lengths say nothing."""
ONE_SCRIPT = 0.9
"""Part of a side's texts in one script, from which on others are pointed out."""
SIDES = ("source", "target")


def check_pairs(parts: Mapping[str, Path | str], data: Any, *, dialogue: bool, listed: bool) -> CheckReport:
    """Read files to their ends and report every problem; a mistake in the data is never raised.

    Args:
        parts: files by role: train, dev, test. Each is compared with those before it; of the scripts, with the first.
        data: how they are read: the `[data]` section of a recipe.
        dialogue: whether sources may be turns of dialogues.
        listed: whether one source may have several targets.
    """
    check = _Check(data, dialogue, listed)
    for role, path in parts.items():
        check.file(role, str(path))
    return check.report


class _Check:
    """One run of the check."""

    def __init__(self, data: Any, dialogue: bool, listed: bool) -> None:
        self._data, self._dialogue, self._listed = data, dialogue, listed
        self.report = CheckReport()
        self._before: list[tuple[str, set[int]]] = []
        """Of each file so far: sources, or dialogues."""
        self._usual: dict[str, int] = {}
        """The script of each side of the first file, where nearly all of it is in one."""
        self._first = self._language = ""

    def file(self, role: str, path: str) -> None:
        report = FileReport(role=role, path=path)
        self.report.files.append(report)
        try:
            self._read(report)
        except (DataError, ConfigError) as error:
            self.report.unreadable(path, str(error))

    def _read(self, report: FileReport) -> None:
        path, role = report.path, report.role
        beside = getattr(self._data, f"{role}_target", None) or target_beside(path, self._data, like=self._language)
        if beside is not None:
            report.notes.append(f"targets from {beside}")
            self._language = self._language or language_of(beside)
        found = pair_format(path, self._data, beside=beside, dialogue=self._dialogue)
        report.notes.append(f"read as {found.describe()}")
        kept = _Kept(dialogue=self._dialogue)
        empty: Severity = "warning" if role == "train" else "error"

        def told(line: int, what: str) -> None:
            self._add("error", "unreadable", path, line, what)

        def told_empty(line: int, side: str) -> None:
            left = ", left out of training" if role == "train" else ""
            self._add(empty, "empty", path, line, f"the {side} is empty{left}.")

        for pair in read_pairs(path, found, beside=beside, on_fault=told, on_empty=told_empty):
            self._repeated(kept, pair, path)
            kept.add(pair)
        report.examples, report.characters = len(kept.lines), spread(kept.lengths["source"])
        if not report.examples:
            self._add("error", "empty", path, 0, "no pairs. Give a file with some.")
            return
        means = [float(np.mean(kept.lengths[side])) for side in SIDES]
        report.notes.append(f"characters on average: {means[0]:.0f} of a source, {means[1]:.0f} of a target")
        if self._dialogue:
            self._leaked_dialogues(kept, path)
        else:
            self._lengths(kept, path)
        usual = self._scripts(kept, report)
        self._before.append((path, set(kept.dialogues.values()) if self._dialogue else kept.sources))
        if not self._first:
            self._first, self._usual = path, usual
            return
        for side in SIDES:
            own, first = usual.get(side), self._usual.get(side)
            if own is not None and first is not None and own != first:
                message = f"the {side}s are in {NAMES[own]} script, those of {self._first} in {NAMES[first]}."
                self._add("warning", "script", path, 0, f"{message} Are the sides the wrong way round?")

    def _repeated(self, kept: _Kept, pair: Pair, path: str) -> None:
        key = text_key(pair.source)
        if (key, text_key(pair.target)) in kept.pairs:
            self._add("warning", "duplicate", path, pair.line, f"this pair stands here before: {pair.source[:40]!r}.")
        elif key in kept.sources and not self._listed and not self._dialogue:
            self._add("warning", "several", path, pair.line, f"a second target for {pair.source[:40]!r}.")
        if not self._dialogue and (other := self._holding(key)):
            self._add("warning", "leakage", path, pair.line, f"{pair.source[:40]!r} is a source of {other} too.")

    def _leaked_dialogues(self, kept: _Kept, path: str) -> None:
        for line, key in kept.dialogues.items():
            if other := self._holding(key):
                self._add("warning", "leakage", path, line, f"this dialogue stands in {other} too.")

    def _holding(self, key: int) -> str:
        """The first of the files before that has it; empty where none has."""
        return next((path for path, keys in self._before if key in keys), "")

    def _lengths(self, kept: _Kept, path: str) -> None:
        """Targets that are far longer or shorter for their source than is usual."""
        source, target = (np.array(kept.lengths[side], dtype=np.float64) for side in SIDES)
        usual = float(np.median(target / source))
        times = target / source / usual
        odd = ((times > UNLIKE) | (times < 1 / UNLIKE)) & (source + target >= LEAST)
        for place in np.flatnonzero(odd).tolist():
            said = f"{int(source[place])} characters of source, {int(target[place])} of target"
            message = f"{said}; usual is {usual:.2g} times as many. Do they belong together?"
            self._add("warning", "length", path, kept.lines[place], message)

    def _scripts(self, kept: _Kept, report: FileReport) -> dict[str, int]:
        """Sides that are in another script than the rest. Returns the script of each side that has one."""
        usual: dict[str, int] = {}
        for side in SIDES:
            counts = Counter(one for one in kept.scripts[side] if one >= 0)
            if not counts:
                continue
            (most, count), *_ = counts.most_common(1)
            report.notes.append(f"{side}s: {count / counts.total():.1%} in {NAMES[most]} script")
            if count < ONE_SCRIPT * counts.total():
                continue
            usual[side] = most
            for place, one in enumerate(kept.scripts[side]):
                if one not in (most, -1):
                    message = f"the {side} is in {NAMES[one]} script, most others in {NAMES[most]}."
                    self._add("warning", "script", report.path, kept.lines[place], message)
        return usual

    def _add(self, severity: Severity, kind: str, path: str, line: int, message: str) -> None:
        self.report.add(severity, kind, path, line, message)


class _Kept:
    """What is remembered of a file's pairs."""

    def __init__(self, *, dialogue: bool) -> None:
        self._dialogue = dialogue
        self.lines = array("q")
        self.lengths = {side: array("q") for side in SIDES}
        self.scripts = {side: array("b") for side in SIDES}
        self.sources: set[int] = set()
        self.pairs: set[tuple[int, int]] = set()
        self.dialogues: dict[int, int] = {}
        """Of dialogues: by line all of their turns."""

    def add(self, pair: Pair) -> None:
        self.lines.append(pair.line)
        for side in SIDES:
            text = getattr(pair, side)
            self.lengths[side].append(len(text))
            self.scripts[side].append(script_of(text))
        key = text_key(pair.source)
        self.sources.add(key)
        target = text_key(pair.target)
        self.pairs.add((key, target))
        if self._dialogue:
            self.dialogues[pair.line] = hash((self.dialogues.get(pair.line, 0), key, target))
