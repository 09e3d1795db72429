"""One step from Python, as streaming and decoding take it: T = 1, I = H, state carried, the whole call timed.

    python -m benchmarks.step [--quick]         results/step.json

Batch 1 for H from 64 to 1024, batches of 4, 8 and 16 (beams), and a character language model that writes. Before
timing, twenty steps of each contestant are held to float64. ONNX Runtime's binding has its input already in place.
B batch, I inputs, H units, V characters.
"""

from __future__ import annotations

import argparse
import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks import timing
from benchmarks.measure import say
from benchmarks.peers import Missing, missing, onnx_model, onnx_session, torch_lstm
from benchmarks.records import Results
from benchmarks.shapes import SEED, Case, Float32, Shape, cases

WIDTHS = (64, 128, 256, 512, 1024)
BEAMS = (4, 8, 16)
BEAM_WIDTHS = (128, 256, 512)
CHECKED, BUDGETS = 20, {"float32": 1e-5, "bfloat16": 0.03, "int8": 0.1}
EMBEDDING, UNITS, CHARACTERS, WRITTEN = 64, 256, 96, 200

Step = Callable[[Float32], Float32]
"""x (B, I) to h (B, H); the state stays inside."""


class Stepper(ABC):
    """One way to take a step."""

    name: ClassVar[str]
    framework: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("float32",)

    def __init__(self, case: Case, precision: str, threads: int) -> None:
        """Zero state. Raises: Missing: it cannot do this."""
        self.case, self.precision, self.threads = case, precision, threads
        _, self.B, self.I, self.H, _ = case.shape
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Load the weights."""

    @abstractmethod
    def timed(self, x_BI: Float32) -> Callable[[], Any]:
        """A call that takes a step on this input, as directly as the framework allows."""

    @abstractmethod
    def h_BH(self) -> Float32:
        """The output of the last step."""


class Gatework(Stepper):
    """`kernels.Stepper`; each step returns a new array."""

    name, framework = "gatework", "gatework"
    precisions = ("float32", "bfloat16", "int8")

    def prepare(self) -> None:
        from gatework import kernels

        packed = kernels.pack("lstm", self.case.weights[0]._asdict(), precision=self.precision)
        self.stepper = kernels.Stepper(packed, self.B)

    def timed(self, x_BI: Float32) -> Callable[[], Any]:
        return functools.partial(self.stepper.step, x_BI)

    def h_BH(self) -> Float32:
        return np.array(self.stepper.h_BH)


class TorchLSTM(Stepper):
    """`torch.nn.LSTM` on one step."""

    name, framework = "torch LSTM", "torch"
    precisions = ("float32", "bfloat16")

    def prepare(self) -> None:
        import torch

        torch.set_num_threads(self.threads)
        torch.set_grad_enabled(False)
        self.torch, self.dtype = torch, getattr(torch, self.precision)
        self.module = torch_lstm(torch.nn.LSTM, self.case, self.precision)
        self.state = tuple(torch.zeros(1, self.B, self.H, dtype=self.dtype) for _ in range(2))

    def timed(self, x_BI: Float32) -> Callable[[], Any]:
        x = self.torch.from_numpy(x_BI).to(self.dtype)[None]

        def run() -> None:
            _, self.state = self.module(x, self.state)

        return run

    def h_BH(self) -> Float32:
        return np.asarray(self.state[0].float().reshape(self.B, self.H))


class TorchCell(TorchLSTM):
    """`torch.nn.LSTMCell`."""

    name, precisions = "torch LSTMCell", ("float32",)

    def prepare(self) -> None:
        super().prepare()
        layer, self.module = self.module, self.torch.nn.LSTMCell(self.I, self.H)
        self.module.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
        self.state = tuple(part[0] for part in self.state)

    def timed(self, x_BI: Float32) -> Callable[[], Any]:
        x = self.torch.from_numpy(x_BI)

        def run() -> None:
            self.state = self.module(x, self.state)

        return run


class OnnxRun(Stepper):
    """An ONNX Runtime session's `run`, state passed back in."""

    name, framework = "ONNX Runtime run", "onnxruntime"
    precisions = ("float32", "int8")

    def prepare(self) -> None:
        model = onnx_model(self.case, int8=self.precision == "int8", lengths=False, state=True)
        self.session = onnx_session(model, self.threads)
        self.state = [np.zeros((1, self.B, self.H), dtype=np.float32) for _ in range(2)]

    def timed(self, x_BI: Float32) -> Callable[[], Any]:
        x, names = np.ascontiguousarray(x_BI[None]), ["h", "c"]

        def run() -> None:
            h, c = self.state
            self.state = self.session.run(names, {"X": x, "h0": h, "c0": c})

        return run

    def h_BH(self) -> Float32:
        return np.asarray(self.state[0][0])


