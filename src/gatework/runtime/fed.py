"""What streams of text have in common: they are fed, in bounded parts, until they are closed."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from gatework.core.errors import DataError

AT_ONCE = 1 << 14
"""Characters taken in at once, of a longer text one part after the other."""


class Fed:
    """Base of the streams; `_text` is what of the text is still needed."""

    def __init__(self) -> None:
        self._text, self._open = "", True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._open, self._text = False, ""

    def _check(self) -> None:
        if not self._open:
            raise DataError("stream: it has ended. Begin another one with model.stream().")

    def _parts(self, text: str) -> Iterator[str]:
        """Of a text that is fed. Raises: DataError: not a string, or the stream has ended."""
        if not isinstance(text, str):
            raise DataError(f"stream: feed takes a string, got {type(text).__name__}.")
        self._check()
        for start in range(0, len(text), AT_ONCE):
            yield text[start : start + AT_ONCE]
