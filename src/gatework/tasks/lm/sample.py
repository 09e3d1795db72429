"""Made-up text that can be learnt in seconds: what follows a word goes by the word before it and by its sentence.

Sentences are of one of two kinds, told by their first word; the kind decides which of two nouns each verb takes, so
that a model has to carry the kind along.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("day", "night")
VERBS = ("sees", "hears", "finds", "likes")
NOUNS = {"day": ("sun", "bird", "road", "tree"), "night": ("moon", "owl", "star", "bat")}


def write_sample(folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
    """Write `train.txt`, `dev.txt` and `test.txt` into `folder`.

    Returns: recipe sections, and the perplexity of guessing words by their frequency.
    """
    rng = np.random.default_rng(seed)
    for name, count in (("train", 400), ("dev", 60), ("test", 60)):
        text = "\n".join(_sentence(rng) for _ in range(count)) + "\n"
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    words = (folder / "dev.txt").read_text(encoding="utf-8").replace("\n", " </s> ").split()
    _, counts = np.unique(words, return_counts=True)
    share = counts / counts.sum()
    sections: dict[str, dict[str, Any]] = {
        "data": {name: str(folder / f"{name}.txt") for name in ("train", "dev", "test")},
        "input": {"unit": "word", "min_count": 1},
        "model": {"embedding": 16, "units": 24, "dropout": 0.1},
        "train": {"epochs": 8, "learning_rate": 2e-2, "streams": 8, "bptt": 16, "seed": seed},
    }
    return sections, math.exp(float(-(share * np.log(share)).sum()))


def _sentence(rng: np.random.Generator) -> str:
    kind = KINDS[int(rng.integers(2))]
    words = [kind]
    for _ in range(int(rng.integers(0, 5))):
        verb = int(rng.integers(len(VERBS)))
        words += [VERBS[verb], "a", NOUNS[kind][verb]]
    return " ".join(words)
