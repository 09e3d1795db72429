"""Tables, goals and the plot of the measured speeds, from `results/*.json` into `benchmarks/README.md`.

    python -m benchmarks.speed_report              tables to stdout
    python -m benchmarks.speed_report --write      into the README, and the plot beside the results

A ratio says how many times faster Gatework is than the peer in the same run; ratios of several shapes are joined by
their geometric mean.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import retrain
from benchmarks.records import FOLDER, Results, seconds
from benchmarks.timing import geomean

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"

PEERS = ("torch packed", "torch padded", "ONNX Runtime", "OpenVINO padded", "JAX")
KINDS = ("inference float32", "inference bfloat16", "inference int8", "training float32", "training bfloat16")
CONTESTANTS = ("gatework", "gatework.nn", *PEERS)


class Files(NamedTuple):
    """The measured files."""

    kernels: Results
    step: Results
    train_step: Results
    install: Results
    recipes: tuple[retrain.Figures, retrain.Figures] = ({}, {})
    """Before and after."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One figure, with the least that is wanted and what is aimed at."""

    title: str
    floor: float
    target: float
    value: Callable[[Files], float | None]
    show: Callable[[float], str] = lambda value: f"{value:.2f}"
    lower_is_better: bool = False

    def row(self, files: Files) -> list[str]:
        """Title, floor, target, measured, verdict."""
        value = self.value(files)
        shown = [self.title, self.show(self.floor), self.show(self.target)]
        return [*shown, "not measured", ""] if value is None else [*shown, self.show(value), self.verdict(value)]

    def verdict(self, value: float) -> str:
        """target, floor, or below the floor."""
        sign = -1 if self.lower_is_better else 1
        if sign * value >= sign * self.target:
            return "target"
        return "floor" if sign * value >= sign * self.floor else "**below the floor**"


def _over(
    kind: str, rival: str | Sequence[str], lengths: str = "ragged", threads: int = 1, ours: str = "gatework"
) -> Any:
    return lambda files: files.kernels.mean_ratio(f"{kind} {lengths}", threads, rival, ours)


def _least(kind: str, rival: Sequence[str]) -> Any:
    def value(files: Files) -> float | None:
        found = files.kernels.ratios(f"{kind} ragged", 1, rival)
        return min(found.values()) if found else None

    return value


def _error(kind: str, name: str) -> Any:
    return lambda files: files.kernels.worst_error(f"{kind} ragged", 1, "gatework", name)


def _int8_error(files: Files) -> float | None:
    """The largest over the shapes of our error over ONNX Runtime's."""
    what, found = "inference int8 ragged", []
    for case in files.kernels.cases(what, 1):
        ours, theirs = (files.kernels.of(what, 1, case).get(name, {}).get("error") for name in ("gatework", PEERS[2]))
        if ours and theirs:
            found.append(ours["y"] / theirs["y"])
    return max(found) if found else None


def _step(precision: str, units: int) -> Any:
    def value(files: Files) -> float | None:
        record = files.step.of("step", 1, f"B 1, H {units}").get(f"gatework {precision}")
        return files.step.time(record) if record else None

    return value


def _train_step(what: str, tags: int, rival: str) -> Any:
    return lambda files: files.train_step.ratios(what, 1, rival).get(f"{tags} tags")


def _second_thread(kinds: Iterable[str], contestant: str, figure: str) -> Any:
    def value(files: Files) -> float | None:
        found = []
        for kind in kinds:
            for case in files.kernels.cases(f"second thread, {kind}", 2):
                have = files.kernels.of(f"second thread, {kind}", 2, case)
                if "one thread" in have and contestant in have and not case.startswith("(100, 1,"):
                    found.append(have["one thread"]["seconds"] / have[contestant][figure])
        return geomean(found) if found else None

    return value


