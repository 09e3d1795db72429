"""`gatework serve` under an hour of mixed traffic with faults: is every answer right, does memory stay flat?

    python -m benchmarks.soak --classifier spam.gw --tagger ner.gw --lm lm.gw --translator deen.gw --minutes 60

Good requests come over every door (JSON, the Open Inference Protocol over HTTP and gRPC, WebSockets, server-sent
events, sequences that end or are left), and each answer is compared with what `gatework.load` gives for the same text.
Beside them come faults (`soaking.faults`): killed connections, bodies too large or malformed, slow clients. All the
while one model is replaced by another file, and one is unloaded and loaded again.

Memory is the service's VmRSS, read every two seconds. Compared are two medians, each over a twentieth of the time: from
a sixth of the time on (of an hour: minutes 10 to 13), and at the end (minutes 57 to 60), which may be 5 % higher. In
the end no stream, no sequence and no file descriptor may be left that was not there before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio

from benchmarks import measure
from benchmarks.measure import say
from benchmarks.records import FOLDER
from benchmarks.soaking.client import Pool
from benchmarks.soaking.faults import FAULTS
from benchmarks.soaking.traffic import TRAFFIC
from benchmarks.soaking.truth import Truth
from benchmarks.soaking.world import Pace, World, check

FLAT = 0.05
WARM, PART = 1 / 6, 1 / 20
"""Of the whole time: when memory is first compared, and how long each part is."""
SAMPLE = 2.0
SEQUENCE_SECONDS = 10.0
BODY_MEGABYTES = 1
AT_ONCE = 48
"""Requests under way, beyond which no other begins."""
COMMAND = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "serve"]


class Server:
    """The service as a process, seen from outside."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, grpc_port: int) -> None:
        self.process, self.port, self.grpc_port = process, port, grpc_port

    def memory(self) -> dict[str, float]:
        """Resident megabytes: all, and what no file is behind."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "RssAnon")}  # type: ignore[index]

    def processor(self) -> float:
        """Processor seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body)
            reply = connection.getresponse()
            return reply.status, reply.read()

    def gauge(self, name: str) -> float:
        """A value of /metrics."""
        found = re.search(rf"^gatework_{name} (\S+)$", self.ask("GET", "/metrics")[1].decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])


