"""Every problem of files of running text, with file and line, before any training. See `checks` for the report.

Errors are what training would refuse; warnings are what it would accept, but a person should know.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from gatework.core.errors import ConfigError, DataError
from gatework.text.checks import LONG_LINE, CheckReport, FileReport, Severity, spread
from gatework.text.documents import DocumentSettings, document_format, read_documents

FEW = 10_000
"""Characters of training text below which there is little to learn from."""


def check_documents(parts: Mapping[str, Path | str], data: DocumentSettings) -> CheckReport:
    """Read files to their ends and report every problem; a mistake in the data is never raised.

    Args:
        parts: files by role: train, dev, test. The first is what the others are compared with.
        data: how they are read.
    """
    check = _Check(data)
    for role, path in parts.items():
        check.file(role, str(path))
    return check.report


class _Check:
    """One run of the check."""

    def __init__(self, data: DocumentSettings) -> None:
        self._data = data
        self.report = CheckReport()
        self._known: set[str] = set()
        """Characters of the first file."""

    def file(self, role: str, path: str) -> None:
        report = FileReport(role=role, path=path)
        self.report.files.append(report)
        try:
            self._read(report)
        except (DataError, ConfigError) as error:
            self.report.unreadable(path, str(error))

    def _read(self, report: FileReport) -> None:
        path, found = report.path, document_format(report.path, self._data)
        characters: Counter[str] = Counter()
        first: dict[str, int] = {}
        lengths, length = array("q"), 0

        def told(line: int, what: str) -> None:
            self._add("error", "unreadable", path, line, what)

        for piece in read_documents(path, found, on_fault=told):
            characters.update(piece.text)
            if len(characters) > len(first):
                for character in set(piece.text) - set(first):
                    first[character] = piece.line + piece.text[: piece.text.index(character)].count("\n")
            length += len(piece.text)
            if piece.ends:
                self._document(path, piece.line, length)
                lengths.append(length)
                length = 0
        if length:
            lengths.append(length)
        report.examples, report.characters = len(lengths), spread(lengths)
        total = characters.total()
        report.notes += [f"read as {found.describe()}", f"{total:,} characters, {len(characters):,} different"]
        for sign, what in (("\0", "NUL"), ("\ufffd", "encoding")):
            if characters[sign]:
                message = f"{characters[sign]:,} times U+{ord(sign):04X}, here first: a wrong encoding once, it seems."
                self._add("warning", what, path, first[sign], message)
        if not total:
            self._add("error", "empty", path, 0, "no text. Give a file with some.")
        elif not self._known:
            self._known = set(characters)
            if total < FEW:
                self._add("warning", "little text", path, 0, f"{total:,} characters are little to learn from.")
        else:
            self._new(path, characters, first)

    def _document(self, path: str, line: int, length: int) -> None:
        if not length:
            self._add("warning", "empty document", path, line, "an empty document; it is its end alone.")
        elif length > LONG_LINE:
            self._add("warning", "long document", path, line, f"{length:,} characters in one document.")

    def _new(self, path: str, characters: Counter[str], first: Mapping[str, int]) -> None:
        """Characters that the first file has not."""
        for character in sorted(set(characters) - self._known, key=lambda one: first[one]):
            count = characters[character]
            message = f"{character!r} is not in {self.report.files[0].path}; it is unknown {count:,} times."
            self._add("warning", "unknown character", path, first[character], message)

    def _add(self, severity: Severity, kind: str, path: str, line: int, message: str) -> None:
        self.report.add(severity, kind, path, line, message)