def _steps(precision: str, wanted: dict[int, tuple[float, float]]) -> Iterable[Goal]:
    for units, (floor, target) in wanted.items():
        yield Goal(title=f"one step from Python, {precision}, H = {units}", floor=floor * 1e-6, target=target * 1e-6,
                   value=_step(precision, units), show=seconds, lower_is_better=True)  # fmt: skip


def _latency(files: Files) -> float | None:
    """The median over the retrained recipes, seconds."""
    found = [figures["latency_ms"]["p50"] / 1e3 for figures in files.recipes[1].values()]
    return statistics.median(found) if found else None


def _wheel(files: Files) -> float | None:
    size = files.install.about.get("wheel_bytes")
    return size / 1e6 if size else None


def _install(files: Files) -> float | None:
    record = files.install.of("install from source", 1, "whole").get("gatework")
    return record["seconds"] if record else None


def _two_digits(value: float) -> str:
    return f"{value:.2g}"


BOTH = ("inference float32", "training float32")
GOALS: tuple[Goal, ...] = (
    Goal(title="fp32 training over torch packed", floor=3.5, target=4.5, value=_over("training float32", PEERS[0])),
    Goal(title="fp32 training over torch padded", floor=1.9, target=2.3, value=_over("training float32", PEERS[1])),
    Goal(title="fp32 training over torch packed, 2 threads", floor=3.6, target=4.5,
         value=_over("training float32", PEERS[0], threads=2)),
    Goal(title="fp32 training over torch padded, 2 threads", floor=1.8, target=2.2,
         value=_over("training float32", PEERS[1], threads=2)),
    Goal(title="bf16 training over torch bf16 padded", floor=2.0, target=2.6,
         value=_over("training bfloat16", PEERS[1])),
    Goal(title="bf16 training, largest gradient error", floor=4e-3, target=4e-3, lower_is_better=True,
         value=_error("training bfloat16", "gradient"), show=_two_digits),
    Goal(title="fp32 inference over torch packed", floor=2.6, target=3.0, value=_over("inference float32", PEERS[0])),
    Goal(title="fp32 inference over the best peer of each shape", floor=1.55, target=1.75,
         value=_over("inference float32", PEERS)),
    Goal(title="fp32 inference, the least over the best peer", floor=1.35, target=1.35,
         value=_least("inference float32", PEERS)),
    Goal(title="bf16 inference over the best peer", floor=1.65, target=1.9, value=_over("inference bfloat16", PEERS)),
    Goal(title="int8 inference over ONNX Runtime int8 with lengths", floor=2.0, target=2.5,
         value=_over("inference int8", PEERS[2])),
    Goal(title="int8 error over that of ONNX Runtime int8, the worst shape", floor=1.0, target=1.0, value=_int8_error,
         lower_is_better=True),
    Goal(title="full length, fp32 inference over the best peer", floor=1.0, target=1.15,
         value=_over("inference float32", PEERS, "full")),
    Goal(title="full length, bf16 inference over the best peer", floor=1.1, target=1.25,
         value=_over("inference bfloat16", PEERS, "full")),
    Goal(title="full length, int8 inference over the best peer", floor=1.3, target=1.6,
         value=_over("inference int8", PEERS, "full")),
    Goal(title="full length, fp32 training over the best peer", floor=1.15, target=1.35,
         value=_over("training float32", PEERS, "full")),
    *_steps("float32", {64: (1.2, 0.9), 128: (3, 2.5), 256: (22, 20)}),
    *_steps("int8", {64: (0.6, 0.4), 128: (1.3, 1.0), 256: (3.5, 2.8), 512: (24, 12), 1024: (100, 80)}),
    *(Goal(title=f"CRF {what}, {tags} tags, over pytorch-crf", floor=floor, target=target,
           value=_train_step(what, tags, "pytorch-crf"), show=lambda value: f"{value:.0f}")
      for what, floor, target in (("viterbi", 40, 60), ("loss and gradients", 60, 100)) for tags in (20, 60)),
    *(Goal(title=f"tagger, whole training step, {tags} tags, over torch packed + pytorch-crf", floor=floor,
           target=target, value=_train_step("training step", tags, "torch packed"))
      for tags, floor, target in ((20, 3, 4), (60, 4, 5))),
    Goal(title="second thread over one, quiet (batches above one)", floor=1.6, target=1.85,
         value=_second_thread(BOTH, "2 threads", "seconds")),
    Goal(title="two threads beside a busy neighbour over one thread alone, mean", floor=0.85, target=0.9,
         value=_second_thread(BOTH, "2 threads, neighbour", "mean")),
    Goal(title="classifier, 20-token sentence from Python, p50 (median of the recipes)", floor=150e-6, target=50e-6,
         value=_latency, show=seconds, lower_is_better=True),
    Goal(title="wheel, MB", floor=6, target=4, value=_wheel, lower_is_better=True),
    Goal(title="install from source", floor=120, target=60, value=_install, show=seconds, lower_is_better=True),
)  # fmt: skip


