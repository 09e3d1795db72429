"""Memory that is free goes back to the system.

The C library keeps what was freed for the thread that asked for it, in pieces between others; with several threads,
requests of all sizes and models that come and go, that becomes more and more. Asked, it gives whole pages back.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

EVERY = 60.0
"""Seconds between two times."""


def give_back() -> None:
    """Give free memory back, where the C library knows how: GNU's."""
    _trim()


async def give_back_now_and_then() -> None:
    """The same all the time, beside the event loop."""
    while True:
        await asyncio.sleep(EVERY)
        await asyncio.to_thread(give_back)


def _found() -> Callable[[], object]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return lambda: None
    return lambda: trim(0)


_trim = _found()
