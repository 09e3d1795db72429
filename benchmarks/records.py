"""Measured speeds as a small JSON file: where, when and how, then one record a line. Pure; standard library only.

A record is one contestant of one measure on one case: median seconds a call by the clock and, with
one thread, of the processor; spread (distance of the quartiles over
the median), useful GFLOP/s where work is counted, errors against float64, and the share of the best peak the machine
reached just before. A later record replaces an earlier one of the same measure, threads, case and contestant.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.timing import Timing, geomean

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("gatework", "numpy", "torch", "onnxruntime", "openvino", "jax", "pytorch-crf", "ctranslate2")
OURS = "gatework"

Record = dict[str, Any]
Key = tuple[str, int, str, str]
"""Measure, threads, case, contestant."""


class Results:
    """The records of one file."""

    def __init__(self, path: Path, load: bool = True) -> None:
        self.file, self.clock = path, "seconds"
        self.about: dict[str, Any] = {"peak": {}, "commands": []}
        self.records: dict[Key, Record] = {}
        if load and path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.about = kept["about"]
            self.records = {_key(record): record for record in kept["records"]}

    @staticmethod
    def path(name: str) -> Path:
        """Where results of this name are kept."""
        return FOLDER / f"{name}.json"

    def peak(self, threads: int, gflops: float) -> None:
        """Note the machine's peak, the best of several runs of this file."""
        peaks = self.about["peak"]
        peaks[str(threads)] = round(max(gflops, peaks.get(str(threads), 0.0)), 1)

    def add(
        self,
        what: str,
        threads: int,
        case: object,
        contestant: str,
        taken: Timing,
        work: float = 0,
        error: Mapping[str, float] | None = None,
        quiet: float = 1.0,
    ) -> None:
        """Keep one contestant's timing."""
        record: Record = {"measure": what, "threads": threads, "case": str(case), "contestant": contestant}
        record |= {"seconds": _short(taken.median), "mean": _short(taken.mean)}
        record |= {"processor": _short(taken.processor)} if threads == 1 else {}
        record |= {"spread": round(taken.spread, 3), "calls": taken.calls, "quiet": round(quiet, 3)}
        if work:
            record["gflops"] = round(work / taken.median / 1e9, 1)
        if error:
            record["error"] = {name: float(f"{value:.2g}") for name, value in error.items()}
        self.records[_key(record)] = record

    def save(self) -> None:
        """Write the file, with machine, versions, date and every command that went into it."""
        main = getattr(sys.modules["__main__"], "__spec__", None)
        command = shlex.join(["python", "-m", main.name if main else Path(sys.argv[0]).stem, *sys.argv[1:]])
        commands = [*(one for one in self.about["commands"] if one != command), command]
        self.about |= {"machine": measure.machine(), "date": datetime.date.today().isoformat()}
        self.about |= {"versions": self.about.get("versions", {}) | versions(), "commands": commands}
        lines = ",\n".join(json.dumps(record) for record in self.records.values())
        self.file.parent.mkdir(parents=True, exist_ok=True)
        about = json.dumps(self.about, indent=1)
        self.file.write_text(f'{{"about": {about},\n"records": [\n{lines}\n]}}\n', encoding="utf-8")

    def of(self, what: str, threads: int, case: object) -> dict[str, Record]:
        """Records by contestant."""
        return {key[3]: record for key, record in self.records.items() if key[:3] == (what, threads, str(case))}

    def cases(self, what: str, threads: int) -> list[str]:
        """Cases of a measure, in the order they came."""
        return list(dict.fromkeys(key[2] for key in self.records if key[:2] == (what, threads)))

    def time(self, record: Record) -> float:
        """Seconds by the clock in use: `seconds`, or `processor` where that was kept."""
        return float(record.get(self.clock, record["seconds"]))

    def ratios(self, what: str, threads: int, rival: str | Sequence[str], ours: str = OURS) -> dict[str, float]:
        """How many times faster ours is, by case: over one rival or the fastest of several; {} where unmeasured."""
        rivals, found = [rival] if isinstance(rival, str) else list(rival), {}
        for case in self.cases(what, threads):
            have = self.of(what, threads, case)
            times = [self.time(have[name]) for name in rivals if name in have]
            if ours in have and times:
                found[case] = min(times) / self.time(have[ours])
        return found

    def mean_ratio(self, what: str, threads: int, rival: str | Sequence[str], ours: str = OURS) -> float | None:
        """Geometric mean of `ratios` over the cases."""
        found = self.ratios(what, threads, rival, ours)
        return geomean(list(found.values())) if found else None

    def worst_error(self, what: str, threads: int, contestant: str, name: str) -> float | None:
        """The largest error of that name over the cases."""
        found = [self.of(what, threads, case).get(contestant, {}).get("error", {}).get(name)
                 for case in self.cases(what, threads)]  # fmt: skip
        known = [value for value in found if value is not None]
        return max(known) if known else None

    def line(self, what: str, threads: int, case: object) -> str:
        """One measurement for the eye."""
        shown = [
            f"{name} {seconds(record['seconds'])}" + (f" ({record['gflops']:.0f} GF/s)" if "gflops" in record else "")
            for name, record in self.of(what, threads, case).items()
        ]
        return f"{what}, threads {threads}, {case}: {', '.join(shown)}"


def seconds(value: float) -> str:
    """Seconds in the unit that suits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def versions() -> dict[str, str]:
    """Versions of the packages that are installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _key(record: Record) -> Key:
    return record["measure"], record["threads"], record["case"], record["contestant"]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