def goals(files: Files) -> list[str]:
    """Every goal beside what was measured."""
    return ["### Goals", "", *table(["measure", "floor", "target", "measured", "reached"],
                                    [goal.row(files) for goal in GOALS])]  # fmt: skip


def speeds(results: Results, what: str, threads: int) -> list[str]:
    """Useful GFLOP/s of every contestant by shape, the best bold; then the ratios' geometric means."""
    shapes = results.cases(what, threads)
    names = [name for name in CONTESTANTS if any(name in results.of(what, threads, shape) for shape in shapes)]
    if not names:
        return []
    rows = []
    for shape in shapes:
        have = results.of(what, threads, shape)
        best = max(record["gflops"] for record in have.values())
        cells = [f"{have[name]['gflops']:.0f}" if name in have else "" for name in names]
        bold = [f"**{c}**" if c and have[n]["gflops"] == best else c for n, c in zip(names, cells, strict=True)]
        rows.append([shape, *bold])
    for ours in ("gatework", "gatework.nn"):
        over = [results.mean_ratio(what, threads, name, ours) for name in names]
        if ours in names:
            rows.append(
                [
                    f"{ours} over it",
                    *("" if r is None or n == ours else f"x {r:.2f}" for r, n in zip(over, names, strict=True)),
                ]
            )
    title = f"### {what[0].upper()}{what[1:]}, {_threads(threads)}"
    return [f"{title}, useful GFLOP/s", "", *table(["(T, B, I, H)", *names], rows)]


def times(results: Results, what: str, threads: int, title: str) -> list[str]:
    """Median time of every contestant, a row a case."""
    cases = results.cases(what, threads)
    names = list(dict.fromkeys(name for case in cases for name in results.of(what, threads, case)))
    rows = []
    for case in cases:
        have = results.of(what, threads, case)
        rows.append([case, *(seconds(have[name]["seconds"]) if name in have else "" for name in names)])
    return [f"### {title}, {_threads(threads)}", "", *table(["", *names], rows)] if rows else []


def noise(results: Results) -> str:
    """How fast the machine was at best, and how quiet."""
    spreads = sorted(record["spread"] for record in results.records.values())
    quiet = sorted(record["quiet"] for record in results.records.values())
    if not spreads or not results.about["peak"]:  # an install is measured once, and by no peak
        return ""
    peaks = (f"{value:.0f} GFLOP/s on {_threads(int(n))}" for n, value in results.about["peak"].items())
    return (
        f" Peak in float32: {', '.join(peaks)}. Noise: the quartiles of a contestant's calls lie "
        f"{spreads[len(spreads) // 2]:.1%} of the median apart in the middle case, "
        f"{spreads[int(len(spreads) * 0.95)]:.1%} in the worst twentieth; before a group of contestants the machine "
        f"reached {quiet[len(quiet) // 2]:.0%} of its best peak (median), {quiet[0]:.0%} at worst."
    )


