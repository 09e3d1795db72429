"""The benchmarks are scripts beside the package, not part of it: make them importable from the repository root."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
