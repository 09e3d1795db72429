"""What words are in another language: a file of lines of a word, a tab, and what stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatework.core.errors import ConfigError, DataError
from gatework.text.lines import read_lines

Dictionary = Mapping[str, str]


def dictionary_of(given: Any) -> Dictionary:
    """A mapping of words as it is, or the file of that name, plain or gzip; of a word that comes twice the first line.

    Raises: DataError naming file and line. ConfigError: it is neither.
    """
    if isinstance(given, str | Path):
        return _read(given)
    if not isinstance(given, Mapping) or not all(isinstance(one, str) for pair in given.items() for one in pair):
        raise ConfigError(f"dictionary must be a file, or words by word, got {given!r:.60}.")
    return dict(given)


def looked_up(dictionary: Dictionary, word: str) -> str | None:
    """What stands for a word; where it is not there, for the word in small letters."""
    found = dictionary.get(word)
    return dictionary.get(word.lower()) if found is None else found


def _read(path: str | Path) -> Dictionary:
    found: dict[str, str] = {}
    for number, line in read_lines(path, "utf-8"):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) != 2 or not all(parts):
            raise DataError(f"{path}:{number}: expected a word, a tab, and what stands for it.")
        found.setdefault(parts[0], parts[1])
    if not found:
        raise DataError(f"{path}: an empty dictionary. Give lines of a word, a tab, and what stands for it.")
    return found
