"""How many threads the kernels use: a small pool of their own, apart from PyTorch's.

Results have the same bits for any number of threads.
"""

from __future__ import annotations

from gatework.core.errors import ConfigError
from gatework.kernels import dispatch

MOST = 1024


def threads() -> int:
    """Threads a kernel may use, the caller's included.

    Before `set_threads`: the environment variable OMP_NUM_THREADS, else the processors this process may use. Always 1
    without the compiled extension.
    """
    return int(dispatch.extension().threads.count()) if dispatch.available() else 1


def set_threads(n: int) -> None:
    """Let kernels of this process use up to `n` threads, the caller's included. PyTorch's own number is left alone.

    Raises: ConfigError: `n` is no whole number from 1 to 1024.
    """
    if type(n) is not int or not 1 <= n <= MOST:
        raise ConfigError(f"set_threads: n must be a whole number from 1 to {MOST}, got {n!r}. Use 1 for no threads.")
    if dispatch.available():
        dispatch.extension().threads.set_count(n)
