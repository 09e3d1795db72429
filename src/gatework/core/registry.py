"""Named things with helpful errors: cells, tasks, tokenisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from gatework.core.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping whose missing key is a ConfigError that names the nearest known one."""

    def __init__(self, option: str, entries: Mapping[str, T]) -> None:
        self._option = option
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise ConfigError(f"{self._option} {name!r} is unknown. {nearest(name, self._entries)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