@contextlib.contextmanager
def serving(models: list[str], folder: Path, log: Path) -> Iterator[Server]:
    """The service, which is told to end in the end, and does."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    options = ["--port", str(ports[0]), "--grpc-port", str(ports[1]), "--folder", str(folder)]
    options += ["--sequence-seconds", f"{SEQUENCE_SECONDS:g}", "--max-body", str(BODY_MEGABYTES)]
    with log.open("wb") as out, subprocess.Popen([*COMMAND, *models, *options], stderr=out) as process:
        server = Server(process, *ports)
        try:
            while True:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(OSError):
                    if server.ask("GET", "/health/ready")[0] == 200:
                        break
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=60)


async def change(world: World, folder: Path, sources: dict[str, Path], every: float) -> None:
    """Replace one model by another file, and unload and load one, again and again."""
    turn = 1
    while True:
        await asyncio.sleep(every / 2)
        which = ("classify", "tag")[turn % 2]
        world.versions[str(turn + 1)] = which
        await _put(sources[which], folder / "replaced.gw")
        await world.run("replace", lambda world: _post(world, "/v2/repository/models/replaced/load"))
        turn += 1
        await asyncio.sleep(every / 2)
        world.guest_changes += 1
        await world.run("unload", lambda world: _post(world, "/v2/repository/models/guest/unload"))
        world.guest_there = False
        world.guest_changes += 1
        await asyncio.sleep(0.2)
        world.guest_changes += 1
        await world.run("load", lambda world: _post(world, "/v2/repository/models/guest/load"))
        world.guest_there = True
        world.guest_changes += 1


async def _post(world: World, path: str) -> None:
    async with world.pool.connection() as connection:
        reply = await connection.ask("POST", path, b"{}")
    check(reply.status == 200, reply, 200)


async def _put(source: Path, target: Path) -> None:
    """A file in place of another, at once."""
    again = target.with_suffix(".new")
    shutil.copy(source, again)
    again.replace(target)


async def traffic(world: World, end: float) -> None:
    """Choose what happens next, at the pace, until the end; then wait for what is under way."""
    kinds = {**TRAFFIC, **FAULTS}
    under_way: set[asyncio.Task[None]] = set()
    while time.monotonic() < end:
        if len(under_way) >= AT_ONCE:
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        [kind] = world.rng.choices(list(kinds), list(kinds.values()))
        task = asyncio.create_task(world.run(kind.__name__, kind))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(0)  # it takes its place in the pace
        await world.pace.room()
    await asyncio.gather(*under_way)


async def sampled(server: Server, samples: list[dict[str, float]], begin: float, every: float) -> None:
    """Memory, all the time."""
    while True:
        samples.append({"at": time.monotonic() - begin, **server.memory()})
        await asyncio.sleep(every)


async def soak(server: Server, world: World, args: argparse.Namespace, folder: Path, sources: dict[str, Path]) -> Any:
    """Traffic for the time that was asked for; what came of it."""
    samples: list[dict[str, float]] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as world.channel:
        for kind in TRAFFIC:  # what is made once is there from here on
            await world.run(kind.__name__, kind)
    begin, spent, own = time.monotonic(), server.processor(), time.process_time()
    before, every = server.descriptors(), min(SAMPLE, args.minutes * 60 * PART / 3)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as world.channel:
        beside = [asyncio.create_task(sampled(server, samples, begin, every))]
        beside.append(asyncio.create_task(change(world, folder, sources, args.change)))
        await traffic(world, begin + args.minutes * 60)
        seconds = time.monotonic() - begin
        for one in beside:
            one.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    world.pool.close()
    spent, own = server.processor() - spent, time.process_time() - own
    return {
        "seconds": round(seconds),
        "counts": dict(sorted(world.counts.items())),
        "failed": world.failed,
        "failures": world.failures,
        "memory_mb": memory(samples, args.minutes * 60),
        "left": await left(server, world, before),
        "processor_share": {"service": spent / seconds, "clients": own / seconds},
    }


async def left(server: Server, world: World, descriptors: int) -> dict[str, float]:
    """What is still held when all clients are gone and all states have expired."""
    await asyncio.sleep(SEQUENCE_SECONDS + 1)
    path = f"/v2/models/{world.names['lm']}/sequences/none/state"  # looks for what has expired
    assert server.ask("GET", path)[0] == 404
    found = {name: server.gauge(name) for name in ("queue_requests", "streams", "sequences", "state_bytes")}
    return found | {"descriptors": server.descriptors() - descriptors}


def memory(samples: list[dict[str, float]], seconds: float) -> dict[str, Any]:
    """Medians of the two parts, their ratio, the highest sample, and the median of every minute."""

    def median(name: str, begin: float, end: float) -> float:
        found = [one[name] for one in samples if begin <= one["at"] < end]
        return round(statistics.median(found), 2) if found else 0.0

    warm, end = (WARM * seconds, (WARM + PART) * seconds), ((1 - PART) * seconds, float("inf"))
    found: dict[str, Any] = {"warm": median("VmRSS", *warm), "end": median("VmRSS", *end)}
    found["ratio"] = round(found["end"] / found["warm"], 4)
    found["anonymous"] = [median("RssAnon", *warm), median("RssAnon", *end)]
    found["highest"] = round(max(one["VmRSS"] for one in samples), 2)
    minutes = range(int(seconds // 60) + 1)
    return found | {"by_minute": [median("VmRSS", 60.0 * minute, 60.0 * minute + 60) for minute in minutes]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in ("classifier", "tagger", "lm", "translator"):
        parser.add_argument(f"--{kind}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second, all together")
    parser.add_argument("--change", type=float, default=6.0, help="seconds between replacements")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER / "soak.json")
    args = parser.parse_args()
    sources = {"classify": args.classifier, "tag": args.tagger, "lm": args.lm, "translate": args.translator}
    found: dict[str, Any] = {"machine": measure.machine(), "date": datetime.date.today().isoformat()}
    found |= {"minutes": args.minutes, "rate": args.rate, "seed": args.seed}
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name), Path(name) / "log"
        shutil.copy(args.classifier, folder / "guest.gw")
        shutil.copy(args.classifier, folder / "replaced.gw")
        models = [f"{kind}={path}" for kind, path in sources.items()]
        models += [str(folder / "guest.gw"), str(folder / "replaced.gw")]
        with serving(models, folder, log) as server:
            rng, pool = Random(args.seed), Pool(server.port)
            world = World(
                port=server.port, grpc_port=server.grpc_port, truth=Truth(sources, args.seed), rng=rng,
                pace=Pace(args.rate), pool=pool, channel=None, sequence_seconds=SEQUENCE_SECONDS,
                body_bytes=BODY_MEGABYTES << 20, names={kind: kind for kind in sources}, versions={"1": "classify"},
            )  # fmt: skip
            found |= asyncio.run(soak(server, world, args, folder, sources))
        found["exit_status"] = server.process.returncode
        found["log"] = [line for line in log.read_text().splitlines() if not line.startswith("gatework: serving")][:40]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    good = (
        not found["failed"]
        and found["memory_mb"]["ratio"] <= 1 + FLAT
        and all(value <= 0 for value in found["left"].values())
    )
    good = good and not found["log"] and found["exit_status"] == 0
    shown = {key: value for key, value in found.items() if key in ("failed", "failures", "memory_mb", "left", "log")}
    say(json.dumps(shown, indent=1, ensure_ascii=False))
    say("good" if good else "NOT GOOD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
