"""The sets of sequence to sequence: where their test files are, how they are counted, what was set out for each.

Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A metric of a set and what it is meant to reach."""

    metric: str
    """A name in the metrics of `gatework evaluate`; names within it by dots."""
    shown: str
    """The metric as a reader knows it."""
    scale: float = 1.0
    more_is_better: bool = True
    published: str = "–"
    floor: float | None = None
    target: float | None = None

    def of(self, record: Mapping[str, Any]) -> float | None:
        """The figure of a record, scaled; None where it has none."""
        found: Any = record
        for part in self.metric.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return self.scale * float(found) if found is not None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceSet:
    """One set: its recipe is `recipes/<name>.toml`."""

    name: str
    title: str
    test: str
    """In `$GATEWORK_DATA`."""
    figures: tuple[Figure, ...]
    minutes: float = 45
    """Most that training may take."""
    megabytes: float = 8
    """Most that the bundle may have."""
    folded: str = ""
    """Letters without which answers and references are compared a second time."""


def _bleu(published: str, floor: float | None, target: float | None) -> tuple[Figure, ...]:
    return (
        Figure(metric="bleu_lowercase", shown="BLEU, lower case", published=published, floor=floor, target=target),
        Figure(metric="bleu", shown="BLEU, mixed case"),
        Figure(metric="chrf", shown="chrF"),
    )


def _rouge() -> tuple[Figure, ...]:
    return tuple(Figure(metric=f"rouge{kind}", shown=f"ROUGE-{kind}", scale=100.0) for kind in ("1", "2", "L"))


def _errors(where: str, shown: str, published: tuple[str, str]) -> tuple[Figure, ...]:
    """Of phonemes and words; the goals are the same however they are counted."""
    return tuple(
        Figure(
            metric=where + metric, shown=shown.format(what) + ", %", scale=100.0, more_is_better=False,
            published=told, floor=floor, target=target,
        )
        for metric, what, told, floor, target in (
            ("per", "phoneme errors", published[0], 8.0, 5.8),
            ("wer", "word errors", published[1], 32.0, 25.0),
        )
    )  # fmt: skip


_REPLIES = (
    Figure(metric="perplexity", shown="perplexity", more_is_better=False),
    Figure(metric="recall.recall@1", shown="recall@1 of 20, %", scale=100.0),
    Figure(metric="distinct2", shown="distinct-2", scale=1.0),
)
SETS: dict[str, SequenceSet] = {
    one.name: one
    for one in (
        SequenceSet(
            name="mt-multi30k-deen", title="Multi30k de→en", test="multi30k_en_de/test_2016_flickr.tsv",
            figures=_bleu("33.5 RNN, 36.5 Transformer", 33.0, 38.0),
        ),
        SequenceSet(
            name="mt-multi30k-ende", title="Multi30k en→de", test="multi30k_en_de/test_2016_flickr.tsv",
            figures=_bleu("mid-30s", 31.0, 36.0),
        ),
        SequenceSet(
            name="mt-tatoeba-zhen", title="Tatoeba zh→en", test="tatoeba_en_zh/test.tsv",
            figures=_bleu("–", None, None)[1:],
        ),
        SequenceSet(
            name="mt-tatoeba-enzh", title="Tatoeba en→zh", test="tatoeba_en_zh/test.tsv",
            figures=(Figure(metric="bleu", shown="BLEU, by character"), Figure(metric="chrf", shown="chrF")),
        ),
        SequenceSet(
            name="g2p-cmudict", title="CMUdict", test="cmudict_g2p/test.tsv", megabytes=3, folded="012",
            figures=(
                *_errors("", "{}", ("–", "–")),
                *_errors("folded.", "{}, stress left out", ("5.5", "23.6")),
            ),
        ),
        SequenceSet(
            name="sum-debian", title="Debian synopses", test="debian_synopsis_en/test.jsonl", figures=_rouge(),
        ),
        SequenceSet(
            name="sum-reuters", title="Reuters headlines", test="reuters_headlines/test.jsonl.gz", figures=_rouge(),
        ),
        SequenceSet(name="reply-kdconv", title="KdConv replies", test="kdconv_zh/test.jsonl", figures=_REPLIES),
        SequenceSet(
            name="reply-selfdialogue", title="Self-dialogues", test="self_dialogue_en/test.jsonl", figures=_REPLIES,
        ),
    )
}  # fmt: skip
"""By name of the recipe."""


def choose(names: Sequence[str]) -> list[SequenceSet]:
    """Sets by name, all without names. Exits where one is unknown."""
    if unknown := sorted(set(names) - set(SETS)):
        sys.exit(f"unknown set {unknown[0]!r}. Known: {', '.join(SETS)}.")
    return [SETS[name] for name in names or SETS]
