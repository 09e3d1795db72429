"""fastText (the maintained build `fasttext-community`) on the same sets.

    python -m venv ~/fasttext && ~/fasttext/bin/pip install fasttext-community==0.11.9
    GATEWORK_DATA=../data python -m benchmarks.rivals.fasttext_rival --python ~/fasttext/bin/python --out fasttext.jsonl

`--python` runs this script under that interpreter; leave it out where fastText imports here. Do not install it beside
another fastText distribution: they overwrite each other's files.

Each setting is trained on train and scored on dev; the best on dev is reported on test: word n-grams up to 1, 2 and 3,
character n-grams up to 3, each with 5 and 25 epochs and a learning rate of 0.1 and 0.5; 100 dimensions and 2 million
buckets, the default. Text is lower-cased with marks split off, as the fastText tutorial does; Chinese is given as
characters separated by spaces, or as it stands for the character n-grams. Where dev was held out of train, `refit`
is the chosen setting trained again on all of train, as fastText needs no dev file to stop.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.sets import Example, TextSet, choose, data_folder, load, sentences, tokens

DIMENSIONS = 100
KEPT_ROWS = (100_000, 10_000)
"""Rows the quantised models keep: the fastText tutorial's value, and a tenth of it for a really small file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One way to train."""

    words: int
    characters: int
    epochs: int
    rate: float


GRID = [
    Setting(words=words, characters=characters, epochs=epochs, rate=rate)
    for (words, characters), epochs, rate in itertools.product(
        [(1, 0), (2, 0), (3, 0), (1, 3)], [5, 25], [0.1, 0.5]
    )
]  # fmt: skip


FEW = [setting for setting in GRID if setting.words > 1 and setting.rate == 0.5]
"""What `--few` tries: word n-grams up to 2 and 3, the higher learning rate."""


def normalised(text: str, language: str, setting: Setting) -> str:
    """The line fastText reads: tokens split by spaces, on one line."""
    if language == "zh" and setting.characters:
        return " ".join(text.lower().split())
    return " ".join(tokens(text, language))


def write_training(path: Path, examples: Sequence[Example], labels: list[str], language: str, setting: Setting) -> None:
    """fastText's own format. Labels go by number, so no character of a label can matter."""
    numbers = {label: number for number, label in enumerate(labels)}
    with path.open("w", encoding="utf-8") as lines:
        for label, text in examples:
            lines.write(f"__label__{numbers[label]} {normalised(text, language, setting)}\n")


def train(path: Path, setting: Setting, threads: int) -> Any:
    import fasttext

    return fasttext.train_supervised(
        str(path), dim=DIMENSIONS, wordNgrams=setting.words, minn=1 if setting.characters else 0,
        maxn=setting.characters, epoch=setting.epochs, lr=setting.rate, thread=threads, verbose=0,
    )  # fmt: skip


def answers(model: Any, lines: Sequence[str], labels: list[str], fallback: str) -> list[str]:
    """The label of every line; fastText gives none for a line without tokens, which then gets `fallback`."""
    found, _ = model.predict(list(lines))
    return [labels[int(one[0].removeprefix("__label__"))] if len(one) else fallback for one in found]


