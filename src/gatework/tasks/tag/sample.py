"""Made-up sentences whose spans can be learnt, for checks that must run in seconds.

A place or a person is told by the word before it, as both have the same names; a person may have two names. Lengths run
from one word past the window.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NAMES = ["Paris", "Sydney", "Chelsea", "Austin", "Florence", "Lincoln", "Jordan", "Madison"]
SIGNS = {"PER": ["met", "thanked", "asked"], "LOC": ["near", "towards", "in"]}
FILLER = ["the", "a", "of", "on", "with", "some", "very", "here", "now", "then", "old", "new", "thing", "place", "day"]


def write_sample(folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
    """Write `train.conll`, `dev.conll` and `test.conll` into `folder`.

    Returns: recipe sections, and the score of guessing, which is that of calling every name a person.
    """
    rng = np.random.default_rng(seed)
    for name, count in (("train", 300), ("dev", 80), ("test", 100)):
        text = "\n".join(_sentence(rng) for _ in range(count))
        (folder / f"{name}.conll").write_text(text, encoding="utf-8")
    sections: dict[str, dict[str, Any]] = {
        "data": {name: str(folder / f"{name}.conll") for name in ("train", "dev", "test")},
        "input": {"window": 16, "affixes": 2, "min_count": 1},
        "model": {"embedding": 24, "units": 24, "ngram_embedding": 8, "dropout": 0.2, "embedding_dropout": 0.1},
        "train": {"epochs": 12, "learning_rate": 3e-2, "batch_tokens": 512, "seed": seed},
    }
    return sections, 0.5


def _sentence(rng: np.random.Generator) -> str:
    length = int(rng.choice([0, 2, 5, 9, 14, 22, 40]))
    rows = [(str(word), "O") for word in rng.choice(FILLER, length)]
    for _ in range(int(rng.integers(1, 3)) if length else 1):
        kind = str(rng.choice(list(SIGNS)))
        names = rng.choice(NAMES, 2 if kind == "PER" and rng.random() < 0.4 else 1)
        found = [(str(name), f"{'I' if index else 'B'}-{kind}") for index, name in enumerate(names)]
        place = int(rng.integers(len(rows) + 1))
        while 0 < place < len(rows) and rows[place][1] != "O":
            place += 1
        sign = [] if not length else [(str(rng.choice(SIGNS[kind])), "O")]
        rows[place:place] = [*sign, *found]
    return "".join(f"{word}\t{tag}\n" for word, tag in rows)
