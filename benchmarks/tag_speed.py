"""How fast a tagger answers: sentences of tokens in, tags or spans out, one thread, contestants in turn.

    in batches     tokens a second, 32 sentences a call, in the order of the file
    one by one     tokens a second, a sentence a call
    20 tokens      milliseconds a call, median and 99th percentile, sentences of 18 to 22 tokens

Each contestant is a command whose process is held to one thread; it reads the sentences as JSON and prints its figures
(`child`). Rounds go through the contestants in turn; figures are medians over the rounds. Standard library only.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.tag_sets import of_length

BATCH = 32
ROUNDS = 3
ROOT = Path(__file__).parent.parent

Tokens = list[str]
Figures = dict[str, float]


def rates(answer: Callable[[list[Tokens]], object], sentences: Sequence[Tokens]) -> Figures:
    """Tokens a second over all sentences, in batches and one by one."""
    tokens = sum(map(len, sentences))
    found: Figures = {}
    for name, size in (("batch_rate", BATCH), ("single_rate", 1)):
        calls = [list(sentences[start : start + size]) for start in range(0, len(sentences), size)]
        for call in calls[: max(1, 320 // size)]:  # warm up
            answer(call)
        begin = time.perf_counter()
        for call in calls:
            answer(call)
        found[name] = tokens / (time.perf_counter() - begin)
    return found


def child(answer: Callable[[list[Tokens]], object]) -> None:
    """A contestant's side: sentences from stdin, figures to stdout.

    Args:
        answer: answers for a list of sentences, complete when it returns.
    """
    sentences: list[Tokens] = json.load(sys.stdin)
    figures = rates(answer, sentences)
    short = of_length(sentences)
    if short:
        spent = measure.latencies(lambda tokens: answer([tokens]), short)
        figures |= {"p50": spent["p50"], "p99": spent["p99"]}
    print(json.dumps(figures))


def turns(
    contestants: Mapping[str, Sequence[str]], sentences: Sequence[Tokens], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Figures of each contestant, named by its command's name: medians over rounds that take turns."""
    given = json.dumps(list(sentences))
    seen: dict[str, list[Figures]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, command in contestants.items():
            done = subprocess.run(
                list(command), input=given, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
                env=os.environ | measure.ONE_THREAD,
            )  # fmt: skip
            seen[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]} for name, found in seen.items()
    }


def main() -> int:
    """The contestant that is a bundle of ours: `python -m benchmarks.tag_speed BUNDLE [PRECISION]`."""
    import gatework

    model = gatework.load(sys.argv[1], precision=sys.argv[2] if len(sys.argv) > 2 else "float32")
    child(model.predict_batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
