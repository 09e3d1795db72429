"""JSON from files that may be hostile: only what the standard allows, with one kind of error.

Refused beyond what `json` refuses: bytes that are not UTF-8, NaN and Infinity, a key given twice, halves of a
surrogate pair (they cannot be printed), nesting that runs out of stack, integers of thousands of digits.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from gatework.core.errors import BundleError


def parse(data: bytes | bytearray | memoryview, *, source: str) -> Any:
    """The value in `data`. Raises BundleError naming `source`."""
    try:
        text = str(data, "utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise BundleError(f"{source}: JSON is nested too deeply. Use a file you trust, or export it again.") from None
    except ValueError as error:  # JSONDecodeError and UnicodeError are ValueErrors
        reason = str(error).split("\n")[0][:200]
        raise BundleError(f"{source}: not valid JSON ({reason}). The file is damaged: export it again.") from None
    return value


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON with keys in the order given; the same value gives the same bytes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is given twice")
    return value
