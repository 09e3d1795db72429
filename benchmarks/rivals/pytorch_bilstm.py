"""A plain PyTorch BiLSTM, as a competent user would write it, on the same sets.

    GATEWORK_DATA=../data python -m benchmarks.rivals.pytorch_bilstm --out pytorch.jsonl

Words (or Chinese characters) seen twice → embedding 128 → packed bidirectional LSTM 128 → mean and max over time →
dropout → linear. Adam, gradient clipping, batches of texts of like length, the best epoch on dev. No tricks beyond
these, and none of Gatework.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks import measure
from benchmarks.sets import Example, TextSet, choose, data_folder, load, sentences, tokens

WIDTH = UNITS = 128
DROPOUT = 0.3
RATE = 2e-3
BATCH = 64
LONGEST = 512
"""Tokens of a text that are read; only reviews are longer."""
PATIENCE = 3
SEED = 1
UNKNOWN = 1


class BiLSTM(nn.Module):
    """Token ids (B, T) and lengths (B,) on the CPU → scores (B, C)."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, UNITS, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(4 * UNITS, classes)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        embedded = self.dropout(self.embedding(ids))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        padding = (torch.arange(states.shape[1]) >= lengths[:, None])[..., None]
        mean = states.sum(1) / lengths[:, None]
        highest = states.masked_fill(padding, -torch.inf).amax(1)
        return self.head(self.dropout(torch.cat([mean, highest], 1)))


class Classifier:
    """A model with its vocabulary and labels: what has to be kept to answer."""

    def __init__(self, vocabulary: list[str], labels: list[str], language: str) -> None:
        self.vocabulary, self.labels, self.language = vocabulary, labels, language
        self.ids = {token: number for number, token in enumerate(vocabulary)}
        self.model = BiLSTM(len(vocabulary), len(labels))

    def encode(self, text: str) -> Tensor:
        found = [self.ids.get(token, UNKNOWN) for token in tokens(text, self.language)[:LONGEST]]
        return torch.tensor(found or [UNKNOWN])

    @torch.inference_mode()
    def answer(self, text: str) -> str:
        ids = self.encode(text)
        return self.labels[int(self.model(ids[None], torch.tensor([len(ids)])).argmax())]

    @torch.inference_mode()
    def answer_all(self, encoded: Sequence[Tensor]) -> list[str]:
        """Labels in the caller's order."""
        self.model.eval()
        found = [""] * len(encoded)
        for chunk in batches([len(ids) for ids in encoded], 128):
            scores = self.model(*collate([encoded[number] for number in chunk]))
            for number, label in zip(chunk, scores.argmax(1).tolist(), strict=True):
                found[number] = self.labels[label]
        return found

    def save(self, path: Path) -> None:
        kept = {"vocabulary": self.vocabulary, "labels": self.labels, "language": self.language}
        torch.save(kept | {"state": self.model.state_dict()}, path)

    @classmethod
    def load(cls, path: str) -> Classifier:
        kept = torch.load(path, weights_only=True)
        classifier = cls(kept["vocabulary"], kept["labels"], kept["language"])
        classifier.model.load_state_dict(kept["state"])
        classifier.model.eval()
        return classifier


def collate(encoded: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(list(encoded), batch_first=True), torch.tensor([len(ids) for ids in encoded])


def batches(lengths: Sequence[int], size: int, rng: random.Random | None = None) -> Iterator[list[int]]:
    """Positions of texts of like length; with `rng`, other batches in another order each time."""
    jitter = [rng.random() if rng else 0.0 for _ in lengths]
    order = sorted(range(len(lengths)), key=lambda number: (lengths[number], jitter[number]))
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    if rng:
        rng.shuffle(chunks)
    yield from chunks


def make(train: Sequence[Example], language: str) -> Classifier:
    counts = Counter(token for _, text in train for token in tokens(text, language))
    vocabulary = ["<padding>", "<unknown>", *(token for token, count in counts.most_common(50_000) if count > 1)]
    return Classifier(vocabulary, sorted({label for label, _ in train}), language)


def fit(classifier: Classifier, train: Sequence[Example], dev: Sequence[Example], epochs: int) -> list[float]:
    """Train, keep the weights of the best epoch on dev, return the dev accuracy of every epoch."""
    rng = random.Random(SEED)
    encoded = [classifier.encode(text) for _, text in train]
    encoded_dev = [classifier.encode(text) for _, text in dev]
    numbers = {label: number for number, label in enumerate(classifier.labels)}
    targets = torch.tensor([numbers[label] for label, _ in train])
    model = classifier.model
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    best, history = copy.deepcopy(model.state_dict()), [0.0]
    for epoch in range(epochs):
        model.train()
        for chunk in batches([len(ids) for ids in encoded], BATCH, rng):
            loss = nn.functional.cross_entropy(model(*collate([encoded[number] for number in chunk])), targets[chunk])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        score = measure.accuracy([label for label, _ in dev], classifier.answer_all(encoded_dev))
        measure.say(f"  epoch {epoch + 1}: dev {score:.4f}")
        if score > max(history):
            best = copy.deepcopy(model.state_dict())
        history.append(score)
        if epoch + 1 - history.index(max(history)) >= PATIENCE:
            break
    model.load_state_dict(best)
    return history[1:]


def bench(one: TextSet, epochs: int) -> dict[str, Any]:
    """The figures of one set."""
    torch.manual_seed(SEED)
    train, dev, test, _ = load(one, data_folder())
    start = time.perf_counter()
    classifier = make(train, one.language)
    history = fit(classifier, train, dev, epochs)
    seconds = time.perf_counter() - start
    predicted = classifier.answer_all([classifier.encode(text) for _, text in test])
    truth = [label for label, _ in test]
    figures: dict[str, Any] = {"accuracy": measure.accuracy(truth, predicted)}
    if one.positive:
        figures["f1"] = measure.f1(truth, predicted, one.positive)
    figures |= {"train_seconds": seconds, "total_seconds": seconds, "scored_on": one.scored_on}
    texts = sentences((text for _, text in test), one.language)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        classifier.save(path)
        own = [sys.executable, "-m", "benchmarks.rivals.pytorch_bilstm"]
        figures |= {
            "bytes": path.stat().st_size,
            "latency_ms": measure.latency_process([*own, "--latency", str(path)], texts),
            "cold_start_seconds": measure.cold_start([*own, "--answer", str(path), texts[0]]),
        }
    details = {"dev_accuracy": history, "threads": torch.get_num_threads(), "version": f"torch {torch.__version__}"}
    return figures | details


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all ten")
    parser.add_argument("--out", type=Path, default=Path("pytorch.jsonl"), help="results file, appended to")
    parser.add_argument("--epochs", type=int, default=20, help="most epochs; three without a better dev score end it")
    parser.add_argument("--threads", type=int, default=0, help="training threads; 0 leaves it to torch")
    parser.add_argument("--latency", help=argparse.SUPPRESS)
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.latency:
        torch.set_num_threads(1)
        measure.latency_child(Classifier.load(arguments.latency).answer)
        return 0
    if arguments.answer:
        print(Classifier.load(arguments.answer[0]).answer(arguments.answer[1]))
        return 0
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for one in choose(arguments.sets):
        measure.say(one.name)
        figures = bench(one, arguments.epochs)
        measure.write(arguments.out, "pytorch", one.name, figures)
        measure.say(f"{one.name}: {figures['accuracy']:.4f} in {figures['bytes'] / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
