"""Tagged text in columns: one token a line, a blank line after a sentence.

    conll    columns split by tabs, or else by runs of spaces; any number, the same on every line
    conllu   the ten columns of Universal Dependencies; `#` begins a comment, `3-4` is a multiword token, `3.1` an
             empty node

A `-DOCSTART-` line marks a document and is no token. In tabbed conll a line that begins with `#` and has no tab is a
comment, and `# global.columns = A B C` names the columns, as in CoNLL-U Plus. What is left out is counted by kind.

T tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gatework.core.errors import DataError
from gatework.text.lines import OnFault, read_lines

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"
NAMES = "# global.columns ="

_BLANKS = re.compile(r"[ \t]+")
_RANGE = re.compile(r"\d+-\d+\Z")
_EMPTY_NODE = re.compile(r"\d+\.\d+\Z")
_ID = re.compile(r"\d+\Z")


class Block(NamedTuple):
    """The rows of one sentence."""

    lines: Sequence[int]
    """Line of each row."""
    rows: list[list[str]]
    """T rows of cells."""


def read_blocks(
    path: Path | str,
    *,
    universal: bool,
    delimiter: str,
    columns: int,
    token: int,
    header: bool = False,
    encoding: str = "utf-8",
    on_fault: OnFault | None = None,
    left_out: Counter[str] | None = None,
) -> Iterator[Block]:
    """Yields the sentences of a file.

    Args:
        path: of the file, plain or gzip.
        universal: whether it is CoNLL-U.
        delimiter: tab, or " " for runs of spaces and tabs.
        columns: of every row; 0 takes what is there.
        token: column of the token.
        header: whether the first line names the columns.
        encoding: of the file.
        on_fault: told of rows that cannot be read; their sentence is then left out. Without it they raise.
        left_out: counts what is no token: comments, document marks, multiword tokens, empty nodes.
    Raises: DataError naming file and line.
    """

    def fault(number: int, what: str) -> None:
        if on_fault is None:
            raise DataError(f"{path}:{number}: {what}")
        on_fault(number, what)

    kept = _Kept(universal, delimiter, columns, token, fault, Counter() if left_out is None else left_out)
    lines = read_lines(path, encoding, kept.undecoded if on_fault is not None else None)
    if header:
        next(lines, None)
    for number, line in lines:
        if line and not line.isspace():
            kept.row(number, line)
        elif "\t" in line and delimiter == "\t":
            kept.bad(number, f"{line.count(chr(9)) + 1} empty cells. Write token and tag, or leave the line empty.")
        elif (block := kept.take()) is not None:
            yield block
    if (block := kept.take()) is not None:
        yield block


class _Kept:
    """The rows of the sentence being read."""

    def __init__(
        self,
        universal: bool,
        delimiter: str,
        columns: int,
        token: int,
        fault: Callable[[int, str], None],
        left_out: Counter[str],
    ) -> None:
        self._universal, self._delimiter, self._columns, self._token = universal, delimiter, columns, token
        self._fault, self._left_out = fault, left_out
        self._lines: list[int] = []
        self._rows: list[list[str]] = []
        self._spoilt = False

    def row(self, number: int, line: str) -> None:
        tabbed = self._delimiter == "\t"
        cells = line.split("\t") if tabbed else _BLANKS.split(line.strip(" \t"))
        if line[0] == "#" and (self._universal or (tabbed and len(cells) == 1)):
            self._left_out["comments"] += 1
            return
        if cells[0].startswith(DOCUMENT) or (len(cells) > self._token and cells[self._token] == DOCUMENT):
            self._left_out["document marks"] += 1
            return
        if self._columns and len(cells) != self._columns:
            how = "tabs" if tabbed else "spaces"
            self.bad(
                number, f"{_columns(len(cells))} where {self._columns} are expected, split by {how}. Mend the line."
            )
            return
        if self._universal and not self._is_word(number, cells[0]):
            return
        if not cells[self._token].strip():
            self.bad(number, "the token is empty. Write it, or a sign for it such as ▁ where it is a space.")
            return
        self._lines.append(number)
        self._rows.append(cells)

    def bad(self, number: int, what: str) -> None:
        self._spoilt = True
        self._fault(number, what)

    def undecoded(self, number: int, what: str) -> None:
        self.bad(number, what)

    def take(self) -> Block | None:
        """The sentence that ends here, if there is one and all of it could be read."""
        lines, rows, spoilt = self._lines, self._rows, self._spoilt
        self._lines, self._rows, self._spoilt = [], [], False
        if not rows or spoilt:
            return None
        whole = lines[-1] - lines[0] == len(lines) - 1
        return Block(range(lines[0], lines[-1] + 1) if whole else lines, rows)

    def _is_word(self, number: int, identity: str) -> bool:
        """Whether a CoNLL-U row is a word of the sentence."""
        if _ID.match(identity):
            if int(identity) != len(self._rows) + 1 and not self._spoilt:
                self.bad(number, f"ID {identity} where {len(self._rows) + 1} is expected. Number the words from 1.")
                return False
            return True
        if _RANGE.match(identity):
            self._left_out["multiword tokens (their words are read)"] += 1
        elif _EMPTY_NODE.match(identity):
            self._left_out["empty nodes"] += 1
        else:
            self.bad(
                number, f"{identity!r} is no ID. Write 1, 2, 3 ..., 3-4 for a multiword token, 3.1 for an empty node."
            )
        return False


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
