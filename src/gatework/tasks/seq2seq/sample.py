"""Made-up pairs that can be learnt in seconds: words in another language, and one of them moves to the end.

The verb of a source, its second word, is the last word of its target, so that a model has to look back.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {"ann": "anna", "bob": "robert", "eve": "eva", "tom": "thomas"}
VERBS = {"sees": "sieht", "hears": "hört", "finds": "findet", "likes": "mag"}
NOUNS = {"suns": "sonnen", "birds": "vögel", "roads": "wege", "trees": "bäume", "owls": "eulen", "stars": "sterne"}


def write_sample(folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
    """Write `train.tsv`, `dev.tsv` and `test.tsv` into `folder`.

    Returns: recipe sections, and the perplexity of guessing words of targets by their frequency.
    """
    rng = np.random.default_rng(seed)
    for name, count in (("train", 500), ("dev", 60), ("test", 60)):
        lines = ["\t".join(_pair(rng)) for _ in range(count)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    targets = [line.split("\t")[1] for line in (folder / "dev.tsv").read_text(encoding="utf-8").splitlines()]
    words = [word for target in targets for word in [*target.split(), "</s>"]]
    _, counts = np.unique(words, return_counts=True)
    share = counts / counts.sum()
    sections: dict[str, dict[str, Any]] = {
        "data": {name: str(folder / f"{name}.tsv") for name in ("train", "dev", "test")},
        "input": {"unit": "word", "target_unit": "word", "shared": False, "min_count": 1},
        "model": {
            **{"embedding": 16, "units": 24, "attention_kind": "general", "copy_source": False},
            **{"dropout": 0.1, "embedding_dropout": 0.0},
        },
        "train": {
            **{"epochs": 7, "learning_rate": 2e-2, "batch_tokens": 100, "label_smoothing": 0.0, "seed": seed},
            **{"averaging": "none"},
        },
    }
    return sections, math.exp(float(-(share * np.log(share)).sum()))


def _pair(rng: np.random.Generator) -> tuple[str, str]:
    who, verb = str(rng.choice(list(NAMES))), str(rng.choice(list(VERBS)))
    what = [str(rng.choice(list(NOUNS))) for _ in range(int(rng.integers(1, 4)))]
    return " ".join([who, verb, *what]), " ".join([NAMES[who], *(NOUNS[one] for one in what), VERBS[verb]])
