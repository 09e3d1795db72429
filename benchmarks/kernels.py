"""Speed of one LSTM layer on ragged batches: Gatework, torch, ONNX Runtime, OpenVINO and JAX in turn, in the same run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.kernels --all          everything, CRF, steps and the tagger too, into benchmarks/README.md
    python -m benchmarks.kernels --quick        a few minutes' look, results/quick.json, tables to stdout

Eight shapes; lengths uniform in [0.2 T, T] (`shapes.py`); also full-length batches, and pools bucketed by length.
Before anything is timed its answers are held to torch in float64. The machine's peak is measured first, and again
before each measurement, which waits for a quiet moment. What a contestant lacks is skipped, with the reason printed.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.measure import say
from benchmarks.peers import PEERS, Call, Missing, Peer, errors, missing, oracle
from benchmarks.records import Results
from benchmarks.shapes import SHAPES, Case, Shape, cases

BUDGETS = {"float32": {"y": 2e-5, "gradient": 1e-4}, "bfloat16": {"y": 0.08, "gradient": 0.06}, "int8": {"y": 0.2}}
"""Errors above these mean a wrong answer, not rounding; what each contestant's error is stands in the results."""

RAGGED = ("inference float32", "inference bfloat16", "inference int8", "training float32", "training bfloat16")
MEASURES = (
    *((kind, "ragged") for kind in RAGGED),
    *((kind, "full") for kind in RAGGED),
    ("inference float32", "bucketed"),
    ("training float32", "bucketed"),
)
BUSY_SHAPE = Shape(100, 32, 256, 256)


@dataclass
class Entry:
    """A contestant ready to be timed."""

    run: Callable[[], object]
    error: dict[str, float]


class Stand:
    """The contestants of some frameworks, living in one process."""

    def __init__(self, frameworks: tuple[str, ...], threads: int) -> None:
        self.skipped: dict[str, str] = {}
        self.peers: list[Peer] = []
        self.entries: dict[str, Entry] = {}
        for kind in PEERS:
            if kind.framework in frameworks:
                try:
                    self.peers.append(kind(threads))
                except Missing as error:
                    self.skipped[kind.name] = str(error)

    def build(self, kind: str, lengths: str, shape: Shape, check: bool) -> tuple[dict[str, Any], dict[str, str]]:
        """Prepare every contestant that does this kind of work: errors by name, and why others are left out."""
        self.entries.clear()
        batches, left_out = cases(shape, lengths), dict(self.skipped)
        want = oracle(batches[0], kind) if check and lengths != "bucketed" else None
        for peer in self.peers:
            if kind not in peer.does or (lengths == "bucketed" and peer.framework in ("openvino", "jax")):
                continue
            try:
                calls = [peer.call(case, kind) for case in batches]
                found = {} if want is None else self._check(peer, kind, batches[0], calls[0], want)
            except Missing as error:
                left_out[peer.name] = str(error)
                continue
            self.entries[peer.name] = Entry(_together(calls), found)
        return {name: entry.error for name, entry in self.entries.items()}, left_out

    def burst(self, name: str) -> timing.Spent:
        """Seconds a call of one contestant."""
        return timing.burst(self.entries[name].run)

    def _check(self, peer: Peer, kind: str, case: Case, call: Call, want: Any) -> dict[str, float]:
        ragged = bool((case.lengths_B != case.shape.T).any())
        if peer.reads_padding and ragged and case.shape.D == 2:
            return {}
        found = errors(call.read(call.run()), want)
        for name, budget in BUDGETS[kind.split()[1]].items():
            if not found.get(name, 0.0) <= budget:
                raise Missing(f"WRONG in {kind}, {case.shape}: error of {name} {found[name]:.2g}, at most {budget}")
        return found


def _together(calls: list[Call]) -> Callable[[], object]:
    if len(calls) == 1:
        return calls[0].run
    return lambda: [call.run() for call in calls]


