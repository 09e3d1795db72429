"""Requests a second of `gatework serve`, beside the same classifier in PyTorch behind the plainest FastAPI handler.

    python -m benchmarks.serving --classifier sms-spam.gw [--tagger ner-resume.gw] [--rounds 3] [--soak 300]

Servers run one at a time, in turn, round after round; `wrk` (Debian's package, or --wrk) asks from the same machine
with keep-alive connections, one thread. Medians of the rounds: requests a second, latency at the 50th and 99th
percentile, and processor time of the server a request, which other work on the machine disturbs least. Then the time
from nothing to a first answer, memory, and with --soak so many seconds of mixed traffic with faults: killed
connections, oversized and malformed bodies, the model replaced all the time; no good request may fail, and memory
stays flat.

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
import threading
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
FLAT = 1.05
OURS = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "serve", "--no-grpc"]


class Server(NamedTuple):
    """A server under way."""

    process: subprocess.Popen[bytes]
    port: int
    path: str
    text: str

    def processor(self) -> float:
        """Processor seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def ask(self, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", self.path, body or json.dumps({"text": self.text}).encode(), JSON)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())


JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def started(command: list[str], path: str, text: str) -> Iterator[tuple[Server, tuple[float, float]]]:
    """A server that answers, and the seconds that took, by the clock and of the processor."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin = time.perf_counter()
    with subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL) as process:
        server = Server(process, port, path, text)
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
    body = json.dumps({"text": server.text}, ensure_ascii=False)
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


def soak(server: Server, bundle: Path, name: str, seconds: float) -> dict[str, Any]:
    """Mixed traffic with faults: good requests that failed, and memory after a tenth of the time and at the end."""
    end = time.monotonic() + seconds
    failed: list[str] = []
    counts = {"good": 0, "faults": 0, "swaps": 0}
    lock = threading.Lock()
    want = server.ask()[1]

    def good() -> None:
        while time.monotonic() < end:
            try:
                status, answer = server.ask()
                problem = "" if status == 200 and answer["answer"].keys() == want["answer"].keys() else f"{status}"
            except Exception as error:
                problem = repr(error)
            with lock:
                counts["good"] += 1
                if problem:
                    failed.append(problem)

    def faults() -> None:
        head = f"POST {server.path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        hostile = [
            head,
            b"x\r\n\r\n",
            head + b"x: " + b"y" * 100_000,
            head + b"Content-Length: 90000000\r\n\r\n",
            head + b"Content-Length: 40\r\n\r\n{",
            head + b"Content-Length: 9\r\n\r\n[[[[[[[[[",
            head + b"Content-Length: 4000000\r\n\r\n" + b" " * 3_000_000,
            head + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n",
        ]
        while time.monotonic() < end:
            for data in hostile:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as killed:
                    killed.sendall(data)
                with lock:
                    counts["faults"] += 1
            time.sleep(0.05)

    def swaps() -> None:
        while time.monotonic() < end:
            again = bundle.with_suffix(".new")
            shutil.copy(bundle, again)
            again.replace(bundle)
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
                connection.request("POST", f"/v2/repository/models/{name}/load", b"{}", JSON)
                if connection.getresponse().status != 200:
                    failed.append("load")
            with lock:
                counts["swaps"] += 1
            time.sleep(0.5)

    threads = [threading.Thread(target=work) for work in (good, good, good, faults, swaps)]
    for one in threads:
        one.start()
    time.sleep(seconds / 10)
    early = server.memory()
    for one in threads:
        one.join()
    return counts | {"failed": len(failed), "first_failures": failed[:3], "memory_mb": [early, server.memory()]}


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    assert found is not None
    return float(found[1]) * UNITS[found[2]]


def contestants(args: argparse.Namespace) -> dict[str, tuple[list[str], str, str]]:
    """Commands that serve, the path to ask, and the text, by name."""
    found = {"gatework": ([*OURS, f"m={args.classifier}"], "/v1/models/m/predict", TEXTS["classify"])}
    if all(find_spec(name) for name in ("fastapi", "torch")):
        peer = [sys.executable, "-m", "benchmarks.rivals.fastapi_torch", str(args.classifier)]
        found["PyTorch behind FastAPI"] = (peer, "/predict", TEXTS["classify"])
    else:
        say("no fastapi, or no torch: no peer")
    if args.tagger:
        found["gatework, tagger"] = ([*OURS, f"m={args.tagger}"], "/v1/models/m/predict", TEXTS["tag"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path, required=True)
    parser.add_argument("--tagger", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--soak", type=float, default=0.0)
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
            for name, (command, path, text) in contestants(args).items():
                with started(command, path, text) as (server, cold):
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
        if args.soak:
            bundle = Path(folder) / "m.gw"
            shutil.copy(args.classifier, bundle)
            with started([*OURS, str(bundle)], "/v1/models/m/predict", TEXTS["classify"]) as (server, _):
                figures["soak"] = soak(server, bundle, "m", args.soak)
    for name, values in figures.items():
        told = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items())
        print(f"{name}: {', '.join(told)}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found | {"figures": figures}, indent=1) + "\n", encoding="utf-8")
    flat = "soak" not in figures or figures["soak"]["memory_mb"][1] <= FLAT * figures["soak"]["memory_mb"][0]
    return 0 if flat and not figures.get("soak", {}).get("failed") else 1


if __name__ == "__main__":
    sys.exit(main())
