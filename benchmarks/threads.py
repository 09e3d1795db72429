"""What a second thread gives the sequence kernels: on a quiet machine, beside a busy process, on one processor.

    python -m benchmarks.threads [--repeats 3] [--rounds 15] [--json FILE]

Three conditions, each in a process of its own and in turn, `--repeats` times over:

- quiet: nothing is started beside it. What else the machine did is measured and printed: figures taken while other
  programs used a processor are no quiet figures.
- busy: one process that only counts, on any processor.
- stacked: both threads may use one and the same processor. Two threads cannot be faster there; they must not be much
  slower, as they are where waiting threads spin.

In each process one and two threads take turns on the same batch. A ratio is one thread's time over two threads' time:
2 is the best there is. `over quiet` sets two threads against the median of one thread on the quiet machine, by the
median and by the mean of the times. Lengths are uniform in [0.2 T, T]. The work is the LSTM forward, and where the
kernels train, forward and backward.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import gatework as gw
from benchmarks.measure import machine, say
from gatework import kernels
from gatework.cells import CELLS
from gatework.kernels import dispatch

SHAPES = [(100, 32, 256, 256), (200, 64, 128, 128), (35, 20, 200, 200), (35, 20, 650, 650), (40, 32, 300, 512)]
CONDITIONS = ("quiet", "busy", "stacked")
NEIGHBOUR = "while True: pass"


def lstm_calls(shape: tuple[int, int, int, int]) -> dict[str, Callable[[], object]]:
    """The work at one shape (T, B, I, H), by name."""
    T, B, I, H = shape  # noqa: E741
    rng = np.random.default_rng(1)
    lengths = rng.integers(max(1, T // 5), T + 1, size=B)
    lengths[0] = T

    def floats(*size: int) -> np.ndarray:
        return rng.uniform(-1, 1, size=size).astype(np.float32) / np.float32(np.sqrt(size[-1]))

    params = CELLS["lstm"].Params(floats(4 * H, I), floats(4 * H, H), floats(4 * H))
    x = floats(T, B, I)
    packed = kernels.pack("lstm", params)
    calls: dict[str, Callable[[], object]] = {"forward": lambda: kernels.sequence("lstm", x, lengths, packed)}
    if hasattr(kernels, "recurrent_forward"):
        dy = floats(T, B, H)

        def train() -> object:
            _, _, tape = kernels.recurrent_forward("lstm", x, lengths, [params], [None])
            return kernels.recurrent_backward("lstm", tape, x, lengths, [params], [None], dy, [None])

        calls["training"] = train
    return calls


def _others(start: tuple[float, float, float]) -> float:
    """Processors that other processes used since `start`, on average."""
    now = _usage()
    wall = now[0] - start[0]
    return max(0.0, (now[1] - start[1]) - (now[2] - start[2])) / wall


def _usage() -> tuple[float, float, float]:
    """Wall time, all processors' busy time where the system tells, and this process's own."""
    total = 0.0
    if Path("/proc/stat").exists():
        user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        total = sum(map(int, (user, nice, system, *rest[:3]))) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), total, time.process_time()


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds of each call by number of threads, and what the machine did meanwhile."""
    pool = dispatch.extension().threads
    start = _usage()
    gw.set_threads(2)
    awake, asleep = [], []
    for _ in range(50):
        one = pool.seconds(200, 1, 5000)
        awake.append((pool.seconds(200, 2, 5000) - one) / 200)
        time.sleep(0.002)
        one = pool.seconds(1, 1, 20000)
        asleep.append(pool.seconds(1, 2, 20000) - one)
    times: dict[str, dict[str, list[float]]] = {}
    for shape in SHAPES:
        for name, call in lstm_calls(shape).items():
            taken: dict[str, list[float]] = {"1": [], "2": []}
            for round in range(rounds + 2):
                for threads in (1, 2):
                    gw.set_threads(threads)
                    begun = time.perf_counter()
                    call()
                    if round >= 2:
                        taken[str(threads)].append((time.perf_counter() - begun) * 1e3)
            times[f"{name} {shape}"] = taken
    latency = {"awake": statistics.median(awake) * 1e6, "asleep": statistics.median(asleep) * 1e6}
    return {"times": times, "latency_us": latency, "others": _others(start)}


@contextmanager
def neighbour(wanted: bool) -> Iterator[None]:
    """A busy process while the block runs."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", NEIGHBOUR])
    try:
        time.sleep(0.3)
        yield
    finally:
        process.kill()
        process.wait()


def _child(condition: str, rounds: int) -> dict[str, Any]:
    prefix = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " if condition == "stacked" else ""
    code = f"{prefix}import json; from benchmarks.threads import measure; print(json.dumps(measure({rounds})))"
    with neighbour(condition == "busy"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """The figures: medians over all rounds of all repeats."""

    def all_of(condition: str, work: str, threads: str) -> list[float]:
        return [one for run in runs[condition] for one in run["times"][work][threads]]

    lines = [
        "| work (T, B, I, H) | condition | 1 thread ms | 2 threads ms | ratio | by repeat | over quiet, median | mean |"
    ]
    lines.append("|---|---|---:|---:|---:|---|---:|---:|")
    overall: dict[str, list[tuple[float, float, float]]] = {condition: [] for condition in runs}
    median = statistics.median
    for work in runs["quiet"][0]["times"]:
        quiet = median(all_of("quiet", work, "1"))
        for condition, repeats in runs.items():
            one, two = all_of(condition, work, "1"), all_of(condition, work, "2")
            each = [median(run["times"][work]["1"]) / median(run["times"][work]["2"]) for run in repeats]
            ratios = median(one) / median(two), quiet / median(two), quiet / statistics.mean(two)
            overall[condition].append(ratios)
            lines.append(
                f"| {work} | {condition} | {median(one):.2f} | {median(two):.2f} | {ratios[0]:.2f} "
                f"| {' '.join(f'{ratio:.2f}' for ratio in each)} | {ratios[1]:.2f} | {ratios[2]:.2f} |"
            )
    for condition, ratios_all in overall.items():
        means = [statistics.geometric_mean(column) for column in zip(*ratios_all, strict=True)]
        lines.append(f"| geometric mean | {condition} | | | {means[0]:.2f} | | {means[1]:.2f} | {means[2]:.2f} |")
    return "\n".join(lines)


def saw(runs: dict[str, list[dict[str, Any]]]) -> str:
    """What the machine did besides, and what a region costs."""
    lines = []
    for condition, repeats in runs.items():
        others = ", ".join(f"{run['others']:.2f}" for run in repeats)
        awake, asleep = (statistics.median(run["latency_us"][key] for run in repeats) for key in ("awake", "asleep"))
        lines.append(
            f"{condition}: other processes used {others} processors; "
            f"two parts of 5,000 turns take {awake:.2f} us more than one; "
            f"of 20,000, with the thread asleep, {asleep:.1f} us more"
        )
    if max(run["others"] for run in runs["quiet"]) > 0.1:
        lines.append("The machine was NOT quiet: `quiet` means only that nothing was started on purpose.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    conditions = [one for one in CONDITIONS if one != "stacked" or hasattr(os, "sched_setaffinity")]
    runs: dict[str, list[dict[str, Any]]] = {condition: [] for condition in conditions}
    for repeat in range(options.repeats):
        for condition in conditions:
            say(f"repeat {repeat + 1} of {options.repeats}: {condition}")
            runs[condition].append(_child(condition, options.rounds))
    print(f"{machine()}, level {kernels.level()}\n\n{table(runs)}\n\n{saw(runs)}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "runs": runs}), encoding="utf-8")


if __name__ == "__main__":
    main()
