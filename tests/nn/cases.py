"""Small networks and batches for the tests of `gatework.nn`."""

from __future__ import annotations

import numpy as np

from gatework.core.architecture import Architecture, Characters, Encoder
from gatework.core.batch import TextBatch
from gatework.nn import TensorBatch, to_tensors

VOCABULARY, ROWS, CHARACTERS = 50, 40, 20


def architecture(**changes) -> Architecture:
    settings = {
        "head": "per_sequence",
        "outputs": 4,
        "vocabulary": VOCABULARY,
        "embedding": 6,
        "encoder": Encoder(cell="lstm", units=5),
        "pooling": ("mean", "max"),
        "ngram_rows": ROWS,
        "window": 7,
    }
    return Architecture(**{**settings, **changes})


def full_architecture(kind: str = "cnn", cell: str = "lstm") -> Architecture:
    """Every part at once."""
    return architecture(
        encoder=Encoder(cell=cell, units=5, layers=2, projection=3 if cell == "lstm-projection" else 0),
        pooling=("last", "mean", "max", "attention"),
        attention=3,
        ngram_embedding=2,
        characters=Characters(kind=kind, vocabulary=CHARACTERS, embedding=3, units=4),
    )


def batch(lengths: list[int], *, window: int = 7, seed: int = 5, local: int = 2) -> TensorBatch:
    """Random texts of these lengths, cut into windows."""
    rng = np.random.default_rng(seed)
    texts = [rng.integers(2, VOCABULARY, length) for length in lengths]
    words = [rng.integers(0, ROWS + 1, (length, local)) for length in lengths]
    spelled = [
        rng.integers(1, CHARACTERS, (length, 5)) * (np.arange(5) < rng.integers(1, 6, (length, 1)))
        for length in lengths
    ]
    counts = rng.integers(0, 6, len(lengths))
    return to_tensors(
        TextBatch(
            tokens_WT=_windows(texts, window),
            lengths_W=np.array([len(text[at : at + window]) for text in texts for at in range(0, len(text), window)]),
            sequence_W=np.array([i for i, text in enumerate(texts) for _ in range(0, len(text), window)]),
            sequences=len(lengths),
            ngram_rows_N=rng.integers(0, ROWS, counts.sum()),
            ngram_starts_B=np.concatenate([[0], counts.cumsum()]),
            local_WTM=_windows(words, window),
            characters_WTK=_windows(spelled, window),
        )
    )


def _windows(parts: list[np.ndarray], window: int) -> np.ndarray:
    cut = [part[at : at + window] for part in parts for at in range(0, len(part), window)]
    out = np.zeros((len(cut), max(map(len, cut)), *cut[0].shape[1:]), dtype=np.int64)
    for row, piece in zip(out, cut, strict=True):
        row[: len(piece)] = piece
    return out
