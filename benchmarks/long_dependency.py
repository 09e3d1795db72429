"""How far back RNN, GRU and LSTM carry what they saw: three classic problems at growing lags, and gradients by lag.

    python -m benchmarks.long_dependency                 all of it, into docs/long-dependencies.md and its plot
    python -m benchmarks.long_dependency --quick         a minute's look, table to stdout alone

A network starts at the shortest lag. When it solves a lag it goes on, with its weights, to the next; when it has not
solved one within the steps allowed, it stops there. Every cell gets the same units, steps, batches and seeds. It
tries the same learning rates in turn until one takes it through every lag; the one that took it farthest counts.

B sequences, T time, I inputs, H units.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.nn import RecurrentStack

CELLS = ("rnn", "gru", "lstm")
UNITS, BATCH, TESTED, GRADIENT_LAGS = 64, 64, 1000, 200
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
DOCS = Path(__file__).resolve().parent.parent / "docs"


class Examples(NamedTuple):
    """A batch of one problem."""

    x_BTI: Tensor
    lengths_B: Tensor
    target_B: Tensor
    """The number or class that asks for what was seen `lag` steps before."""
    next_BT: Tensor | None = None
    """Classes to predict at every other step, -100 where there is none."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One of the three."""

    name: str
    inputs: int
    outputs: int
    draw: Callable[[int, int, np.random.Generator], Examples]
    chance: float
    """Score of the best guess that looks at nothing."""
    classes: tuple[int, ...] = ()
    """Classes that compete for the target; none for a regression."""


