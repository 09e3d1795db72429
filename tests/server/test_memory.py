"""Memory that is free goes back to the system."""

import asyncio
import re
from pathlib import Path

import pytest

from services import need_extra

need_extra()

from gatework.server import memory  # noqa: E402

STATUS = Path("/proc/self/status")


def resident():
    return int(re.search(r"VmRSS:\s+(\d+)", STATUS.read_text())[1]) << 10


def test_pages_between_others_go_back():
    if not STATUS.exists() or memory._trim() is None:
        pytest.skip("only GNU's C library gives pages back")
    held = [bytes(60_000) for _ in range(2000)]
    kept = held[::10]
    before = resident()
    del held
    memory.give_back()
    assert before - resident() > 50e6
    assert len(kept) == 200


def test_it_happens_now_and_then(monkeypatch):
    times = []
    monkeypatch.setattr(memory, "EVERY", 0.001)
    monkeypatch.setattr(memory, "_trim", lambda: times.append(1))

    async def wait():
        task = asyncio.create_task(memory.give_back_now_and_then())
        while len(times) < 3:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(asyncio.wait_for(wait(), 30))
