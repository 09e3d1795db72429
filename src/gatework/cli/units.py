"""Durations and sizes as people write them: `5m`, `1h30m`, `90`, `1MB`, `500 kB`, `2MiB`."""

from __future__ import annotations

import re

from gatework.core.errors import ConfigError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_BYTES |= {"k": 1000, "m": 1000**2, "g": 1000**3, "": 1}


def seconds(text: str, *, option: str) -> float:
    """A duration in seconds. Raises ConfigError naming `option`."""
    plain = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", plain)
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        total = float(plain)
    elif parts and re.fullmatch(r"(\s*\d+(\.\d+)?\s*[smhd]\s*)+", plain):
        total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    else:
        raise ConfigError(f"{option} {text!r} is not a duration. Write 90s, 5m or 1h30m.")
    if total <= 0:
        raise ConfigError(f"{option} {text!r} is no time at all. Write 90s, 5m or 1h30m.")
    return total


def nbytes(text: str, *, option: str) -> int:
    """A size in bytes; kB, MB and GB are decimal, KiB, MiB and GiB binary. Raises ConfigError naming `option`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?b?)\s*", text.lower())
    if match is None or match[2] not in _BYTES or float(match[1]) <= 0:
        raise ConfigError(f"{option} {text!r} is not a size. Write 500kB, 1MB or 1.5MiB.")
    return int(float(match[1]) * _BYTES[match[2]])
