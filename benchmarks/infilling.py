"""Words and characters taken out of text that was held back: how often `Model.fill` finds them again.

    python -m benchmarks.infilling --shakespeare shakespeare.gw --tang tang.gw [--gaps 200]     results/infilling.json

Each model is of both directions and fills every gap three times: reading forward alone, backward alone, and both. Of
plays single words are taken out, with the length given, and with 1 to 12 letters allowed; of poems one or two
characters of a line. Accuracy at 1 and 5: the very same text is the first answer, or among the first five. One thread.
Beside them what is right without looking: the most frequent words or characters of that length in the training text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ONE_THREAD, say
from benchmarks.records import FOLDER

SEED = 1
BESIDE = 300
"""Characters of a play beside a gap."""
WAYS = {"forward": ("forward",), "backward": ("backward",), "both": ("forward", "backward")}


@dataclass(frozen=True)
class Gap:
    """A text without a part of it."""

    before: str
    missing: str
    behind: str


@dataclass(frozen=True)
class Case:
    """Gaps of one kind, and what is asked."""

    name: str
    gaps: list[Gap]
    options: Any
    """The options of `fill`, by the missing part."""
    frequent: Any
    """The five most frequent texts in training, by the missing part."""


def plays(path: Path, count: int) -> list[Case]:
    """Words of the last tenth of tinyshakespeare, which is held back from training."""
    text = path.read_text(encoding="utf-8")
    held = text[int(0.9 * len(text)) :]
    words = [found for found in re.finditer(r"\b[A-Za-z]{3,10}\b", held) if BESIDE < found.start() < len(held) - BESIDE]
    chosen = random.Random(SEED).sample(words, count)
    gaps = [Gap(held[one.start() - BESIDE : one.start()], one[0], held[one.end() :][:BESIDE]) for one in chosen]
    counts = Counter(re.findall(r"\b[A-Za-z]{1,12}\b", text[: int(0.9 * len(text))]))
    known, free = {n: _five(counts, n) for n in range(1, 13)}, _five(counts)
    return [
        Case(
            "word of a play, length known",
            gaps,
            lambda word: {"constraint": f"[A-Za-z]{{{len(word)}}}"},
            lambda word: known[len(word)],
        ),
        Case("word of a play, 1 to 12 letters", gaps, lambda word: {"constraint": "[A-Za-z]{1,12}"}, lambda word: free),
    ]


def _five(counts: Counter[str], length: int | None = None) -> list[str]:
    return [word for word, _ in counts.most_common() if length in (None, len(word))][:5]


def poems(folder: Path, part: str, template: str, count: int) -> list[Case]:
    """Characters of Tang poems that are held back from training."""
    rows, train = _rows(folder / part), _rows(folder / "train.tsv.gz")
    chosen = random.Random(SEED)
    cases = []
    for length, name in ((1, "one character of a poem"), (2, "two characters of a poem")):
        gaps = []
        for row in chosen.sample(rows, count):
            text = template.format(*row)
            first = len(text) - len(row[3])
            places = [at for at in range(first, len(text) - length) if text[at : at + length].isalpha()]
            if places:
                at = chosen.choice(places)
                gaps.append(Gap(text[:at], text[at : at + length], text[at + length :]))
        starts = ((row[3], at) for row in train for at in range(len(row[3]) - length + 1))
        counts = Counter(some for line, at in starts if (some := line[at : at + length]).isalpha())
        cases.append(Case(name, gaps, lambda word: {"length": len(word)}, partial(_always, _five(counts))))
    return cases


def _always(found: list[str], _: str) -> list[str]:
    return found


def _rows(path: Path) -> list[list[str]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file]


def measure(model: Any, cases: Iterable[Case], beams: int) -> list[dict[str, Any]]:
    """A record for each case and way of reading."""
    from gatework.runtime.filler import Filler
    from gatework.runtime.filling import Filling
    from gatework.runtime.gaps import Gapped

    records: list[dict[str, Any]] = []
    documents = model.bundle.config["decode"]["documents"] != "file"
    for case in cases:
        records.append(_record(case, "most frequent", [case.frequent(gap.missing) for gap in case.gaps]))
        for way, directions in WAYS.items():
            filler = Filler({name: model.network for name in directions}, model.codec.text, documents=documents)
            answers, start = [], time.process_time()
            for gap in case.gaps:
                options = Filling(count=5, beams=beams, **case.options(gap.missing))
                answers.append([one.parts[0] for one in filler.fill(Gapped((gap.before, gap.behind)), options)])
            seconds = (time.process_time() - start) / len(case.gaps)
            records.append(_record(case, way, answers) | {"beams": beams, "seconds": seconds})
            say(f"{case.name}, {way}: {records[-1]}")
    return records


def _record(case: Case, way: str, answers: list[list[str]]) -> dict[str, Any]:
    pairs = [(gap.missing, found) for gap, found in zip(case.gaps, answers, strict=True)]
    first, five = (sum(missing in found[:n] for missing, found in pairs) / len(pairs) for n in (1, 5))
    return {"case": case.name, "way": way, "gaps": len(pairs), "at_1": first, "at_5": five}


def table(records: Iterable[dict[str, Any]]) -> str:
    """The records as Markdown."""
    lines = ["| taken out | read | @1, % | @5, % | ms a gap |", "| --- | --- | ---: | ---: | ---: |"]
    for one in records:
        taken = f"{1000 * one['seconds']:.0f}" if "seconds" in one else ""
        scores = f"{100 * one['at_1']:.1f} | {100 * one['at_5']:.1f} | {taken}"
        lines.append(f"| {one['case']} ({one['gaps']}) | {one['way']} | {scores} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shakespeare", type=Path, help="a character model of tinyshakespeare, both directions")
    parser.add_argument("--tang", type=Path, help="a character model of Tang poems, both directions")
    parser.add_argument("--part", default="dev.tsv", help="of the poems (default dev.tsv)")
    parser.add_argument("--gaps", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--out", type=Path, default=FOLDER / "infilling.json")
    arguments = parser.parse_args()
    os.environ |= ONE_THREAD
    import gatework as gw

    data = Path(os.environ["GATEWORK_DATA"])
    records = []
    if arguments.shakespeare:
        cases = plays(data / "tinyshakespeare" / "input.txt", arguments.gaps)
        records += measure(gw.load(arguments.shakespeare), cases, arguments.beams)
    if arguments.tang:
        model = gw.load(arguments.tang)
        template = model.bundle.config["decode"]["template"]
        cases = poems(data / "tang_poems_zh", arguments.part, template, arguments.gaps)
        records += measure(model, cases, arguments.beams)
    print(table(records))
    arguments.out.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
