from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from services import need_extra, running, write_bundles

need_extra()

import grpc.aio  # noqa: E402

from benchmarks.soak import memory  # noqa: E402
from benchmarks.soaking.client import Pool  # noqa: E402
from benchmarks.soaking.faults import FAULTS  # noqa: E402
from benchmarks.soaking.traffic import TRAFFIC  # noqa: E402
from benchmarks.soaking.truth import Truth, same  # noqa: E402
from benchmarks.soaking.world import Pace, World  # noqa: E402
from gatework.server import Limits  # noqa: E402


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (1.0, 1.00001, True), (1.0, 1.01, False), (0, 0.0, True), (1.0, "1.0", False), (1.0, None, False),
        ({"a": [1.0, "x"]}, {"a": [1.00001, "x"]}, True), ({"a": 1}, {"a": 1, "b": 2}, False), ([1], [1, 2], False),
        ("x", "y", False), ([], {}, False),
    ],
)  # fmt: skip
def test_answers_are_the_same_but_for_rounding(one: object, other: object, alike: bool) -> None:
    assert same(one, other) is alike
    assert same(other, one) is alike


def test_memory_is_compared_by_medians() -> None:
    samples = [{"at": 2.0 * n, "VmRSS": 100.0 + n / 60, "RssAnon": 50.0} for n in range(1800)]
    samples[310]["VmRSS"] = 900.0
    found = memory(samples, 3600)
    assert found["warm"] == pytest.approx(100 + 345 / 60, abs=0.1), "minutes 10 to 13"
    assert found["end"] == pytest.approx(100 + 1755 / 60, abs=0.1), "minutes 57 to 60"
    assert found["ratio"] == pytest.approx(found["end"] / found["warm"], abs=1e-4)
    assert (found["highest"], len(found["by_minute"])) == (900.0, 61)


def test_a_pace_is_kept() -> None:
    async def turns() -> float:
        pace, begin = Pace(200), time.monotonic()
        for _ in range(41):
            await pace.turn()
        return time.monotonic() - begin

    assert asyncio.run(turns()) >= 0.19


KEPT = 4.0
"""Seconds that states and heads are waited for: longer than a busy machine lets a client wait for its turn."""


@pytest.mark.slow
def test_every_kind_of_traffic_and_of_fault(tmp_path) -> None:
    """Each once, and the good ones again with other answers in mind, which must fail."""
    paths = write_bundles(tmp_path)
    limits = Limits(body_bytes=1 << 20, sequence_seconds=KEPT, header_seconds=KEPT)
    models = [*paths.values(), f"guest={paths['classify']}", f"replaced={paths['classify']}"]
    with running(models, limits, rpc=True) as service:
        world = World(
            port=service.port, grpc_port=service.grpc_port, truth=Truth(paths, 1), rng=Random(1), pace=Pace(1000),
            pool=Pool(service.port), channel=None, sequence_seconds=KEPT, body_bytes=limits.body_bytes,
            names={name: name for name in paths}, versions={"1": "classify"},
        )  # fmt: skip

        async def ask() -> None:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc_port}") as world.channel:
                await asyncio.gather(*(world.run(kind.__name__, kind) for kind in [*TRAFFIC, *FAULTS]))
                assert world.failures == []
                world.truth.answer = lambda name, text: {"label": "another"}
                world.truth.talked = lambda *asked: [(0.5, "another")] * 9
                checked = [kind for kind in TRAFFIC if kind.__name__ in CHECKED]
                await asyncio.gather(*(world.run(kind.__name__, kind) for kind in checked))
                assert {one.partition(":")[0] for one in world.failures} == set(CHECKED)
            world.pool.close()
            await asyncio.sleep(0.1)  # for the loop to let go of them

        asyncio.run(ask())
        service.idle()


CHECKED = ("predict", "several", "dripping", "infer", "infer_bytes", "call", "call_stream", "socket_answers",
           "sequence", "replaced", "guest")  # fmt: skip
"""Kinds whose answers are those of the two truths that the test changes."""
