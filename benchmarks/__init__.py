"""Scripts that measure Gatework and its rivals. Run from the repository root: `python -m benchmarks.classification`."""
