"""Sequences: what a client sends piece by piece under an id, with the state that is kept in between.

    language model   its recurrent state; each piece is read from there on, and what is written joins it
    tagger           running text as of `Model.stream`: the sentences that are due are answered, the rest waits
    classifier       one that reads forward alone: each piece is answered for the text so far

A state belongs to one id of one model, and to the model as it was when the sequence began: replacing the model does
not disturb it. Requests of a sequence run one after the other, as they came. A state goes at the sequence's end, when
it has not been asked for `sequence_seconds`, or when a request fails halfway; it is never taken from one sequence to
make room for another: beyond `state_bytes` no sequence begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from gatework.core.errors import UserError
from gatework.server.asking import Asking
from gatework.server.limits import Limits
from gatework.server.meters import Meters
from gatework.server.refusal import Refusal
from gatework.server.registry import Served

T = TypeVar("T")
LONGEST_ID = 256
EACH = 1024
"""Bytes that a sequence counts beside its state."""
SWEEP = 5.0
"""Seconds between looks for states that have expired."""


class Place(NamedTuple):
    """What a request says of its sequence."""

    identity: str
    start: bool = False
    end: bool = False


class Held:
    """The state of one sequence; None before its first request."""

    __slots__ = ("_lock", "served", "size", "state", "used")

    def __init__(self, served: Served) -> None:
        self.served, self.size, self.used = served, EACH, time.monotonic()
        self.state: Any = None
        self._lock = asyncio.Lock()

    @property
    def lock(self) -> asyncio.Lock:
        """Held by the request that is running."""
        return self._lock


class Sequences:
    """All sequences of a service. Used on its event loop."""

    def __init__(self, asking: Asking, limits: Limits, meters: Meters) -> None:
        self._asking, self._limits, self._meters = asking, limits, meters
        self._held: dict[tuple[str, str], Held] = {}
        self._bytes = 0

    @asynccontextmanager
    async def holding(self, served: Served, place: Place) -> AsyncIterator[Held]:
        """The state of a sequence, for one request alone.

        Raises: Refusal 409: the sequence is not there; 503: no room for its state; 422: the model keeps none.
        """
        check_keeps(served)
        key = served.name, place.identity
        held = self._begun(served, key) if place.start else self._known(key)
        keep = False
        try:
            async with held.lock:
                if self._held.get(key) is not held:
                    raise self._unknown(key)
                before = held.state
                try:
                    yield held
                    keep = not place.end
                except BaseException as error:
                    # A language model's state is another object once it has changed; a stream's may be halfway, unless
                    # the request was refused.
                    whole = served.kind == "lm" or isinstance(error, Refusal | UserError)
                    keep = whole and before is not None and held.state is before
                    raise
                self._weigh(key, held)
        finally:
            if not keep:
                self._drop(key, held)

    async def run(self, served: Served, place: Place, work: Callable[[Held], T]) -> T:
        """Let a request of a sequence change its state, on another thread. Raises: as `holding`."""
        async with self.holding(served, place) as held:
            return await self._asking.call(partial(work, held))

    def known(self, served: Served, identity: str) -> bool:
        """Whether a sequence is there."""
        return self._alive((served.name, identity)) is not None

    def model(self, served: Served, place: Place) -> Served:
        """The model that a sequence began with; `served` at its start."""
        held = None if place.start else self._held.get((served.name, place.identity))
        return served if held is None else held.served

    async def get(self, served: Served, identity: str) -> bytes:
        """A state as bytes, for `put`, here or elsewhere. Raises Refusal 404: there is none."""
        check_keeps(served)
        held = self._alive((served.name, identity))
        if held is None:
            raise Refusal(404, f"sequence {identity[:60]!r} of {served.name} is not there.")
        async with held.lock:
            if held.state is None:
                raise Refusal(404, f"sequence {identity[:60]!r} of {served.name} has not begun.")
            return bytes(await self._asking.call(held.state.to_bytes))

    async def put(self, served: Served, identity: str, data: bytes) -> None:
        """Begin a sequence with a state, in place of one that has its id. Raises: DataError: it is no state of this
        model; Refusal."""
        check_keeps(served)
        state = await self._asking.call(partial(_state_of, served, data))
        key = served.name, identity
        held = self._begun(served, key)
        held.state = state
        self._weigh(key, held)

    def delete(self, served: Served, identity: str) -> None:
        """Forget a sequence. Raises Refusal 404: there is none."""
        key = served.name, identity
        held = self._held.get(key)
        if held is None:
            raise Refusal(404, f"sequence {identity[:60]!r} of {served.name} is not there.")
        self._drop(key, held)

    def sweep(self) -> None:
        """Forget what has expired."""
        for key, held in [(key, held) for key, held in self._held.items() if self._expired(held)]:
            self._drop(key, held)

    async def sweep_now_and_then(self) -> None:
        """The same all the time, beside the event loop."""
        while True:
            await asyncio.sleep(min(SWEEP, self._limits.sequence_seconds))
            self.sweep()

    def _expired(self, held: Held) -> bool:
        """Nobody has asked for it for long, nor does now."""
        return time.monotonic() - held.used > self._limits.sequence_seconds and not held.lock.locked()

    def _begun(self, served: Served, key: tuple[str, str]) -> Held:
        old = self._held.get(key)
        if old is not None:
            self._drop(key, old)
        if self._bytes + EACH > self._limits.state_bytes:
            self.sweep()
        if self._bytes + EACH > self._limits.state_bytes:
            raise Refusal(503, f"{len(self._held)} sequences fill the room for states. Try again.")
        held = self._held[key] = Held(served)
        self._count(EACH)
        return held

    def _known(self, key: tuple[str, str]) -> Held:
        held = self._alive(key)
        if held is None:
            raise self._unknown(key)
        return held

    def _alive(self, key: tuple[str, str]) -> Held | None:
        """A sequence that is there; one that has expired is forgotten now."""
        held = self._held.get(key)
        if held is not None and self._expired(held):
            self._drop(key, held)
            return None
        return held

    def _unknown(self, key: tuple[str, str]) -> Refusal:
        return Refusal(
            409,
            f"sequence {key[1][:60]!r} of {key[0]} is not there: it has ended, or has not been asked for "
            f"{self._limits.sequence_seconds:g} seconds. Begin it with sequence_start.",
        )

    def _weigh(self, key: tuple[str, str], held: Held) -> None:
        """Count what the state takes now, if it is still kept. Raises Refusal 503: there is no room for it."""
        held.used = time.monotonic()
        if self._held.get(key) is not held:
            return
        size = EACH + held.state.nbytes
        if self._bytes + size - held.size > self._limits.state_bytes:
            self.sweep()
        if self._bytes + size - held.size > self._limits.state_bytes:
            self._drop(key, held)
            raise Refusal(503, "The room for states is full, and this one has grown: it is forgotten. Begin it again.")
        self._count(size - held.size)
        held.size = size

    def _drop(self, key: tuple[str, str], held: Held) -> None:
        if self._held.get(key) is held:
            del self._held[key]
            self._count(-held.size)

    def _count(self, change: int) -> None:
        self._bytes += change
        self._meters.state_bytes.set(self._bytes)
        self._meters.sequences.set(len(self._held))


def place_of(parameters: Mapping[str, Any]) -> Place | None:
    """What the parameters of a request say of its sequence; None for no sequence. Raises Refusal 400."""
    given = parameters.get("sequence_id", 0)
    flags = [parameters.get(f"sequence_{name}", False) for name in ("start", "end")]
    if type(given) not in (int, str) or not all(type(flag) is bool for flag in flags):
        raise Refusal(400, "sequence_id must be a number or a string, sequence_start and sequence_end true or false.")
    if given in (0, ""):
        if any(flags):
            raise Refusal(400, "sequence_start and sequence_end need a sequence_id.")
        return None
    if len(str(given)) > LONGEST_ID:
        raise Refusal(400, f"sequence_id has more than {LONGEST_ID} characters.")
    return Place(str(given), *flags)


def check_keeps(served: Served) -> None:
    """Raise Refusal 422 unless a model can be asked piece by piece."""
    if why := served.model.whole_texts:
        raise Refusal(422, f"{served.name} ({served.model.task}) {why}. Send whole texts, and no sequence_id.")


def _state_of(served: Served, data: bytes) -> Any:
    return served.model.state_of(data)
