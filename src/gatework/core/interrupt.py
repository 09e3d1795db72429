"""Work that nobody waits for any longer is given up between two of its steps.

with while_wanted(lambda: not client.left):
    model.predict_batch(texts)          # raises TimeoutError between two batches once the client has left

Loops over batches call `check`; a batch itself runs to its end. It holds for the thread, or task, that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[Callable[[], bool] | None] = ContextVar("wanted", default=None)


@contextmanager
def while_wanted(wanted: Callable[[], bool]) -> Iterator[None]:
    """Within it `check` raises once `wanted()` is false."""
    before = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(before)


def check() -> None:
    """Raise TimeoutError where what is under way is wanted no longer."""
    wanted = _wanted.get()
    if wanted is not None and not wanted():
        raise TimeoutError("Nobody waits for this any longer.")
