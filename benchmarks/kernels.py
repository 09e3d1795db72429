"""Speed of the sequence kernels beside `torch.nn`, forward, one thread: both directions of one layer, float32.

Each round runs every contestant once, in turn, on the same batch, so that whatever else the machine does meets them
all. Printed are medians, ratios of the medians, and the share of the machine's peak: multiply-adds in registers at our
level, the best of 20 tries at the start (a loaded machine gives less than that later on).

    python benchmarks/kernels.py [--rounds 200] [--cells lstm gru] [--levels]

Contestants: `ours` (packed once, as a model does when it opens), `torch packed` (`pack_padded_sequence`: the same
answers on ragged batches), `torch padded` (oneDNN where it is built in; computes on padding and, on ragged batches,
gives other answers in the backward direction: it is here for speed alone).
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from gatework import kernels
from gatework.cells import CELLS
from gatework.kernels import dispatch

CASES = {
    "one sentence": dict(B=1, shortest=20, T=20, I=128, H=128),
    "small batch": dict(B=8, shortest=10, T=40, I=128, H=128),
    "ragged batch": dict(B=32, shortest=5, T=60, I=128, H=128),
    "equal batch": dict(B=32, shortest=40, T=40, I=128, H=128),
    "wide": dict(B=32, shortest=20, T=40, I=256, H=256),
}
MODULES = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


def measured_peak() -> float:
    """GFLOP/s of multiply-adds in registers at the level in use: the best of 20 tries."""
    native, best = dispatch.extension(), 0.0
    for _ in range(20):
        start = time.perf_counter()
        operations = native.multiply_adds(kernels.level(), 400_000, 0.999)
        best = max(best, operations / (time.perf_counter() - start) / 1e9)
    return best


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def cell_weights(cell: str, module: torch.nn.RNNBase, suffix: str) -> dict[str, np.ndarray]:
    """torch's weights under the cell's names."""
    w, r, b, rb = (
        getattr(module, f"{part}_l0{suffix}").detach().numpy()
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if cell == "gru":
        return {"w_GI": w, "r_GH": r, "b_G": b, "rb_G": rb}
    return {"w_GI": w, "r_GH": r, "b_G": b + rb}


def contestants(cell: str, case: dict[str, int], levels: list[str]) -> tuple[dict[str, Callable[[], object]], int]:
    """Calls to be timed, and the floating-point operations of the products they all must do."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(case["shortest"], case["T"] + 1, size=case["B"])
    lengths[0] = case["T"]
    x = rng.normal(size=(case["T"], case["B"], case["I"])).astype(np.float32)
    module = MODULES[cell](case["I"], case["H"], bidirectional=True)
    x_torch, lengths_torch = torch.from_numpy(x), torch.from_numpy(lengths)

    def ours(level: str) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        packed = [kernels.pack(cell, cell_weights(cell, module, suffix), level=level) for suffix in ("", "_reverse")]

        def call() -> tuple[np.ndarray, np.ndarray]:
            forward, _ = kernels.sequence(cell, x, lengths, packed[0])
            backward, _ = kernels.sequence(cell, x, lengths, packed[1], reverse=True)
            return forward, backward

        return call

    def torch_packed() -> torch.Tensor:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x_torch, lengths_torch, enforce_sorted=False)
        return torch.nn.utils.rnn.pad_packed_sequence(module(packed)[0])[0]

    calls: dict[str, Callable[[], object]] = {f"ours {level}": ours(level) for level in levels}
    calls["torch packed"] = torch_packed
    calls["torch padded"] = lambda: module(x_torch)[0]
    for level in levels:
        error = np.abs(np.concatenate(ours(level)(), axis=2) - torch_packed().numpy()).max()
        assert error < 1e-5, f"{cell} at {level} differs from torch by {error}"
    gates = len(CELLS[cell].gates)
    return calls, int(lengths.sum()) * 2 * 2 * gates * case["H"] * (case["I"] + case["H"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--cells", nargs="+", choices=list(MODULES), default=["lstm", "gru"])
    parser.add_argument("--levels", action="store_true", help="every compiled level, not the fastest alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    peak = measured_peak()
    print(
        f"{platform.machine()}, torch {torch.__version__}, one thread, peak {peak:.0f} GFLOP/s, "
        f"level {kernels.level()}, medians of {options.rounds} rounds\n"
    )
    print("| cell | case | B x T, I, H | contestant | ms | beside ours | of peak |")
    print("|---|---|---|---|---:|---:|---:|")
    levels = kernels.levels()[1:] if options.levels else [kernels.level()]
    with torch.inference_mode():
        for cell in options.cells:
            for name, case in CASES.items():
                calls, work = contestants(cell, case, levels)
                taken: dict[str, list[float]] = {key: [] for key in calls}
                for _ in range(options.rounds):
                    for key, call in calls.items():
                        taken[key].append(_seconds(call))
                median = {key: float(np.median(times)) for key, times in taken.items()}
                sizes = f"{case['B']} x {case['T']}, {case['I']}, {case['H']}"
                for key, seconds in median.items():
                    ratio = seconds / median[f"ours {levels[-1]}"]
                    print(
                        f"| {cell} | {name} | {sizes} | {key} | {seconds * 1e3:.3f} | {ratio:.2f} "
                        f"| {work / seconds / 1e9 / peak:.0%} |"
                    )


if __name__ == "__main__":
    main()
