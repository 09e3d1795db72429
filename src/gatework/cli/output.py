"""How commands speak: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any


def say(sentence: str) -> None:
    """A note or a step of progress, on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def answer(line: str) -> None:
    """A line of the result, on stdout."""
    sys.stdout.write(line + "\n")


def answer_json(value: Any) -> None:
    """One JSON object on stdout, on one line."""
    answer(json.dumps(value, ensure_ascii=False, default=_plain))


def size(nbytes: int) -> str:
    """A size as people say it: 412 B, 3.1 kB, 0.48 MB (decimal units, as `--max-size` takes)."""
    if nbytes < 1000:
        return f"{nbytes} B"
    return f"{nbytes / 1e3:.1f} kB" if nbytes < 100_000 else f"{nbytes / 1e6:.2f} MB"


def silent(sentence: str) -> None:
    """Say nothing."""


Say = Callable[[str], None]


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays, and paths, as JSON values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return str(value)