def compare(results: Results, threads: int, measures: Any, shapes: Any, seconds: float, patience: float) -> bool:
    """Time every contestant: with one thread in one process, with more a process for each framework.

    Returns: whether all answers were right.
    """
    frameworks = tuple(dict.fromkeys(peer.framework for peer in PEERS))
    for framework in frameworks:
        if reason := missing(framework):
            say(f"skipped: {framework}: {reason}")
    have = tuple(framework for framework in frameworks if not missing(framework))
    quiet = timing.Quiet(threads, patience)
    results.peak(threads, quiet.best)
    groups = [have] if threads == 1 else [(one,) for one in have]
    told: set[str] = set()
    for shape in shapes:
        with ExitStack() as stack:
            stands = [stack.enter_context(closing(timing.Remote(Stand, g, threads, threads=threads))) for g in groups]
            for kind, lengths in measures:
                errors_, bursts = {}, {}
                for stand in stands:
                    found, left_out = stand.call("build", kind, lengths, shape, threads == 1)
                    for name, reason in left_out.items():
                        if reason not in told:
                            say(f"skipped: {name}: {reason}")
                            told.add(reason)
                    errors_ |= found
                    bursts |= {name: functools.partial(stand.call, "burst", name) for name in found}
                if not bursts:
                    continue
                share = quiet.wait()
                timings = timing.interleave(bursts, seconds)
                work = sum(case.work(kind.startswith("training")) for case in cases(shape, lengths))
                for name, taken in timings.items():
                    results.add(f"{kind} {lengths}", threads, shape, name, taken, work, errors_[name], share)
                say(results.line(f"{kind} {lengths}", threads, shape))
        results.save()
    return not any(reason.startswith("WRONG") for reason in told)


def second_thread(results: Results, shapes: Any, seconds: float, patience: float) -> None:
    """Gatework's kernels with one thread and with two, in turn; then with a neighbour that keeps one core busy."""
    quiet = timing.Quiet(2, patience)
    with ExitStack() as stack:
        stands = {n: stack.enter_context(closing(timing.Remote(Stand, ("gatework",), n, threads=n))) for n in (1, 2)}
        for shape, kind, busy in (
            *((shape, kind, False) for shape in shapes for kind in ("inference float32", "training float32")),
            *((BUSY_SHAPE, kind, True) for kind in ("inference float32", "training float32")),
        ):
            bursts = {}
            for n, stand in stands.items():
                found, _ = stand.call("build", kind, "ragged", shape, False)
                bursts |= {_thread_name(n): functools.partial(stand.call, "burst", name) for name in found}
            if not bursts:
                continue
            share = quiet.wait()
            timings = timing.interleave(bursts, seconds)
            if busy:  # The neighbour slows one thread too; what counts is one thread with the machine to itself
                with neighbour():
                    timings |= timing.interleave({f"{_thread_name(2)}, neighbour": bursts[_thread_name(2)]}, seconds)
            work = cases(shape, "ragged")[0].work(kind.startswith("training"))
            for name, taken in timings.items():
                results.add(f"second thread, {kind}", 2, shape, name, taken, work, {}, share)
            say(results.line(f"second thread, {kind}", 2, shape))


def _thread_name(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="the CRF, single steps and the tagger too, then the report")
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not a result")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each group of contestants (default 4)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measures", nargs="+", help="only measures whose names hold one of these words")
    parser.add_argument("--shapes", type=int, nargs="+", help="only these shapes, counted from 0")
    parser.add_argument("--out", type=Path, help="results file, added to; default results/kernels.json")
    arguments = parser.parse_args()
    seconds, patience = (0.3, 0.0) if arguments.quick else (arguments.seconds, 15.0)
    results = Results(arguments.out or Results.path("quick" if arguments.quick else "kernels"))
    shapes = [SHAPES[i] for i in arguments.shapes] if arguments.shapes else SHAPES
    wanted = arguments.measures or [""]

    def chosen(name: str) -> bool:
        return any(word in name for word in wanted)

    right = True
    for threads in arguments.threads:
        measures = [one for one in MEASURES if chosen(" ".join(one)) and (threads == 1 or one[1] == "ragged")]
        right &= compare(results, threads, measures, shapes, seconds, patience)
    if max(arguments.threads) > 1 and chosen("second thread"):
        second_thread(results, shapes, seconds, patience)
    results.save()
    if not arguments.all:
        say(f"wrote {results.file}")
        return 0 if right else 1
    options = ["--quick"] if arguments.quick else ["--seconds", str(seconds)]
    for script in ("step", "train_step"):
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *options], check=True)
    subprocess.run([sys.executable, "-m", "benchmarks.install", *(["--quick"] if arguments.quick else [])], check=True)
    report = ["--quick"] if arguments.quick else ["--write"]
    subprocess.run([sys.executable, "-m", "benchmarks.speed_report", *report], check=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