class OnnxBinding(OnnxRun):
    """An ONNX Runtime session with inputs and outputs bound; two bindings hand the state to and fro."""

    name = "ONNX Runtime binding"

    def prepare(self) -> None:
        super().prepare()
        from onnxruntime import OrtValue

        self.x = np.zeros((1, self.B, self.I), dtype=np.float32)
        self.states = [[np.zeros((1, self.B, self.H), dtype=np.float32) for _ in range(2)] for _ in range(2)]
        x, y = OrtValue.ortvalue_from_numpy(self.x), np.zeros((1, 1, self.B, self.H), dtype=np.float32)
        values = [[OrtValue.ortvalue_from_numpy(part) for part in state] for state in self.states]
        self.bindings = []
        for before, after in (values, values[::-1]):
            binding = self.session.io_binding()
            for name, value in zip(("X", "h0", "c0"), (x, *before), strict=True):
                binding.bind_ortvalue_input(name, value)
            outputs = (OrtValue.ortvalue_from_numpy(y), *after)
            for name, value in zip(("Y", "h", "c"), outputs, strict=True):
                binding.bind_ortvalue_output(name, value)
            self.bindings.append(binding)
        self.values, self.turn = values, 0

    def timed(self, x_BI: Float32) -> Callable[[], Any]:
        self.x[0] = x_BI
        run_with, bindings = self.session.run_with_iobinding, self.bindings

        def run() -> None:
            run_with(bindings[self.turn])
            self.turn ^= 1

        return run

    def h_BH(self) -> Float32:
        return np.asarray(self.values[self.turn][0].numpy()[0])


STEPPERS: tuple[type[Stepper], ...] = (Gatework, TorchLSTM, TorchCell, OnnxRun, OnnxBinding)


def float64_steps(case: Case, x_NBI: Float32) -> Any:
    """h after steps on each input in turn, by the equation, in float64."""
    w, r, b = (np.asarray(part, dtype=np.float64) for part in case.weights[0])
    h = c = np.zeros((case.shape.B, case.shape.H))
    for x_BI in x_NBI:
        i, f, g, o = np.split(x_BI @ w.T + h @ r.T + b, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    return h


class Stand:
    """Every contestant in one process."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.runs: dict[str, Callable[[], Any]] = {}

    def build(self, shape: Shape) -> tuple[dict[str, float], dict[str, str]]:
        """Prepare and check everyone: errors by contestant, and why others are left out."""
        self.runs.clear()
        case = cases(shape, "full")[0]
        x_NBI = np.random.default_rng(SEED).normal(size=(CHECKED, shape.B, shape.I)).astype(np.float32)
        want, found, left_out = float64_steps(case, x_NBI), {}, {}
        for kind in STEPPERS:
            for precision in kind.precisions:
                name = f"{kind.name} {precision}"
                if reason := missing(kind.framework):
                    left_out[kind.framework] = reason
                    continue
                try:
                    stepper = kind(case, precision, self.threads)
                except Missing as error:
                    left_out[name] = str(error)
                    continue
                for x_BI in x_NBI:
                    stepper.timed(x_BI)()
                found[name] = float(np.abs(stepper.h_BH() - want).max())
                if not found[name] <= BUDGETS[precision]:
                    left_out[name] = f"WRONG at {shape}: error {found.pop(name):.2g}"
                    continue
                self.runs[name] = stepper.timed(x_NBI[0])
        return found, left_out

    def build_writers(self) -> tuple[dict[str, float], dict[str, str]]:
        """Prepare the writers of text."""
        from benchmarks.writing import writers

        self.runs, left_out = writers(self.threads)
        return dict.fromkeys(self.runs, 0.0), left_out

    def burst(self, name: str) -> timing.Spent:
        """Seconds a step of one contestant."""
        return timing.burst(self.runs[name])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not a result")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each group of contestants (default 4)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="results file, added to; default results/step.json")
    arguments = parser.parse_args()
    seconds, patience = (0.3, 0.0) if arguments.quick else (arguments.seconds, 15.0)
    results = Results(arguments.out or Results.path("quick" if arguments.quick else "step"))
    threads, quiet, told = arguments.threads, timing.Quiet(1, patience), set()
    results.peak(1, quiet.best)
    shapes = [Shape(1, 1, H, H) for H in WIDTHS] + [Shape(1, B, H, H) for B in BEAMS for H in BEAM_WIDTHS]
    with closing(timing.Remote(Stand, threads, threads=threads)) as stand:
        for shape in (*shapes, None):
            found, left_out = stand.call("build", shape) if shape else stand.call("build_writers")
            for name, reason in left_out.items():
                if reason not in told:
                    say(f"skipped: {name}: {reason}")
                    told.add(reason)
            if not found:
                continue
            what, case = ("step", f"B {shape.B}, H {shape.H}") if shape else ("writing", f"{WRITTEN} characters")
            share = quiet.wait()
            bursts = {name: functools.partial(stand.call, "burst", name) for name in found}
            for name, taken in timing.interleave(bursts, seconds).items():
                results.add(what, threads, case, name, taken, 0, {"y": found[name]} if shape else {}, share)
            say(results.line(what, threads, case))
    results.save()
    return 1 if any(reason.startswith("WRONG") for reason in told) else 0


if __name__ == "__main__":
    sys.exit(main())
