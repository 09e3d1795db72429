"""How large the wheel is, and how long an install from source takes: a clean copy of HEAD, built in isolation.

python -m benchmarks.install         results/install.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import say
from benchmarks.records import Results
from benchmarks.timing import Timing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="write to results/quick.json")
    parser.add_argument("--out", type=Path, help="results file, added to; default results/install.json")
    arguments = parser.parse_args()
    results = Results(arguments.out or Results.path("quick" if arguments.quick else "install"))
    with tempfile.TemporaryDirectory() as scratch:
        source, wheels, target = (Path(scratch) / name for name in ("source", "wheels", "target"))
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{Path.cwd()}", str(source)], check=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        start = time.perf_counter()
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)], check=True)
        (wheel,) = wheels.glob("*.whl")
        subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
        spent = time.perf_counter() - start
        size = wheel.stat().st_size
    results.about["wheel_bytes"] = size
    results.add("install from source", 1, "whole", "gatework", Timing(spent, spent, 0.0, 1, spent))
    results.save()
    say(f"wheel {size / 1e6:.2f} MB, installed from source in {spent:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
