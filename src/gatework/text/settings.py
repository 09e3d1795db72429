"""What reading a data file may be told; `auto` is inferred. A recipe's `[data]` section fits, as does `Settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Column = str | int
"""A column by name (or JSON key), or by position from 0; -1 is the last."""


class DataSettings(Protocol):
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
    def label_separator(self) -> str: ...
    @property
    def encoding(self) -> str: ...
    @property
    def language(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings without a recipe: everything inferred."""

    format: str = "auto"
    header: Any = "auto"
    text: Column = "auto"
    label: Column = "auto"
    label_separator: str = ""
    encoding: str = "utf-8"
    language: str = "auto"
