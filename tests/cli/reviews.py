"""Made-up reviews that a small model learns at once, and settings for such a model."""

import numpy as np

TINY = {
    "input.ngrams": 1,
    "input.min_count": 1,
    "model.embedding": 8,
    "model.units": 8,
    "train.epochs": 3,
    "train.threads": 1,
    "train.batch_tokens": 256,
    "train.learning_rate": 0.02,
}
TINY_SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
GOOD = ["great", "lovely", "wonderful", "splendid", "好", "很棒"]
BAD = ["awful", "boring", "dreadful", "terrible", "差", "糟糕"]
PLAIN = ["the", "film", "was", "a", "story", "of", "two", "people", "in", "town", "这", "电影"]


def write_reviews(path, count, seed):
    """A TSV file of label, text that a small model learns at once."""
    rng = np.random.default_rng(seed)
    lines = []
    for index in range(count):
        label, words = [("neg", BAD), ("pos", GOOD)][index % 3 > 0]
        text = [*rng.choice(PLAIN, 5), *rng.choice(words, 2), *rng.choice(PLAIN, 2)]
        lines.append(f"{label}\t{' '.join(text)} {seed}-{index}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
