"""Made-up sentences whose class can be learnt, for checks that must run in seconds.

A class is told by one of its own words, or by the order of two shared words, so that a bag of words does not settle
all; lengths run from one word past the window.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

OWN = {"animal": ["cat", "horse", "heron"], "colour": ["red", "teal", "amber"], "number": ["six", "forty", "nine"]}
PAIRS = {"animal": "small grey", "colour": "grey small", "number": "many small"}
FILLER = ["the", "a", "of", "on", "with", "some", "very", "here", "now", "then", "old", "new", "thing", "place", "day"]


def write_sample(folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
    """Write `train.tsv`, `dev.tsv` and `test.tsv` into `folder`; returns recipe sections and the score of guessing."""
    rng = np.random.default_rng(seed)
    for name, count in (("train", 360), ("dev", 90), ("test", 120)):
        lines = [_line(rng, list(OWN)[index % len(OWN)]) for index in range(count)]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    sections: dict[str, dict[str, Any]] = {
        "data": {name: str(folder / f"{name}.tsv") for name in ("train", "dev", "test")},
        "input": {"window": 16, "ngram_rows": 500},
        "model": {"embedding": 24, "units": 24},
        "train": {"epochs": 8, "learning_rate": 1e-2, "batch_tokens": 512, "seed": seed},
    }
    return sections, 1 / len(OWN)


def _line(rng: np.random.Generator, label: str) -> str:
    length = int(rng.choice([0, 2, 5, 9, 14, 22, 40]))
    words = [str(word) for word in rng.choice(FILLER, length)]
    sign = str(rng.choice(OWN[label])) if rng.random() < 0.7 else PAIRS[label]
    words.insert(int(rng.integers(length + 1)), sign)
    return f"{label}\t{' '.join(words)}\n"
