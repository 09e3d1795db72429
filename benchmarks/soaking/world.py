"""What all traffic shares: where the service is, what is known of its models, the pace, the count."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks.soaking.client import Pool
from benchmarks.soaking.truth import Truth, same

PATIENCE = 60.0
"""Seconds after which an answer that has not come is a failure; the service gives up after 30."""
AHEAD = 0.1
"""Seconds for which places in the pace are given out at most."""
TOLD = 20
"""Failures of which the result tells."""


class Wrong(Exception):
    """An answer that is not what it should be."""


class Pace:
    """Requests at a steady rate, whoever sends them."""

    def __init__(self, rate: float) -> None:
        self._step, self._next = 1 / rate, time.monotonic()

    async def turn(self) -> None:
        """Wait for the next place."""
        now = time.monotonic()
        self._next = max(self._next, now - 1.0) + self._step
        if self._next > now:
            await asyncio.sleep(self._next - now)

    async def room(self) -> None:
        """Wait while places are given out further ahead than AHEAD."""
        while (ahead := self._next - time.monotonic()) > AHEAD:
            await asyncio.sleep(ahead - AHEAD)


@dataclass
class World:
    """One service under way, and its clients."""

    port: int
    grpc_port: int
    truth: Truth
    rng: Random
    pace: Pace
    pool: Pool
    channel: Any
    """A gRPC channel."""
    sequence_seconds: float
    body_bytes: int
    names: dict[str, str] = field(default_factory=dict)
    """The model of each kind that stays."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the model that is replaced: which bundle each version is."""
    guest_there: bool = True
    """Whether the model that comes and goes is there now."""
    guest_changes: int = 0
    """How often it has begun to come or go."""
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    identities: int = 0

    def identity(self) -> str:
        """A sequence's id that none has had."""
        self.identities += 1
        return f"soak-{self.identities}"

    async def run(self, name: str, work: Callable[[World], Awaitable[None]]) -> None:
        """Let one kind of traffic happen once, and count it."""
        self.counts[name] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await work(self)
        except (Exception, asyncio.IncompleteReadError) as error:
            self.failed += 1
            if len(self.failures) < TOLD:
                self.failures.append(f"{name}: {type(error).__name__}: {error!s:.300}")


def check(good: bool, got: Any, wanted: Any = "") -> None:
    """Raises Wrong."""
    if not good:
        raise Wrong(f"got {got!s:.200}, wanted {wanted!s:.200}")


def check_same(got: Any, wanted: Any) -> None:
    """Raises Wrong unless two answers are the same but for rounding."""
    check(same(got, wanted), got, wanted)
