"""How a file of tagged sentences is read: what a recipe may say of it, and what it turned out to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from gatework.text.settings import Column


class TagSettings(Protocol):
    """What reading needs of the `[data]` section of a recipe."""

    @property
    def format(self) -> str: ...
    @property
    def header(self) -> Any: ...
    @property
    def text(self) -> Column: ...
    @property
    def label(self) -> Column: ...
    @property
    def also(self) -> Sequence[Column]: ...
    @property
    def scheme(self) -> str: ...
    @property
    def repair(self) -> bool: ...
    @property
    def unknown(self) -> str: ...
    @property
    def segment(self) -> bool: ...
    @property
    def encoding(self) -> str: ...
    @property
    def language(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class TagDefaults:
    """Settings without a recipe: everything inferred."""

    format: str = "auto"
    header: Any = "auto"
    text: Column = "auto"
    label: Column = "auto"
    also: tuple[Column, ...] = ()
    scheme: str = "auto"
    repair: bool = True
    unknown: str = ""
    segment: bool = False
    encoding: str = "utf-8"
    language: str = "auto"


@dataclass(frozen=True, kw_only=True)
class TagFormat:
    """How one file of tagged sentences is read."""

    kind: str
    """conll, conllu or jsonl."""
    delimiter: str
    """Between columns: tab, or " " for runs of blanks."""
    columns: int
    """Of every row; 1 for JSON lines with tokens, 0 for those with running text."""
    names: tuple[str, ...] | None
    """Of the columns, where the file or its format has them."""
    header: bool
    """Whether the first line names the columns."""
    token: Column
    """Column of the token, from 0, or the JSON key of text or tokens."""
    tags: tuple[Column, ...]
    """Column of each of L layers."""
    layers: tuple[str, ...]
    """A name for each layer."""
    schemes: tuple[str, ...]
    """As each layer is written in the file: one of SCHEMES, or "none"."""
    repair: bool
    """Tags that the scheme does not allow are read as `conlleval` reads them."""
    unknown: str
    """The tag that stands for an unknown one; empty where there is none such."""
    segment: bool
    """Words become their characters, tagged with the word's tag."""
    encoding: str
    language: str
    """`en` or `zh`."""
    why: tuple[str, ...] = ()
    """What was inferred, and from what."""

    def describe(self) -> str:
        """One line: what the file is taken for, and why."""
        said = [{"conll": "CoNLL columns", "conllu": "CoNLL-U", "jsonl": "JSON lines"}[self.kind]]
        if self.kind == "conll":
            said[0] += " split by tabs" if self.delimiter == "\t" else " split by blanks"
        said.append(f"token in {self._name(self.token)}")
        for column, scheme in zip(self.tags, self.schemes, strict=True):
            said.append(f"tag in {self._name(column)} ({'no spans' if scheme == 'none' else f'{scheme} spans'})")
        if self.segment:
            said.append("words cut into characters")
        said.append({"en": "words", "zh": "Chinese"}[self.language])
        return ", ".join(said) + (f" ({'; '.join(self.why)})" if self.why else "")

    @property
    def running_text(self) -> bool:
        """Whether tokens are to be cut from running text."""
        return self.kind == "jsonl" and not self.columns

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _name(self, column: Column) -> str:
        if isinstance(column, str):
            return repr(column)
        name = f" ({self.names[column]})" if self.names and column < len(self.names) else ""
        return f"column {column + 1}{name}"
