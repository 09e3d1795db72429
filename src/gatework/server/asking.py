"""What may be asked of a model, whatever the door: texts and options within bounds, answers from the right thread."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import Parameter, signature
from typing import Any, TypeVar

from gatework.core import interrupt
from gatework.runtime import Model
from gatework.server.limits import Limits
from gatework.server.meters import Meters
from gatework.server.refusal import Refusal
from gatework.server.registry import Registry, Served

T = TypeVar("T")

_PLACE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_COUNTS = ("beams", "count")
_OWN = frozenset(
    name
    for method in (Model.predict, Model.predict_batch, Model.generate, Model.stream, Model.fill, Model.rewrite)
    for name, one in signature(method).parameters.items()
    if one.kind is not Parameter.VAR_KEYWORD
) - {"gap", "marks"}
"""Names of the methods' own arguments, which are asked for elsewhere or are no JSON; gaps and marks may be chosen."""


class Asking:
    """Questions to models, counted and bounded."""

    def __init__(self, registry: Registry, limits: Limits, meters: Meters) -> None:
        self._registry, self.limits, self._meters = registry, limits, meters
        self._waiting = self._streams = 0

    @property
    def waiting(self) -> int:
        """Requests that wait for an answer."""
        return self._waiting

    @property
    def full(self) -> bool:
        """Whether no further stream may begin."""
        return self._streams >= self.limits.streams

    async def predict(self, served: Served, texts: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
        """Answers of a classifier, a tagger or a translator. Raises: Refusal, UserError."""
        batcher = served.batcher
        found = batcher.now(texts, options)
        if found is None:
            found = await self._bounded(batcher.ask(texts, options))
        return found

    async def call(self, work: Callable[[], T]) -> T:
        """Something else that a model does, on another thread. Raises: Refusal, UserError."""
        left = threading.Event()

        def wanted_work() -> T:
            with interrupt.while_wanted(lambda: not left.is_set()):
                return work()

        try:
            return await self._bounded(asyncio.get_running_loop().run_in_executor(self._registry.pool, wanted_work))
        finally:
            left.set()  # too late, or the client has gone: the thread is for others

    async def pieces(self, begin: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """What an iterator gives, each piece made on another thread. Raises: Refusal, UserError."""
        stream = await self.call(begin)
        end = time.monotonic() + self.limits.seconds
        while True:
            if time.monotonic() > end:
                raise TimeoutError
            piece = await self.call(partial(next, stream, None))
            if piece is None:
                return
            yield piece

    def stream(self) -> _Stream:
        """A context in which one stream more is under way. Raises Refusal 503: there are too many."""
        return _Stream(self)

    def count(self, change: int) -> None:
        """So many streams more."""
        if change > 0 and self.full:
            raise Refusal(503, f"{self.limits.streams} streams are under way, no more are allowed. Try again.")
        self._streams += change
        self._meters.streams.set(self._streams)

    async def _bounded(self, work: Awaitable[T]) -> T:
        if self._waiting >= self.limits.queue:
            _forget(work)
            raise Refusal(429, f"{self._waiting} requests wait already. Try again.")
        self._waiting += 1
        self._meters.queue.set(self._waiting)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await work
        finally:
            self._waiting -= 1
            self._meters.queue.set(self._waiting)


class _Stream:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def __enter__(self) -> None:
        self._asking.count(1)

    def __exit__(self, *error: object) -> None:
        self._asking.count(-1)


def checked_texts(given: Any, limits: Limits, what: str = "texts") -> list[Any]:
    """Several texts, or lists of tokens or turns. Raises Refusal 422: something else, too many, or too long."""
    if not isinstance(given, list):
        raise Refusal(422, f"{what} must be a list of strings, got {type(given).__name__}.")
    if len(given) > limits.batch:
        raise Refusal(422, f"{len(given)} {what} at once, at most {limits.batch} are allowed. Send several requests.")
    for number, one in enumerate(given):
        if isinstance(one, str):
            size = len(one)
        elif isinstance(one, list) and all(isinstance(part, str) for part in one):
            size = sum(len(part) + 1 for part in one)
        else:
            raise Refusal(422, f"{what}: number {number} is no string.")
        if size > limits.text_chars:
            raise Refusal(422, f"{what}: number {number} has {size:,} characters, at most {limits.text_chars:,}.")
    return given


def checked_text(given: Any, limits: Limits, what: str = "text") -> str:
    """One text, and no list of tokens. Raises Refusal 422: something else, or too long."""
    if not isinstance(given, str):
        raise Refusal(422, f"{what}: {type(given).__name__} is no string.")
    checked_texts([given], limits, what)
    return given


def checked_options(served: Served, given: Any, limits: Limits) -> dict[str, Any]:
    """Options of a prediction or of a generation, none of them beyond what the service allows; the rest is checked
    where they are used. Raises Refusal 422."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Refusal(422, f"options must be an object, got {type(given).__name__}.")
    options = dict(given)
    if own := sorted(_OWN & set(options)):
        raise Refusal(422, f"options: {own[0]} is no option.")
    for name in _COUNTS:
        _whole(options, name, limits.beams)
    _whole(options, "max_tokens", limits.tokens)
    if served.kind in ("classify", "tag"):
        _whole(options, "top_k", limits.beams if served.kind == "tag" else 1 << 31)
        threshold = options.get("threshold")
        if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
            raise Refusal(422, f"options: threshold must be a number, got {threshold!r:.40}.")
        if "allow" in options:
            options["allow"] = _places(options["allow"])
    if not isinstance(options.get("dictionary", {}), dict):  # a path would have the service read a file
        raise Refusal(422, "options: dictionary must be an object of words and what stands for them.")
    if served.kind == "lm":
        options["max_tokens"] = options.get("max_tokens", min(256, limits.tokens))
    return options


def _whole(options: Mapping[str, Any], name: str, most: int) -> None:
    value = options.get(name)
    if value is not None and (type(value) is not int or not 0 <= value <= most):
        raise Refusal(422, f"options: {name} must be a whole number up to {most:,} here, got {value!r:.40}.")


def _places(given: Any) -> dict[Any, Any]:
    """`allow` of a tagger as JSON has it: {"3": "B-PER", "2-5": "PER"}."""
    if not isinstance(given, dict):
        raise Refusal(422, f'options: allow must map places to tags, such as {{"3": "B-PER"}}, got {given!r:.40}.')
    found: dict[Any, Any] = {}
    for key, said in given.items():
        place = _PLACE.fullmatch(key)
        if place is None:
            raise Refusal(422, f'options: allow: {key[:40]!r} is no place. Write "3", or "2-5" for a span.')
        found[int(place[1]) if place[2] is None else (int(place[1]), int(place[2]))] = said
    return found


def _forget(work: Awaitable[Any]) -> None:
    """Leave something that was begun: a coroutine is closed, a future cancelled."""
    for name in ("close", "cancel"):
        if hasattr(work, name):
            getattr(work, name)()
            return
