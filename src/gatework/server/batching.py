"""Requests to one model, answered together where that is quicker, without waiting for each other.

An idle model answers at once. What arrives while it is busy waits, and is run together next: a queue makes batches by
itself, no request waits for a timer. A batch is planned to take no longer than LONGEST, so that one behind it does not
wait longer than that for its turn.

Two things are measured when a model is loaded, and the second again with some calls: whether eight texts together cost
less than one by one (small networks are quicker alone), and CPU seconds for a character. A request that is expected to
take less than AT_ONCE is answered on the event loop: another thread would cost more than the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gatework.core import interrupt

AT_ONCE = 3e-4
LONGEST = 0.05
PROBE = "the of and to a in is you that it"
PROBES = 8
EVERY = 32
"""Characters that the fixed cost of a text is taken for."""
LEARNT = 1.05
"""Factor by which a measurement raises or lowers what is expected, which so tends to the median: a call that other
processes disturbed must not send those after it to another thread."""
LEAST = 1e-9
"""CPU seconds of a character, where the clock of a thread is too coarse to tell."""
TIMED = 8
"""Of so many calls one is timed: asking the clock of a thread takes as long as a tenth of a small network."""


@dataclass(eq=False, slots=True)
class _Job:
    examples: Sequence[Any]
    options: Mapping[str, Any]
    size: int
    future: asyncio.Future[list[Any]] = field(repr=False)


class Batcher:
    """The queue of one model. All but the answers themselves happens on the event loop."""

    def __init__(
        self,
        model: Any,
        pool: Executor,
        *,
        workers: int,
        most: int,
        ran: Callable[[int], None],
        at_once: float = AT_ONCE,
    ) -> None:
        """
        Args:
            model: a `runtime.Model`.
            pool: runs its answers, at most `workers` of them at a time.
            most: texts run together.
            ran: told how many texts were run together.
            at_once: seconds up to which the event loop answers itself.
        """
        self._model, self._pool, self._workers, self._most, self._ran = model, pool, workers, most, ran
        self._at_once = at_once
        self._waiting: deque[_Job] = deque()
        self._running, self._woken, self._calls = 0, False, 0
        self.together, self._seconds = _measured(model)

    def now(self, examples: Sequence[Any], options: Mapping[str, Any]) -> list[Any] | None:
        """Answers, where they are quicker had than handed to another thread; else None. Raises: as `Model.predict`."""
        size = size_of(examples)
        return self._answers(examples, options, size) if size * self._seconds < self._at_once else None

    async def ask(self, examples: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
        """Answers, from another thread. Raises: as `Model.predict`."""
        loop = asyncio.get_running_loop()
        job = _Job(examples, options, size_of(examples), loop.create_future())
        self._waiting.append(job)
        if not self._woken:  # what arrives in the same turn of the loop joins
            self._woken = True
            loop.call_soon(self._start, loop)
        return await job.future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._woken = False
        while self._running < self._workers and (jobs := self._next()):
            self._running += 1
            done = loop.run_in_executor(self._pool, self._run, jobs)
            done.add_done_callback(partial(self._done, loop, jobs))

    def _next(self) -> list[_Job]:
        """The first job, and all with the same options that may go with it."""
        jobs: list[_Job] = []
        left: deque[_Job] = deque()
        texts, size = 0, 0
        for job in self._waiting:
            if job.future.done():  # nobody waits for it any longer
                continue
            fits = texts + len(job.examples) <= self._most and (size + job.size) * self._seconds <= LONGEST
            if not jobs or (fits and job.options == jobs[0].options):
                jobs.append(job)
                texts, size = texts + len(job.examples), size + job.size
            else:
                left.append(job)
        self._waiting = left
        return jobs

    def _run(self, jobs: Sequence[_Job]) -> list[list[Any] | Exception]:
        """For each job its answers, or what went wrong with it alone."""
        if len(jobs) == 1:
            return [self._tried(jobs[0])]
        examples = [example for job in jobs for example in job.examples]
        try:
            with interrupt.while_wanted(lambda: not all(job.future.done() for job in jobs)):
                found = iter(self._answers(examples, jobs[0].options, sum(job.size for job in jobs)))
        except Exception:
            return [self._tried(job) for job in jobs]
        return [[next(found) for _ in job.examples] for job in jobs]

    def _tried(self, job: _Job) -> list[Any] | Exception:
        try:
            with interrupt.while_wanted(lambda: not job.future.done()):
                return self._answers(job.examples, job.options, job.size)
        except Exception as error:
            return error

    def _done(self, loop: asyncio.AbstractEventLoop, jobs: Sequence[_Job], done: asyncio.Future[Any]) -> None:
        self._running -= 1
        error = done.exception() if not done.cancelled() else RuntimeError("the service stops")
        results = [error] * len(jobs) if error is not None else done.result()
        for job, result in zip(jobs, results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, BaseException):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._start(loop)

    def _answers(self, examples: Sequence[Any], options: Mapping[str, Any], size: int) -> list[Any]:
        self._ran(len(examples))
        self._calls += 1
        if self._calls % TIMED:
            return _predict(self._model, examples, options, together=self.together)
        start = time.thread_time()
        found = _predict(self._model, examples, options, together=self.together)
        spent = (time.thread_time() - start) / max(size, 1)
        self._seconds = max(self._seconds * (LEARNT if spent > self._seconds else 1 / LEARNT), LEAST)
        return found


def size_of(examples: Sequence[Any]) -> int:
    """What examples cost, in characters; a list of strings counts as they do."""
    return sum(EVERY + (sum(map(len, one)) if isinstance(one, list) else len(one)) for one in examples)


def _predict(model: Any, examples: Sequence[Any], options: Mapping[str, Any], *, together: bool) -> list[Any]:
    if len(examples) == 1 and isinstance(examples[0], str):
        return [model.predict(examples[0], **options)]
    if together:
        found: list[Any] = model.predict_batch(examples, **options)
        return found
    return [model.predict_batch([example], **options)[0] for example in examples]


def _measured(model: Any) -> tuple[bool, float]:
    """Whether texts together cost less than one by one, and CPU seconds of a character; see `size_of`."""
    texts = [PROBE] * PROBES
    best = {}
    for together in (False, True):
        times = []
        for _ in range(3):
            start = time.thread_time()
            if together:
                _predict(model, texts, {}, together=True)
            else:
                for text in texts:
                    _predict(model, [text], {}, together=False)
            times.append(time.thread_time() - start)
        best[together] = min(times)
    return best[True] < best[False], max(best[False] / size_of(texts), LEAST)
