"""Requests a second of `gatework serve`, beside the same classifier in PyTorch behind the plainest FastAPI handler.

    python -m benchmarks.serving --classifier sms-spam.gw [--tagger ner-resume.gw] [--rounds 3]

Servers run one at a time, in turn, round after round; `wrk` (Debian's package, or --wrk) asks from the same machine
with keep-alive connections, one thread. Medians of the rounds: requests a second, latency at the 50th and 99th
percentile, and processor time of the server a request, which other work on the machine disturbs least. Then the time
from nothing to a first answer, and memory. `soak.py` is how the service does over an hour of everything.

The peer needs fastapi and torch, and is left out without them.
"""

from __future__ import annotations

import argparse
import contextlib
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
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import measure
from benchmarks.measure import say
from benchmarks.records import FOLDER

CONNECTIONS = (1, 16, 256)
TEXTS = {
    "classify": "Free entry in 2 a wkly comp to win FA Cup final tkts 21st May 2005",
    "tag": "1966年出生,汉族,中共党员,本科学历,工程师、美国项目管理协会注册会员",
}
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
OURS = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "serve", "--no-grpc"]


class Server(NamedTuple):
    """A server under way."""

    process: subprocess.Popen[bytes]
    port: int
    path: str
    body: bytes

    def processor(self) -> float:
        """Processor seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def ask(self) -> tuple[int, dict[str, Any]]:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", self.path, self.body, JSON)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())


JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def started(command: list[str], path: str, body: bytes) -> Iterator[tuple[Server, tuple[float, float]]]:
    """A server that answers, and the seconds that took, by the clock and of the processor."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin = time.perf_counter()
    with subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL) as process:
        server = Server(process, port, path, body)
        try:
            while True:
                assert process.poll() is None, f"{command} ended"
                with contextlib.suppress(OSError):
                    assert server.ask()[0] == 200
                    break
                time.sleep(0.005)
            yield server, (time.perf_counter() - begin, server.processor())
        finally:
            process.terminate()
            process.wait(timeout=60)


def load(server: Server, wrk: str, connections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Requests a second, milliseconds at percentiles, processor microseconds a request, failures."""
    script = folder / "post.lua"
    body = server.body.decode()
    script.write_text(f'wrk.method="POST"\nwrk.body=[==[{body}]==]\nwrk.headers["Content-Type"]="application/json"\n')
    address = f"http://127.0.0.1:{server.port}{server.path}"
    options = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "30s", "-s", str(script)]
    before = server.processor()
    told = subprocess.run([wrk, *options, address], capture_output=True, text=True, check=True).stdout
    spent = server.processor() - before
    count = int(_found(r"(\d+) requests in", told))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    return {
        "requests_a_second": float(_found(r"Requests/sec:\s+([\d.]+)", told)),
        "p50_ms": _milliseconds(_found(r"50%\s+([\d.]+\w+)", told)),
        "p99_ms": _milliseconds(_found(r"99%\s+([\d.]+\w+)", told)),
        "processor_us": spent / max(count, 1) * 1e6,
        "failed": float(bad[1]) if bad else 0.0,
    }


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    assert found is not None
    return float(found[1]) * UNITS[found[2]]


def contestants(args: argparse.Namespace) -> dict[str, tuple[list[str], str, bytes]]:
    """Commands that serve, the path to ask, and the request's body, by name."""
    spam, resume = ({"text": TEXTS[kind]} for kind in ("classify", "tag"))
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXTS["classify"]]}
    ours, v1, v2 = [*OURS, f"m={args.classifier}"], "/v1/models/m/predict", "/v2/models/m/infer"
    found = {"gatework": (ours, v1, _json(spam))}
    found["gatework, Open Inference Protocol"] = ours, v2, _json({"inputs": [tensor]})
    if all(find_spec(name) for name in ("fastapi", "torch")):
        peer = [sys.executable, "-m", "benchmarks.rivals.fastapi_torch", str(args.classifier)]
        found["PyTorch behind FastAPI"] = peer, "/predict", _json(spam)
    else:
        say("no fastapi, or no torch: no peer")
    if args.tagger:
        found["gatework, tagger"] = [*OURS, f"m={args.tagger}"], v1, _json(resume)
    return found


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path, required=True)
    parser.add_argument("--tagger", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--wrk", default=shutil.which("wrk"))
    parser.add_argument("--out", type=Path, default=FOLDER / "serving.json")
    args = parser.parse_args()
    if args.wrk is None:
        say("wrk is missing: apt install wrk, or --wrk PATH.")
        return 2
    found: dict[str, Any] = {"machine": measure.machine(), "command": " ".join(sys.argv[1:]), "load": os.getloadavg()}
    rounds: dict[tuple[str, int], list[dict[str, float]]] = {}
    starts: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for name, (command, path, body) in contestants(args).items():
                with started(command, path, body) as (server, cold):
                    for connections in args.connections:
                        taken = load(server, args.wrk, connections, args.seconds, Path(folder))
                        rounds.setdefault((name, connections), []).append(taken)
                    starts.setdefault(name, []).append((*cold, server.memory()))
        figures = {
            f"{name}, {connections} connections": {
                key: statistics.median(one[key] for one in taken) for key in taken[0]
            }
            for (name, connections), taken in rounds.items()
        }
        for name, taken in starts.items():
            figures[name] = {
                "cold_start_s": statistics.median(cold for cold, _, _ in taken),
                "cold_start_processor_s": statistics.median(spent for _, spent, _ in taken),
                "memory_mb": statistics.median(memory for _, _, memory in taken),
            }
    for name, values in figures.items():
        told = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items())
        print(f"{name}: {', '.join(told)}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found | {"figures": figures}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
