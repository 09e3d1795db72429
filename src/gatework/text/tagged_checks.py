"""Every problem of files of tagged sentences, with file and line, before any training. See `checks` for the report.

Errors are what training would refuse; warnings are what it would accept, but a person should know: with `data.repair`
a tag that its scheme does not allow is one. Files are read once for their scheme and once more; of each sentence two
64-bit numbers are kept, and of training the set of its words.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from gatework.core.counted import counted
from gatework.core.errors import DataError
from gatework.core.tag_scheme import SCHEMES, Converter, belongs, fault, spans
from gatework.text.checks import CheckReport, FileReport, Severity, spread
from gatework.text.lines import OnFault
from gatework.text.readers import text_key
from gatework.text.sentence import Sentence
from gatework.text.tagged import read_raw
from gatework.text.tagged_format import TagDefaults, TagFormat, TagSettings
from gatework.text.tagged_json import WIDENED
from gatework.text.tagged_layout import NoSentence, SchemeError, infer_tagged
from gatework.text.units import pieces

LONG_SENTENCE = 1_000
"""Tokens of a sentence from which on it is pointed out."""
LONG_TOKEN = 200
"""Characters of a token likewise."""


def check_tagged(parts: Mapping[str, Path | str], data: TagSettings | None = None) -> CheckReport:
    """Read files of tags to their ends and report every problem; a mistake in the data is never raised.

    Args:
        parts: files by role: train, dev, test. The first is what the others are compared with.
        data: how they are read; what it leaves open is inferred.
    """
    settings = (
        TagDefaults()
        if data is None
        else TagDefaults(**{one.name: getattr(data, one.name) for one in fields(TagDefaults)})
    )
    check = _Check(settings)
    for number, (role, path) in enumerate(parts.items()):
        check.file(number, role, str(path))
    check.repeats([str(path) for path in parts.values()])
    return check.report


@dataclass
class _Seen:
    """What training holds, for the others to be compared with."""

    words: set[str]
    spans: set[int]
    tags: tuple[set[str], ...]


class _Check:
    """One run of the check."""

    def __init__(self, data: TagDefaults) -> None:
        self._data = data
        self.report = CheckReport()
        self._like: TagFormat | None = None
        self._train: _Seen | None = None
        self._keys, self._tag_keys, self._lines, self._files = array("Q"), array("Q"), array("q"), array("q")

    def file(self, number: int, role: str, path: str) -> None:
        report = FileReport(role=role, path=path)
        self.report.files.append(report)
        try:
            found = self._format(path)
            report.format = found
            self._like = self._like or found
            self._read(number, report, found)
        except DataError as error:
            self.report.unreadable(path, str(error))

    def _format(self, path: str) -> TagFormat:
        try:
            return infer_tagged(path, self._data, like=self._like)
        except NoSentence as error:
            self.report.unreadable(path, str(error))
            for _ in read_raw(path, error.found, self._told(path)):
                pass
            raise
        except SchemeError as error:
            self.report.unreadable(path, str(error))
            # What is odd is listed by the scheme that most files have.
            return infer_tagged(path, replace(self._data, scheme="bio"), like=self._like)

    def _read(self, number: int, report: FileReport, found: TagFormat) -> None:
        path = report.path
        left_out: Counter[str] = Counter()
        layers = [_Layer(scheme, found.repair) for scheme in found.schemes]
        words: Counter[str] = Counter()
        lengths, mentions, unknown = array("q"), Counter[int](), 0
        tags: tuple[Counter[str | None], ...] = tuple(Counter() for _ in layers)
        first: tuple[dict[str, int], ...] = tuple({} for _ in layers)
        cut = partial(pieces, "glyph" if found.language == "zh" else "treebank")  # as training does by default
        widened = 0
        for sentence, lines in read_raw(path, found, self._told(path), left_out, cut):
            report.examples += 1
            if left_out[WIDENED] > widened:
                widened = left_out[WIDENED]
                what = "a span begins or ends inside a token. Mend it, or it is widened to whole tokens."
                self._add("warning", "widened span", path, sentence.line, what)
            lengths.append(len(sentence.tokens))
            words.update(sentence.tokens)
            self._sentence(path, sentence, lines)
            for layer, row, counts, places in zip(layers, sentence.tags, tags, first, strict=True):
                counts.update(row)
                for tag, line in zip(row, lines if len(lines) == len(row) else [lines[0]] * len(row), strict=True):
                    places.setdefault(tag or "", line)
                for line, severity, what in layer.faults(row, lines):
                    self._add(severity, "tag", path, line, what)
            unknown += sum(tag is None for tag in sentence.tags[0]) if sentence.tags else 0
            if layers and layers[0].convert is not None:
                for start, end, kind in layers[0].spans(sentence.tags[0]):
                    report.spans[kind] = report.spans.get(kind, 0) + 1
                    mentions[text_key(" ".join(sentence.tokens[start:end]))] += 1
            self._keys.append(text_key(" ".join(sentence.tokens)))
            self._tag_keys.append(text_key(" ".join(str(tag) for row in sentence.tags for tag in row)))
            self._lines.append(sentence.line)
            self._files.append(number)
        report.labels = {str(tag): count for tag, count in tags[0].most_common() if tag is not None} if tags else {}
        report.spans = dict(sorted(report.spans.items(), key=lambda one: -one[1]))
        report.tokens = spread(lengths)
        report.notes = [f"{count:,} {what}" for what, count in left_out.items()]
        if unknown:
            report.notes.append(f"{unknown:,} tokens without a known tag")
        if not report.examples:
            self._add("error", "empty", path, 0, "no sentence that can be read. Give a file with at least one.")
        self._compare(report, words, mentions, tags, first)

    def _told(self, path: str) -> OnFault:
        """What to call with each row of a file that cannot be read."""

        def told(line: int, what: str) -> None:
            found = self.report.problems
            if not found or (found[-1].path, found[-1].line, found[-1].message) != (path, line, what):
                self._add("error", "unreadable", path, line, what)

        return told

    def _sentence(self, path: str, sentence: Sentence, lines: Sequence[int]) -> None:
        if len(sentence.tokens) > LONG_SENTENCE:
            what = f"{len(sentence.tokens):,} tokens in one sentence; is a blank line missing?"
            self._add("warning", "long sentence", path, sentence.line, what)
        for place, token in enumerate(sentence.tokens):
            if token.isalnum() and len(token) <= LONG_TOKEN:
                continue
            line = lines[min(place, len(lines) - 1)]
            if "\0" in token:
                self._add("warning", "NUL", path, line, "a NUL character in the token. Take it out unless it is meant.")
            if "\ufffd" in token:
                what = "U+FFFD in the token: it was read in a wrong encoding once. Convert the original again."
                self._add("warning", "encoding", path, line, what)
            if len(token) > LONG_TOKEN:
                what = f"a token of {len(token):,} characters; is a blank or a line break missing?"
                self._add("warning", "long token", path, line, what)

    def _compare(
        self,
        report: FileReport,
        words: Counter[str],
        mentions: Counter[int],
        tags: tuple[Counter[str | None], ...],
        first: tuple[dict[str, int], ...],
    ) -> None:
        """What a dev or test file has that training has not; the training file itself is kept for that."""
        if self._train is None:
            self._train = _Seen(set(words), set(mentions), tuple({str(tag) for tag in one if tag} for one in tags))
            for tag, count in tags[0].items() if tags else ():
                if count == 1 and tag:
                    what = (
                        f"tag {tag!r} stands at one token only; it cannot be both learnt and measured. "
                        "Mend it, or add examples."
                    )
                    self._add("warning", "rare tag", report.path, first[0][tag], what)
            return
        tokens = max(1, words.total())
        new = sum(count for word, count in words.items() if word not in self._train.words)
        report.notes.append(f"{new:,} of {tokens:,} tokens ({new / tokens:.1%}) are words that training does not have")
        if mentions:
            new = sum(count for key, count in mentions.items() if key not in self._train.spans)
            report.notes.append(
                f"{new:,} of {mentions.total():,} spans ({new / mentions.total():.1%}) are none of training's"
            )
        for known, seen, places in zip(self._train.tags, tags, first, strict=False):
            for tag, count in seen.items():
                if tag and tag not in known:
                    what = (
                        f"tag {tag!r} does not occur in training: {counted(count, 'token')} of it can only be missed. "
                        "Mend it, or add examples to training."
                    )
                    self._add("warning", "unknown tag", report.path, places[tag], what)

    def repeats(self, paths: list[str]) -> None:
        """Sentences that stand more than once: in two files, or with other tags."""
        keys, tag_keys = (np.array(one, dtype=np.uint64) for one in (self._keys, self._tag_keys))
        order = np.argsort(keys, kind="stable")
        earliest: int | None = None
        found: list[tuple[int, int]] = []
        for before, index in pairwise([-1, *order.tolist()]):
            if before >= 0 and keys[before] == keys[index]:
                earliest = before if earliest is None else earliest
                found.append((index, earliest))
            else:
                earliest = None
        for index, other in sorted(found):
            path, line = paths[self._files[index]], self._lines[index]
            where = f"{paths[self._files[other]]}:{self._lines[other]}"
            if self._files[index] != self._files[other]:
                what = f"the same sentence stands at {where}. Take one of them out."
                self._add("warning", "leakage", path, line, what)
            if tag_keys[index] != tag_keys[other]:
                what = f"the same sentence has other tags at {where}. Make them agree, or keep one."
                self._add("warning", "conflict", path, line, what)

    def _add(self, severity: Severity, kind: str, path: str, line: int, message: str) -> None:
        self.report.add(severity, kind, path, line, message)


class _Layer:
    """Checks the tags of one layer."""

    def __init__(self, scheme: str, repair: bool) -> None:
        self._scheme = scheme
        self._odd: Severity = "warning" if repair else "error"
        self._advice = "or it is read as conlleval does" if repair else "or set data.repair = true"
        self.convert = Converter(scheme) if scheme in SCHEMES else None
        self._sound: set[tuple[str | None, str | None]] = set()

    def faults(self, tags: Sequence[str | None], lines: Sequence[int]) -> list[tuple[int, Severity, str]]:
        """Line, severity and message of each tag that is not of the scheme or not allowed where it stands."""
        if self.convert is None or set(pairs := list(zip(("", *tags), (*tags, ""), strict=True))) <= self._sound:
            return []
        found: list[tuple[int, Severity, str]] = []
        for place, pair in enumerate(pairs):
            line = lines[min(place, len(lines) - 1, len(tags) - 1)]
            foreign = [tag for tag in pair if tag and not belongs(tag, self._scheme)]
            if pair[1] in foreign:
                what = f"tag {pair[1]!r} is none of the scheme {self._scheme}. Mend it, or set data.scheme."
                found.append((line, "error", what))
            elif not foreign and (why := fault(*pair, self._scheme)) is not None:
                found.append((line, self._odd, f"{why}. Mend it, {self._advice}."))
            elif not foreign:
                self._sound.add(pair)
        return found

    def spans(self, tags: Sequence[str | None]) -> list[tuple[int, int, str]]:
        if self.convert is None or not all(tag is None or belongs(tag, self._scheme) for tag in tags):
            return []
        return [(start, end, kind) for start, end, kind in spans(self.convert(tags))]