class Bench:
    """One set: search on dev, then the figures of the chosen setting on test."""

    def __init__(self, one: TextSet, folder: Path, threads: int) -> None:
        self.set, self.folder, self.threads = one, folder, threads
        self.splits = load(one, data_folder())
        counts = Counter(label for label, _ in self.splits.train)
        self.labels, self.fallback = sorted(counts), counts.most_common(1)[0][0]

    def fit(self, setting: Setting, examples: Sequence[Example]) -> tuple[Any, Path, float]:
        """(model, its training file, seconds); writing the file counts as preparation and is timed too."""
        path = self.folder / "train.txt"
        start = time.perf_counter()
        write_training(path, examples, self.labels, self.set.language, setting)
        model = train(path, setting, self.threads)
        return model, path, time.perf_counter() - start

    def score(self, model: Any, setting: Setting, examples: Sequence[Example]) -> tuple[float, list[str]]:
        lines = [normalised(text, self.set.language, setting) for _, text in examples]
        predicted = answers(model, lines, self.labels, self.fallback)
        return measure.accuracy([label for label, _ in examples], predicted), predicted

    def search(self, grid: Sequence[Setting]) -> tuple[Setting, list[dict[str, Any]]]:
        """The setting that is best on dev (the first of equals), and every setting's score."""
        tried: list[dict[str, Any]] = []
        for setting in grid:
            model, _, seconds = self.fit(setting, self.splits.train)
            dev, _ = self.score(model, setting, self.splits.dev)
            tried.append(asdict(setting) | {"dev_accuracy": dev, "seconds": round(seconds, 2)})
            measure.say(f"{self.set.name}: {setting} dev {dev:.4f} in {seconds:.1f} s")
        best = max(range(len(grid)), key=lambda number: tried[number]["dev_accuracy"])
        return grid[best], tried

    def figures(self, setting: Setting, kept_rows: Sequence[int] = KEPT_ROWS) -> dict[str, Any]:
        """Everything the report wants of the chosen setting, and of its cut to `kept_rows` rows."""
        model, path, seconds = self.fit(setting, self.splits.train)
        score, predicted = self.score(model, setting, self.splits.test)
        figures: dict[str, Any] = {"accuracy": score, "train_seconds": seconds, "total_seconds": seconds}
        if self.set.positive:
            figures["f1"] = measure.f1([label for label, _ in self.splits.test], predicted, self.set.positive)
        figures |= self.stored(model, "model.bin", setting)
        figures["quantised"] = []
        for rows in kept_rows:
            if model.is_quantized():  # it cannot be quantised twice
                del model
                model, path, _ = self.fit(setting, self.splits.train)
            figures["quantised"].append(self.quantised(model, path, setting, rows))
        del model
        if self.splits.held_out:
            model, _, _ = self.fit(setting, self.splits.train + self.splits.dev)
            figures["refit"] = {"accuracy": self.score(model, setting, self.splits.test)[0]}
        return figures

    def quantised(self, model: Any, path: Path, setting: Setting, rows: int) -> dict[str, Any]:
        """The same figures of the model cut to `rows` rows, retrained and product-quantised in place."""
        start = time.perf_counter()
        model.quantize(input=str(path), qnorm=True, retrain=True, cutoff=rows, thread=self.threads, verbose=0)
        seconds = time.perf_counter() - start
        score, predicted = self.score(model, setting, self.splits.test)
        figures: dict[str, Any] = {"rows": rows, "accuracy": score, "seconds": seconds}
        if self.set.positive:
            figures["f1"] = measure.f1([label for label, _ in self.splits.test], predicted, self.set.positive)
        return figures | self.stored(model, "model.ftz", setting)

    def stored(self, model: Any, name: str, setting: Setting) -> dict[str, Any]:
        """Size on disk, latency and cold start of the model saved under `name`; the file is removed again."""
        path = self.folder / name
        model.save_model(str(path))
        texts = sentences((text for _, text in self.splits.test), self.set.language)
        child = [sys.executable, "-m", "benchmarks.rivals.fasttext_rival", "--latency", str(path)]
        child += ["--language", self.set.language, "--characters", str(setting.characters)]
        once = "import sys, fasttext; print(fasttext.load_model(sys.argv[1]).predict(sys.argv[2])[0][0])"
        line = normalised(texts[0], self.set.language, setting)
        figures = {
            "bytes": path.stat().st_size,
            "latency_ms": measure.latency_process(child, texts),
            "cold_start_seconds": measure.cold_start([sys.executable, "-c", once, str(path), line]),
        }
        path.unlink()
        return figures


def serve_latency(arguments: argparse.Namespace) -> None:
    """Child process: time one answer, normalisation included, as a service would pay for it."""
    import fasttext

    model = fasttext.load_model(arguments.latency)
    setting = Setting(words=1, characters=arguments.characters, epochs=0, rate=0.0)
    measure.latency_child(lambda text: model.predict(normalised(text, arguments.language, setting)))


def version() -> str:
    """The installed distributions that provide fastText, so that a mixed environment shows in the result."""
    names = ("fasttext-community", "fasttext", "fasttext-wheel", "fasttext-numpy2", "fasttext-predict")
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return ", ".join(f"{name} {installed[name]}" for name in names if name in installed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all ten")
    parser.add_argument("--out", type=Path, default=Path("fasttext.jsonl"), help="results file, appended to")
    parser.add_argument("--python", help="interpreter of the environment that has fastText")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="training threads; 1 is deterministic")
    parser.add_argument(
        "--few", action="store_true", help="4 settings instead of 16, no quantised models: for large sets"
    )
    parser.add_argument("--latency", help=argparse.SUPPRESS)
    parser.add_argument("--language", help=argparse.SUPPRESS)
    parser.add_argument("--characters", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.latency:
        serve_latency(arguments)
        return 0
    if arguments.python:
        rest = without_option(sys.argv[1:], "--python")
        os.execv(arguments.python, [arguments.python, "-m", "benchmarks.rivals.fasttext_rival", *rest])
    if importlib.util.find_spec("fasttext") is None:
        sys.exit("fastText is not installed here: see the top of this file, or name its interpreter with --python.")
    for one in choose(arguments.sets):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(one, Path(folder), arguments.threads)
            setting, tried = bench.search(FEW if arguments.few else GRID)
            figures = bench.figures(setting, () if arguments.few else KEPT_ROWS)
        details = {"setting": asdict(setting), "threads": arguments.threads, "version": version(), "tried": tried}
        measure.write(arguments.out, "fasttext", one.name, figures | {"scored_on": one.scored_on} | details)
        for result in (figures, *figures["quantised"]):
            measure.say(f"{one.name}: {result['accuracy']:.4f} in {result['bytes'] / 1e6:.2f} MB")
    return 0


def without_option(words: Sequence[str], name: str) -> list[str]:
    """The command line without one option and its value."""
    kept, skip = [], False
    for word in words:
        if not skip and word != name and not word.startswith(f"{name}="):
            kept.append(word)
        skip = word == name and not skip
    return kept


if __name__ == "__main__":
    sys.exit(main())