def adding(batch: int, lag: int, rng: np.random.Generator) -> Examples:
    """Each step shows a number in [0, 1) and a mark; the target is the sum of the two marked numbers.

    One mark is in the first tenth, the other before the middle. Source: Hochreiter and Schmidhuber, Neural Computation
    9(8), 1997, experiment 4, with targets as in Le, Jaitly and Hinton, arXiv:1504.00941.
    """
    x = np.zeros((batch, lag, 2), dtype=np.float32)
    x[:, :, 0] = rng.random((batch, lag))
    early = max(1, lag // 10)
    rows = np.arange(batch)
    x[rows, rng.integers(0, early, batch), 1] = 1.0
    x[rows, rng.integers(early, max(early + 1, lag // 2), batch), 1] = 1.0
    return _examples(x, np.full(batch, lag), (x[:, :, 0] * x[:, :, 1]).sum(1))


def temporal_order(batch: int, lag: int, rng: np.random.Generator) -> Examples:
    """Two of the symbols are X or Y, the rest noise of four others; the target is which of XX, XY, YX, YY.

    Source: Hochreiter and Schmidhuber 1997, experiment 6a: the two stand in the second and in the sixth tenth.
    """
    symbols = rng.integers(2, 6, (batch, lag))
    rows, tenth = np.arange(batch), max(1, lag // 10)
    first, second = rng.integers(0, 2, batch), rng.integers(0, 2, batch)
    symbols[rows, tenth + rng.integers(0, tenth, batch)] = first
    symbols[rows, 5 * tenth + rng.integers(0, tenth, batch)] = second
    return _examples(np.eye(6, dtype=np.float32)[symbols], np.full(batch, lag), 2 * first + second)


REBER = "BTPSXVE"
GRAPH = {0: "B1 B1", 1: "T2 P3", 2: "S2 X4", 3: "T3 V5", 4: "X3 S6", 5: "P4 V6", 6: "E0 E0"}
"""From each state, two ways: a symbol and the next state. The second way of 2 to 5 leads out the soonest."""


def embedded_reber(batch: int, lag: int, rng: np.random.Generator) -> Examples:
    """B, then T or P, then Reber strings of at least `lag` symbols in all, then the same T or P again, then E.

    Everything in between can be guessed from the last few symbols; the second T or P cannot. Source: Hochreiter and
    Schmidhuber 1997, experiment 1 (Smith and Zipser; Fahlman), the inner part made longer.
    """
    ways = np.array([[(REBER.index(way[0]), int(way[1])) for way in GRAPH[s].split()] for s in sorted(GRAPH)])
    state, going = np.zeros(batch, dtype=np.int64), np.ones(batch, dtype=bool)
    outer = rng.integers(0, 2, batch)
    columns, lengths = [np.full(batch, REBER.index("B")), 1 + outer], np.full(batch, 2)
    for step in itertools.count(1):
        chosen = np.where(step < lag, rng.integers(0, 2, batch), 1)
        symbol, state = ways[state, chosen].T
        columns.append(np.where(going, symbol, 0))
        lengths += going
        going &= (step < lag) | (state != 0)
        if not going.any():
            break
    symbols = np.stack(columns, 1)
    next_BT = np.full(symbols.shape, -100)
    next_BT[:, :-1] = symbols[:, 1:]
    next_BT[np.arange(symbols.shape[1]) >= lengths[:, None] - 1] = -100
    return _examples(np.eye(7, dtype=np.float32)[symbols], lengths, 1 + outer, next_BT)


def _examples(
    x: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.integer],
    target: npt.NDArray[np.generic],
    next_BT: npt.NDArray[np.integer] | None = None,
) -> Examples:
    following = None if next_BT is None else torch.from_numpy(next_BT)
    return Examples(torch.from_numpy(x), torch.from_numpy(lengths), torch.from_numpy(target), following)


PROBLEMS = (
    # The sum of two uniform numbers lies within 0.1 of 1 with probability 0.19.
    Problem(name="adding", inputs=2, outputs=1, draw=adding, chance=0.19),
    Problem(name="temporal order", inputs=6, outputs=4, draw=temporal_order, chance=0.25, classes=(0, 1, 2, 3)),
    Problem(name="embedded Reber", inputs=7, outputs=7, draw=embedded_reber, chance=0.5, classes=(1, 2)),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is tried."""

    lags: tuple[int, ...]
    steps: int
    """Steps allowed at each lag."""
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    solved: float = 0.95
    """Share of test sequences answered right that counts as solved."""
    every: int = 50
    """Steps between tests."""


FULL = Plan(lags=(10, 20, 40, 80, 160, 320), steps=800, rates=(0.01, 0.001), seeds=(1, 2))
QUICK = Plan(lags=(10, 20), steps=150, rates=(0.01,), seeds=(1,))


class Network(nn.Module):
    """One recurrent layer and a linear head at every step."""

    def __init__(self, cell: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stack = RecurrentStack(cell, inputs, UNITS)
        self.head = nn.Linear(UNITS, outputs)

    def forward(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """Outputs at the last step, (B, O), and at every step, (B, T, O)."""
        y_BTH, _ = self.stack(examples.x_BTI, lengths_B=examples.lengths_B)
        out_BTO = self.head(y_BTH)
        return out_BTO[torch.arange(len(out_BTO)), examples.lengths_B - 1], out_BTO


def loss_of(problem: Problem, network: Network, examples: Examples) -> Tensor:
    """Squared error or cross-entropy of the target, and of every next symbol where there are such."""
    last_BO, out_BTO = network(examples)
    if not problem.classes:
        return nn.functional.mse_loss(last_BO[:, 0], examples.target_B)
    loss = nn.functional.cross_entropy(last_BO, examples.target_B)
    if examples.next_BT is not None:
        loss = loss + nn.functional.cross_entropy(out_BTO.flatten(0, 1), examples.next_BT.flatten())
    return loss


@torch.no_grad()
def score_of(problem: Problem, network: Network, lag: int) -> float:
    """Share of fresh sequences answered right: the likeliest of the competing classes, or within 0.1 of the sum."""
    examples = problem.draw(TESTED, lag, np.random.default_rng([lag, 99]))
    last_BO, _ = network(examples)
    if not problem.classes:
        return float(((last_BO[:, 0] - examples.target_B).abs() < 0.1).float().mean())
    classes = torch.tensor(problem.classes)
    return float((classes[last_BO[:, classes].argmax(1)] == examples.target_B).float().mean())


class Climb(NamedTuple):
    """How far one network came."""

    cell: str
    problem: str
    rate: float
    seed: int
    scores: dict[int, float]
    """Test score at each lag tried."""
    steps: dict[int, int]
    seconds: float
    gradients: list[float]
    """As `gradient_by_lag`, of the trained network on sequences of its problem."""

    def reached(self, solved: float) -> tuple[int, float]:
        """Longest lag solved (0 for none), then the score at the next: better is larger."""
        longest = max((lag for lag, score in self.scores.items() if score >= solved), default=0)
        return longest, list(self.scores.values())[-1]


def climb(cell: str, problem: Problem, seed: int, plan: Plan) -> Climb:
    """The farthest climb of any learning rate."""
    climbs: list[Climb] = []
    for rate in plan.rates:
        climbs.append(climb_at(cell, problem, rate, seed, plan))
        if climbs[-1].reached(plan.solved)[0] == plan.lags[-1]:
            break
    return max(climbs, key=lambda one: one.reached(plan.solved))


def climb_at(cell: str, problem: Problem, rate: float, seed: int, plan: Plan) -> Climb:
    """Train one network from lag to lag until it fails one."""
    torch.manual_seed(seed)
    rng, start = np.random.default_rng(seed), time.perf_counter()
    network = Network(cell, problem.inputs, problem.outputs)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
    scores: dict[int, float] = {}
    steps: dict[int, int] = {}
    for lag in plan.lags:
        scores[lag], steps[lag] = _train(network, optimiser, problem, lag, rng, plan)
        if scores[lag] < plan.solved:
            break
    seconds = time.perf_counter() - start
    x_BTI = problem.draw(16, GRADIENT_LAGS, np.random.default_rng(seed)).x_BTI[:, :GRADIENT_LAGS]
    return Climb(cell, problem.name, rate, seed, scores, steps, seconds, gradient_by_lag(network.stack, x_BTI))


def _train(
    network: Network,
    optimiser: torch.optim.Optimizer,
    problem: Problem,
    lag: int,
    rng: np.random.Generator,
    plan: Plan,
) -> tuple[float, int]:
    """Train at one lag until solved. Returns the best score and the steps taken."""
    best = 0.0
    for step in range(1, plan.steps + 1):
        optimiser.zero_grad()
        loss_of(problem, network, problem.draw(BATCH, lag, rng)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step % plan.every == 0:
            best = max(best, score_of(problem, network, lag))
            if best >= plan.solved:
                return best, step
    return best, plan.steps


def gradient_by_lag(stack: RecurrentStack, x_BTI: Tensor) -> list[float]:
    """log10 of the norm of d (a sum of outputs at the last step) / d (the input `lag` steps before), lag 0 being 0.

    In float64, with random signs in the sum; the mean over sequences.
    """
    exact = copy.deepcopy(stack).double()
    x_BTI = x_BTI.double().requires_grad_()
    y_BTH, _ = exact(x_BTI)
    signs_H = torch.randn(UNITS, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).sign()
    (gradient_BTI,) = torch.autograd.grad((y_BTH[:, -1] * signs_H).sum(), x_BTI)
    norm_BT = gradient_BTI.norm(dim=2).flip(1).clamp(min=1e-300)
    return [round(value, 3) for value in torch.log10(norm_BT / norm_BT[:, :1]).mean(0).tolist()]


def gradients_at_start(cell: str, seeds: Sequence[int]) -> list[float]:
    """`gradient_by_lag` of the weights a network begins with, on normal noise; mean over seeds."""
    curves = []
    for seed in seeds:
        torch.manual_seed(seed)
        curves.append(gradient_by_lag(RecurrentStack(cell, 8, UNITS), torch.randn(16, GRADIENT_LAGS, 8)))
    return [round(float(value), 3) for value in np.mean(curves, axis=0)]


def run(plan: Plan, workers: int) -> list[Climb]:
    """Every cell on every problem, from every seed."""
    # The longest climbs first, so that no worker is left alone with one at the end.
    jobs = [(cell, problem, seed, plan) for cell in reversed(CELLS) for problem in PROBLEMS for seed in plan.seeds]
    context = multiprocessing.get_context("spawn")
    results = []
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        for result in pool.map(climb, *zip(*jobs, strict=True)):
            scores = ", ".join(f"{lag}: {100 * score:.1f} %" for lag, score in result.scores.items())
            say(f"{result.cell:5}{result.problem:16}seed {result.seed}, rate {result.rate}: {scores}")
            results.append(result)
    return results


def table(results: Sequence[Climb], plan: Plan) -> str:
    """Markdown: the score of each cell at each lag, and the longest lag solved."""
    head = ["problem", "cell", *(f"lag {lag}" for lag in plan.lags), "longest solved", "steps"]
    lines = [" | ".join(head), " | ".join(["---"] * 2 + ["---:"] * (len(head) - 2))]
    for problem, cell in itertools.product(PROBLEMS, CELLS):
        own = [r for r in results if (r.problem, r.cell) == (problem.name, cell)]
        cells = [_scores([r.scores[lag] for r in own if lag in r.scores], len(own)) for lag in plan.lags]
        longest = ", ".join(str(r.reached(plan.solved)[0] or "none") for r in own)
        steps = sum(sum(r.steps.values()) for r in own) // len(own)
        lines.append(" | ".join([problem.name, cell, *cells, longest, str(steps)]))
    return "\n".join(f"| {line} |" for line in lines)


def _scores(scores: Sequence[float], seeds: int) -> str:
    if not scores:
        return "–"
    share = "" if len(scores) == seeds else f" ({len(scores)} of {seeds})"
    return f"{100 * sum(scores) / len(scores):.1f} %{share}"


def plot(results: Sequence[Climb], gradients: dict[str, list[float]], plan: Plan, path: Path) -> None:
    """Four panels: gradient norm by lag, and the score by lag of each problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.8), constrained_layout=True)
    colours = dict(zip(CELLS, ("#c0392b", "#7f8c8d", "#1f5fa8"), strict=True))
    markers = dict(zip(CELLS, ("s", "^", "o"), strict=True))
    for cell, curve in gradients.items():
        axes[0].plot(curve, color=colours[cell], label=cell)
        axes[0].plot(_after(results, cell), color=colours[cell], linestyle="--")
    axes[0].plot([], [], color="black", linestyle="--", label="trained")
    axes[0].set(title="gradient by lag", xlabel="lag (steps)", ylabel="log10 of norm, 0 at lag 0")
    axes[0].legend(frameon=False, loc="lower left")
    for panel, problem in zip(axes[1:], PROBLEMS, strict=True):
        panel.axhline(100 * problem.chance, color="#bbbbbb", linestyle=":", label="guessing")
        panel.axhline(100 * plan.solved, color="#bbbbbb", linewidth=0.8)
        for cell in CELLS:
            own = [r for r in results if (r.problem, r.cell) == (problem.name, cell)]
            lags = [lag for lag in plan.lags if any(lag in r.scores for r in own)]
            means = [100 * float(np.mean([r.scores[lag] for r in own if lag in r.scores])) for lag in lags]
            panel.plot(lags, means, color=colours[cell], marker=markers[cell], label=cell)
        panel.set(title=problem.name, xlabel="lag (steps)", ylabel="right answers, %", ylim=(0, 104), xscale="log")
        panel.set_xticks(plan.lags, [str(lag) for lag in plan.lags])
        panel.minorticks_off()
        panel.legend(frameon=False, loc="lower left")
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write(
    folder: Path, results: Sequence[Climb], gradients: dict[str, list[float]], plan: Plan, seconds: float
) -> None:
    """The table between the marks of `long-dependencies.md`, the plot and the figures beside it."""
    path = folder / "long-dependencies.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n\n".join([table(results, plan), gradient_table(results, gradients), _where(plan, seconds)])
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    plot(results, gradients, plan, folder / "long-dependencies.png")
    record = {"plan": asdict(plan), "climbs": [_rounded(r) for r in results], "log10_gradient_by_lag": gradients}
    (folder / "long-dependencies.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


def gradient_table(results: Sequence[Climb], gradients: dict[str, list[float]]) -> str:
    """Markdown: gradient norms at some lags, before training and after it on temporal order."""
    lags = [20, 50, 100, 199]
    rows = [["gradient norm, 1 at lag 0", *(f"lag {lag}" for lag in lags)], ["---", *["---:"] * len(lags)]]
    for cell in CELLS:
        for when, curve in (("before training", gradients[cell]), ("trained", _after(results, cell))):
            rows.append([f"{cell}, {when}", *(f"10^{curve[lag]:.1f}" for lag in lags)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _after(results: Sequence[Climb], cell: str) -> list[float]:
    """Gradients of the networks trained on temporal order, mean over seeds."""
    own = [r.gradients for r in results if (r.problem, r.cell) == ("temporal order", cell)]
    return [float(value) for value in np.mean(own, axis=0)]


def _rounded(result: Climb) -> dict[str, object]:
    scores = {lag: round(score, 4) for lag, score in result.scores.items()}
    return {**result._asdict(), "scores": scores, "seconds": round(result.seconds, 1)}


def _where(plan: Plan, seconds: float) -> str:
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{seconds:.0f} s in all; {UNITS} units, batches of {BATCH}, at most {plan.steps} steps a lag, "
        f"learning rates {' and '.join(map(str, plan.rates))}, seeds {', '.join(map(str, plan.seeds))}."
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short lags, few steps; prints the table")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of long-dependencies.md")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    plan, start = QUICK if options.quick else FULL, time.perf_counter()
    gradients = {cell: gradients_at_start(cell, range(3)) for cell in CELLS}
    results = run(plan, options.workers)
    seconds = time.perf_counter() - start
    if options.quick:
        print(table(results, plan), gradient_table(results, gradients), _where(plan, seconds), sep="\n\n")
    else:
        write(options.out, results, gradients, plan, seconds)
        print(options.out / "long-dependencies.md")


if __name__ == "__main__":
    main()
