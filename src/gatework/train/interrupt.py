"""Ctrl-C, made to wait for the end of a step, so that what is kept is consistent."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class InterruptFlag:
    """Inside the block the first Ctrl-C only raises a flag; the second stops at once, as it does everywhere else.

    Python delivers signals to the main thread alone; in any other thread this does nothing.
    """

    def __init__(self) -> None:
        self.raised = False
        self._before: Any = None
        self._installed = False

    def __enter__(self) -> InterruptFlag:
        # A handler other than Python's own belongs to the program around us.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._before = signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.raised = True
        self._restore()

    def _restore(self) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)
            self._installed = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