def about(files: Files) -> list[str]:
    """Machine, peak, versions, noise, commands."""
    lines = []
    for results in dict.fromkeys(files[:4]):
        if results.records:
            told = results.about
            machine = "{cpu}, {cores} cores, {system}, Python {python}".format(**told["machine"])
            versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
            lines += [f"`{results.file.name}`, {told['date']}: {machine}; {versions}.{noise(results)}", ""]
            lines += ["```", *told["commands"], "```", ""]
    return ["### Where these figures come from", "", *lines]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A markdown table, figures to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def render(files: Files) -> str:
    """Everything, in order."""
    parts = goals(files)
    for threads in (1, 2):
        for lengths in ("ragged", "full", "bucketed"):
            for kind in KINDS:
                parts += speeds(files.kernels, f"{kind} {lengths}", threads)
    for kind in BOTH:
        parts += times(files.kernels, f"second thread, {kind}", 2, f"The second thread, {kind}")
    parts += times(files.step, "step", 1, "One step from Python")
    parts += times(files.step, "writing", 1, "A character model writes")
    for threads in (1, 2):
        for what, title in (("training step", "Tagger, whole training step"), ("viterbi", "CRF, Viterbi"),
                            ("loss and gradients", "CRF, loss and gradients")):  # fmt: skip
            parts += times(files.train_step, what, threads, title)
    if changed := retrain.rows(*files.recipes):
        parts += ["### Recipes retrained on the kernels", "", *table(retrain.HEAD, changed)]
    return "\n".join([*parts, *about(files)])


def place(readme: str, text: str) -> str:
    """`readme` with what stands between the markers replaced. Raises: ValueError: the markers are not there."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the README must hold the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def plot(results: Results, path: Path) -> None:
    """Useful GFLOP/s by shape, one panel a kind of work."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(KINDS), 1, figsize=(9, 2.5 * len(KINDS)), layout="constrained")
    colours = {name: f"C{number}" for number, name in enumerate(CONTESTANTS)}
    for kind, axis in zip(KINDS, axes, strict=True):
        what = f"{kind} ragged"
        shapes = results.cases(what, 1)
        names = [name for name in CONTESTANTS if any(name in results.of(what, 1, shape) for shape in shapes)]
        for number, name in enumerate(names):
            heights = [results.of(what, 1, shape).get(name, {}).get("gflops", 0.0) for shape in shapes]
            places = [index + 0.8 * (number - (len(names) - 1) / 2) / len(names) for index in range(len(shapes))]
            axis.bar(places, heights, 0.8 / len(names), label=name, color=colours[name])
        axis.set_xticks(range(len(shapes)), [shape.replace(", ", ",\n", 2).replace(",\n", ", ", 1) for shape in shapes])
        axis.tick_params(axis="x", labelsize=7)
        axis.set_ylabel("useful GFLOP/s")
        axis.set_title(f"{kind}, ragged, one thread", fontsize=9)
        if names:
            axis.legend(fontsize=6, ncols=len(names), loc="upper left")
        axis.set_ylim(0, axis.get_ylim()[1] * 1.2)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into the README, with the plot")
    parser.add_argument("--quick", action="store_true", help="from results/quick.json alone")
    parser.add_argument("--processor", action="store_true", help="ratios by processor time, where others were at work")
    arguments = parser.parse_args()
    names = ("quick",) * 4 if arguments.quick else ("kernels", "step", "train_step", "install")
    opened = {name: Results(Results.path(name)) for name in names}
    if arguments.processor:
        for results in opened.values():
            results.clock = "processor"
    published = json.loads(retrain.PUBLISHED.read_text(encoding="utf-8"))
    lines = retrain.OUT.read_text(encoding="utf-8").splitlines() if retrain.OUT.exists() else []
    files = Files(*(opened[name] for name in names), retrain.load(lines, published))
    text = render(files)
    if arguments.write:
        text = f"![useful GFLOP/s by shape](results/kernels.png)\n\n{text}"
        README.write_text(place(README.read_text(encoding="utf-8"), text), encoding="utf-8")
        plot(files.kernels, FOLDER / "kernels.png")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
