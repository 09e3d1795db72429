"""Days as people write them in English and Chinese, and as ISO 8601 does: pairs made by rule, for the demo."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from random import Random

from gatework.core.errors import ConfigError

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DIGITS = "〇一二三四五六七八九"
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)


def _ordinal(number: int) -> str:
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _chinese(number: int) -> str:
    """Of 1 to 31, as one says it."""
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else "十" if tens == 1 else f"{DIGITS[tens]}十") + (DIGITS[ones] if ones else "")


def _year(day: date) -> str:
    return "".join(DIGITS[int(digit)] for digit in str(day.year))


def _month(day: date) -> str:
    return MONTHS[day.month - 1]


WAYS: tuple[Callable[[date], str], ...] = (
    lambda day: f"{day.day} {_month(day)} {day.year}",
    lambda day: f"{_month(day)} {day.day}, {day.year}",
    lambda day: f"the {_ordinal(day.day)} of {_month(day)}, {day.year}",
    lambda day: f"{WEEKDAYS[day.weekday()]}, {_month(day)} {_ordinal(day.day)} {day.year}",
    lambda day: f"{_month(day)[:3]} {day.day} {day.year}",
    lambda day: f"{day.day:02}.{day.month:02}.{day.year}",
    lambda day: f"{day.year}年{day.month}月{day.day}日",
    lambda day: f"{day.year}年{day.month}月{day.day}号",
    lambda day: f"{_year(day)}年{_chinese(day.month)}月{_chinese(day.day)}日",
)
"""Of writing a day; days of 1900 to 2099 alone."""


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Different pairs of a day in words and as YYYY-MM-DD, in no order."""
    random, found = Random(seed), dict[str, str]()
    while len(found) < count:
        day = FIRST + timedelta(days=random.randrange((LAST - FIRST).days + 1))
        found[random.choice(WAYS)(day)] = day.isoformat()
    return list(found.items())


def write(folder: Path, sizes: dict[str, int], seed: int) -> dict[str, Path]:
    """Tables of so many pairs by name, with no pair in two of them. Returns their paths.

    Raises ConfigError: something else stands there, which is left as it is.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder, and the demo's data go there. Give another --output.")
    folder.mkdir(parents=True, exist_ok=True)
    rest, paths = pairs(sum(sizes.values()), seed), {name: folder / f"{name}.tsv" for name in sizes}
    for name, size in sizes.items():
        lines, rest = rest[:size], rest[size:]
        text = "".join(f"{said}\t{day}\n" for said, day in lines)
        if paths[name].exists() and paths[name].read_bytes() != text.encode():
            raise ConfigError(
                f"{paths[name]}: is there already, and not the demo's. Move it, or give another --output."
            )
        paths[name].write_bytes(text.encode())
    return paths
