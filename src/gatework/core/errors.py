"""Everything Gatework raises on purpose.

    GateworkError
     ├── UserError               the user can mend it; the command line exits with status 2
     │    ├── ConfigError        an option, a recipe key or an argument
     │    ├── DataError          a data file, a text, a label; the message names file and line
     │    ├── BundleError        a model file that is not what it should be
     │    ├── OutputError        a place that cannot be written: missing folder, no permission, disk full
     │    └── MissingExtraError  a part of Gatework that is not installed
     └── Interrupted             stopped by the user; a checkpoint is kept; exit status 130

A message says what was wrong, what was found, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GateworkError(Exception):
    """Base of all errors raised on purpose."""


class UserError(GateworkError):
    """A mistake the user can mend."""


class ConfigError(UserError):
    """An option, a recipe key or an argument is wrong."""


class DataError(UserError):
    """A data file or a text is wrong."""


class BundleError(UserError):
    """A model file is damaged, hostile or of another version."""


class OutputError(UserError):
    """A file cannot be written."""


class MissingExtraError(UserError):
    """A part of Gatework is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}. Install it: pip install 'gatework[{extra}]'.")


class Interrupted(GateworkError):
    """Stopped by the user. The message says how to go on."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence naming the known names and the nearest of them to `name`, for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Known: {', '.join(names)}.{hint}"
