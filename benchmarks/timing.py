"""How speed is measured: contestants in turn, burst by burst; medians; and a look at whether the machine is quiet.

A burst is some calls of one contestant one after another, the first of them left out: it meets the caches its
predecessor left. With one thread all contestants live in one process; with more, each framework lives in its own
process (their pools of spinning threads disturb one another) and the processes take turns.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks import measure

BUNDLE = 200e-6
"""Seconds: calls shorter than this are timed several at once."""
BURST = 0.06
QUIET = 0.95
"""A machine is quiet when it reaches this share of the best peak seen."""


class Timing(NamedTuple):
    """Seconds a call."""

    median: float
    mean: float
    spread: float
    """Distance of the quartiles over the median."""
    calls: int
    processor: float
    """Median of the processor time of all threads: with one thread, what remains when others are kept out."""


Spent = list[tuple[float, float]]
"""Seconds of each call, by the clock and of the processor."""


def burst(run: Callable[[], object], seconds: float = BURST) -> Spent:
    """A stretch of calls of about so many seconds."""
    clock, processor = time.perf_counter, time.process_time
    begin, begun = clock(), processor()
    run()
    once = clock() - begin
    if once > seconds:
        return [(once, processor() - begun)]
    bundle, spent = max(1, int(BUNDLE / once)), []
    while clock() - begin < seconds or not spent:
        busy, start = processor(), clock()
        for _ in range(bundle):
            run()
        stop = clock()
        spent.append(((stop - start) / bundle, (processor() - busy) / bundle))
    return spent


def summary(spent: Spent) -> Timing:
    """Median, mean and spread of seconds a call."""
    clock, processor = zip(*spent, strict=True)
    low, middle, high = statistics.quantiles(clock, n=4) if len(clock) > 1 else (clock[0],) * 3
    mean = statistics.fmean(clock)
    return Timing(statistics.median(clock), mean, (high - low) / middle, len(clock), statistics.median(processor))


def interleave(bursts: Mapping[str, Callable[[], Spent]], seconds: float, rounds: int = 4) -> dict[str, Timing]:
    """Every contestant's burst in turn, for so many seconds and rounds at least."""
    spent: dict[str, Spent] = {name: [] for name in bursts}
    begin, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - begin < seconds:
        for name, one in bursts.items():
            spent[name] += one()
        done += 1
    return {name: summary(times) for name, times in spent.items()}


def geomean(values: Sequence[float]) -> float:
    """Geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def peak(threads: int = 1, rounds: int = 400_000) -> float:
    """GFLOP/s of float32 multiply-adds in registers, on so many threads at once."""
    from gatework import kernels
    from gatework.kernels import dispatch

    multiply_adds, level = dispatch.extension().multiply_adds, kernels.level()
    if threads == 1:
        start = time.perf_counter()
        return float(multiply_adds(level, rounds, 0.999)) / (time.perf_counter() - start) / 1e9
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:  # the extension releases the interpreter lock
        done = sum(pool.map(lambda _: multiply_adds(level, rounds, 0.999), range(threads)))
    return float(done) / (time.perf_counter() - start) / 1e9


class Quiet:
    """Remembers the best peak and waits while the machine is far below it."""

    def __init__(self, threads: int, patience: float = 15.0) -> None:
        self.threads, self.patience = threads, patience
        self.best = max(peak(threads) for _ in range(20))

    def wait(self) -> float:
        """The share of the best peak reached now, after waiting for a quiet moment."""
        deadline = time.monotonic() + self.patience
        while True:
            now = statistics.median(peak(self.threads) for _ in range(5))
            self.best = max(self.best, now)
            if now >= QUIET * self.best or time.monotonic() > deadline:
                return now / self.best
            time.sleep(0.5)


class Remote:
    """An object in a process of its own that is held to some threads; methods are called by name."""

    def __init__(self, make: Callable[..., Any], *arguments: Any, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        with _environment(thread_settings(threads)):
            self._process.start()
        theirs.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """The method's result; its exception comes as a RuntimeError that holds the traceback."""
        self._pipe.send((method, arguments))
        try:
            fine, result = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the measuring process ended with {self._process.exitcode} in {method}") from None
        if not fine:
            raise RuntimeError(result)
        return result

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def thread_settings(threads: int) -> dict[str, str]:
    """Environment that holds a process to so many threads, each library in its own way; waiting stays its default."""
    multi = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={multi} intra_op_parallelism_threads={threads}"
    return dict.fromkeys(measure.ONE_THREAD, str(threads)) | {"NPROC": str(threads), "XLA_FLAGS": flags}


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    os.environ.pop("OMP_WAIT_POLICY", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    target: Any = None
    while True:
        try:
            method, given = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            target = target or make(*arguments)
            pipe.send((True, getattr(target, method)(*given)))
        except Exception:
            pipe.send((False, traceback.format_exc()))
