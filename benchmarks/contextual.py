"""Taggers and classifiers with the states of a character language model, and without: scores, size, speed.

    export GATEWORK_DATA=../data
    scripts/write-language-model-text text
    gatework train recipes/lm-news.toml --set data.train=text/news.txt -o models/news.gw
    gatework train recipes/lm-reviews.toml --set data.train=text/reviews.txt -o models/reviews.gw
    python -m benchmarks.contextual --bundles models --out results/contextual.jsonl
    python -m benchmarks.contextual_report results/contextual.jsonl --readme benchmarks/README.md

Bundles RECIPE.gw that are in the folder already are not trained again; news.gw and reviews.gw must be there. A bundle
is scored on dev and on test as `gatework evaluate` does. Speed is that of calls from Python in a process of one thread:
the first dev texts, 32 a call and one a call; words are what white space separates.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.classification import RECIPES, gatework_command, run_json
from benchmarks.sets import data_folder
from benchmarks.trained import course

BATCH = 32
SPOKEN = 400
"""Texts that speed is measured on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A set with the recipe that has no language model and the one that has."""

    title: str
    plain: str
    contextual: str
    language_model: str
    folder: str
    dev: str
    test: str
    metric: str
    """A name in the metrics of `gatework evaluate`."""
    tagged: bool
    """Files are columns of tokens; else a label, a tab and a text a line."""


PAIRS = (
    Pair(
        title="CoNLL-2003, entity F1", plain="ner-conll2003", contextual="ner-conll2003-contextual",
        language_model="news.gw", folder="ner_conll2003_en", dev="dev.conll", test="test.conll", metric="f1",
        tagged=True,
    ),
    Pair(
        title="SST-2, accuracy", plain="sst2", contextual="sst2-contextual", language_model="reviews.gw",
        folder="sst2", dev="dev.tsv", test="test.tsv", metric="accuracy", tagged=False,
    ),
)  # fmt: skip

ANSWER = """
import sys
import gatework
from benchmarks import contextual
contextual.child(gatework.load(sys.argv[1]).predict)
"""


def texts(pair: Pair, path: Path) -> list[Any]:
    """The texts of a file: lists of tokens, or strings."""
    lines = path.read_text(encoding="utf-8").split("\n")
    if not pair.tagged:
        return [line.split("\t", 1)[1] for line in lines if line]
    sentences: list[list[str]] = [[]]
    for line in lines:
        if line:
            sentences[-1].append(line.split("\t")[0])
        elif sentences[-1]:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def rates(answer: Callable[[list[Any]], object], given: Sequence[Any]) -> dict[str, float]:
    """Words a second, 32 texts a call and one a call."""
    words = sum(len(text.split() if isinstance(text, str) else text) for text in given)
    found: dict[str, float] = {}
    for name, size in (("batch_rate", BATCH), ("single_rate", 1)):
        calls = [list(given[start : start + size]) for start in range(0, len(given), size)]
        for call in calls[: max(1, 64 // size)]:  # warm up
            answer(call)
        begin = time.perf_counter()
        for call in calls:
            answer(call)
        found[name] = words / (time.perf_counter() - begin)
    return found


def child(answer: Callable[[list[Any]], object]) -> None:
    """The measured side: texts from stdin, figures to stdout."""
    print(json.dumps(rates(answer, json.load(sys.stdin))))


def figures(gatework: list[str], pair: Pair, bundle: Path) -> dict[str, Any]:
    """Everything the report wants of one bundle."""
    folder = data_folder() / pair.folder
    found: dict[str, Any] = {"bytes": bundle.stat().st_size, "metric": pair.metric, **course(bundle)}
    for part, name in (("dev", pair.dev), ("test", pair.test)):
        metrics = run_json([*gatework, "evaluate", str(bundle), str(folder / name), "--json"])["metrics"]
        found[part] = {"value": metrics[pair.metric], "interval": metrics.get("interval", {}).get(pair.metric)}
    given = json.dumps(texts(pair, folder / pair.dev)[:SPOKEN])
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, str(bundle)],
        input=given, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | measure.ONE_THREAD,
    )  # fmt: skip
    return found | json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="of the four; default all")
    parser.add_argument("--out", type=Path, default=Path("contextual.jsonl"), help="results file, appended to")
    parser.add_argument("--bundles", type=Path, required=True, help="folder of news.gw, reviews.gw and RECIPE.gw")
    parser.add_argument("--gatework", help="the command to measure; default the one installed here")
    given = parser.parse_args()
    gatework, folder = gatework_command(given.gatework), given.bundles.resolve()
    known = [name for pair in PAIRS for name in (pair.plain, pair.contextual)]
    if unknown := set(given.recipes) - set(known):
        sys.exit(f"unknown recipe {min(unknown)!r}. Known: {', '.join(known)}.")
    for pair in PAIRS:
        for name in (pair.plain, pair.contextual):
            if given.recipes and name not in given.recipes:
                continue
            bundle = folder / f"{name}.gw"
            if not bundle.exists():
                states = ["--set", f"model.language_model={folder / pair.language_model}"]
                options = states if name == pair.contextual else []
                run_json([*gatework, "train", str(RECIPES / f"{name}.toml"), "-o", str(bundle), "--json", *options])
            result = figures(gatework, pair, bundle)
            measure.write(given.out, "gatework", name, result)
            measure.say(f"{name}: test {pair.metric} {result['test']['value']:.4f}, {result['bytes'] / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
