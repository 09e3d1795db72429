"""How speed and quality are measured, the same for every competitor. Standard library only.

Latency: one text a call, in a process of its own held to one thread, over many different 20-token sentences.
Cold start: from nothing to one answer, median over processes, after a first, unmeasured one that warms the page cache.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLD_STARTS = 7
WARM_UP, TIMED = 200, 2000

ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}


def accuracy(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of answers that are right."""
    return sum(a == b for a, b in zip(truth, predicted, strict=True)) / len(truth)


def f1(truth: Sequence[str], predicted: Sequence[str], positive: str) -> float:
    """Harmonic mean of precision and recall of one label; 0 where it was neither present nor predicted."""
    hits = sum(a == b == positive for a, b in zip(truth, predicted, strict=True))
    total = sum(a == positive for a in truth) + sum(b == positive for b in predicted)
    return 2 * hits / total if total else 0.0


def latencies(answer: Callable[[str], object], texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds a call: median and 99th percentile over `TIMED` calls that go round the texts."""
    for number in range(WARM_UP):
        answer(texts[number % len(texts)])
    spent = []
    for number in range(TIMED):
        text = texts[number % len(texts)]
        start = time.perf_counter_ns()
        answer(text)
        spent.append(time.perf_counter_ns() - start)
    spent.sort()
    return {"p50": spent[len(spent) // 2] / 1e6, "p99": spent[int(len(spent) * 0.99)] / 1e6}


def latency_process(command: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """`latencies` measured by a child with one thread; the child reads the texts as JSON and prints the result."""
    done = subprocess.run(
        command, input=json.dumps(list(texts)), capture_output=True, text=True, check=True, env=os.environ | ONE_THREAD
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def latency_child(answer: Callable[[str], object]) -> None:
    """The child's side of `latency_process`."""
    print(json.dumps(latencies(answer, json.load(sys.stdin))))


def cold_start(command: Sequence[str], runs: int = COLD_STARTS) -> float:
    """Median seconds of a whole process, after one unmeasured run."""
    spent = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


def machine() -> dict[str, Any]:
    """What the figures were measured on, with the load at this moment: a busy machine spoils timings."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        cpu = named.group(1) if named else cpu
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def write(out: Path, system: str, name: str, figures: Mapping[str, Any]) -> None:
    """Append one result as a JSON line, with machine, date and the command that made it."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    arguments = ["python", "-m", main.name] if main else [Path(sys.argv[0]).name]
    record = {"system": system, "set": name, **figures, "machine": machine()}
    record |= {"date": datetime.date.today().isoformat(), "command": shlex.join(arguments + sys.argv[1:])}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
