"""What an install weighs: a package and everything it needs, into an empty folder, counted in bytes.

    python -m benchmarks.install_size --out results/tagging.jsonl

Gatework's runtime is built from this folder's HEAD; spaCy and PyTorch with pytorch-crf come from the package index that
pip is set up with, wheels only. Compiled Python files count, as they do in any environment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import measure

ROOT = Path(__file__).parent.parent
PACKAGES = {"gatework": [], "spacy": ["spacy==3.8.18"], "pytorch": ["torch>=2.6,<2.14", "pytorch-crf==0.7.2"]}
"""What each system installs; of Gatework, HEAD."""


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; one with several names counts once."""
    seen = {(s.st_dev, s.st_ino): s.st_size for path in folder.rglob("*") if not path.is_dir() for s in [path.lstat()]}
    return sum(seen.values())


def installed(requirements: list[str], scratch: Path) -> int:
    """Bytes of a fresh install."""
    source, target = scratch / "source", scratch / "target"
    if not requirements:
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(source)], check=True)
        requirements = [str(source)]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--target", str(target), *requirements], check=True, stdout=sys.stderr)
    return folder_bytes(target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"of {', '.join(PACKAGES)}; default all")
    parser.add_argument("--out", type=Path, default=Path("tagging.jsonl"), help="results file, appended to")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.systems if name not in PACKAGES]:
        sys.exit(f"unknown system {unknown[0]!r}. Known: {', '.join(PACKAGES)}.")
    for name in arguments.systems or PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            size = installed(PACKAGES[name], Path(scratch))
        measure.write(arguments.out, name, "install", {"install_bytes": size})
        measure.say(f"{name}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
