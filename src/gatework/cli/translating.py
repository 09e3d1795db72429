"""What `gatework predict` does with a model that writes texts from sources: answer, score pairs, draw an alignment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.cli.output import answer, answer_json, say
from gatework.cli.writing import writing_options
from gatework.core.counted import counted
from gatework.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gatework.runtime import Model


def translate(
    opened: Model,
    batches: Iterable[Sequence[str]],
    settings: Sequence[str],
    *,
    top_k: int | None,
    json: bool,
    plot: Path | None,
) -> None:
    """A line an input line: the text, or with several of them each and its score, tabs between all.

    Raises: ConfigError: an option is unknown, or `plot` is asked of several texts. OutputError: `plot` is no place
        for a picture.
    """
    if plot is not None:
        from gatework.explain.figure import check_png

        check_png(plot)
    options: dict[str, Any] = writing_options(settings)
    if top_k is not None:
        options["count"] = top_k
    cut = total = 0
    odd = _Lines("are in a script that the model has not learnt to read")
    strange = _Lines("have tokens that the model does not know")
    drawn: Any = None
    for batch in batches:
        found = opened.predict_batch(batch, **options)
        total += len(found)
        if plot is not None and total > 1:
            raise ConfigError("--plot draws one text. Give it as the argument, or a file of one line.")
        for place, one in enumerate(found, start=1):
            cut += one.reason == "length"
            line = total - len(found) + place
            if one.script:
                odd.add(line, f"{one.script} script, which the model has not learnt to read")
            elif one.unknown:
                strange.add(line, f"{counted(one.unknown, 'token')} that the model does not know")
            drawn = one
            if json:
                answer_json(one.to_dict())
            else:
                answer(one.to_line(top_k))
        sys.stdout.flush()
    for lines in (odd, strange):
        lines.end(total)
    if cut:
        more = "--set max_tokens=N with a larger N" if options.get("max_tokens") else "--set max_ratio=4"
        say(f"{cut:,} of {total:,} answers were cut at their limit; {more} lets them be longer")
    if plot is not None:
        from gatework.explain import alignment_png

        if drawn is None:
            raise DataError("--plot: there is no text to draw.")
        say(f"alignment drawn: {alignment_png(drawn, plot)}")


class _Lines:
    """Lines that a person should know of: the first is told of when it comes, in the end how many there were."""

    def __init__(self, what: str) -> None:
        self._what, self._count = what, 0

    def add(self, line: int, what: str) -> None:
        self._count += 1
        if self._count == 1:
            say(f"line {line}: {what}")

    def end(self, total: int) -> None:
        if self._count > 1:
            say(f"{self._count:,} of {total:,} lines {self._what}")


def score_pairs(opened: Model, batches: Iterable[Sequence[str]], source: str, json: bool) -> None:
    """A line an input line: log probability of the target in nats, perplexity and tokens, tabs between them.

    Raises: DataError naming source and line: a line is no source and target with a tab between them.
    """
    trained = opened.info().get("data", {}).get("formats", {}).get("train", {})
    if isinstance(trained.get("source"), int) and trained["source"] > trained["target"]:
        say("each line is read as a source, a tab, its target; in the training file the target stood first")
    number = 0
    for batch in batches:
        pairs = []
        for line in batch:
            number += 1
            parts = line.split("\t")
            if len(parts) != 2:
                raise DataError(f"{source}:{number}: expected a source and a target with a tab between them.")
            pairs.append((parts[0], parts[1]))
        for (text, target), one in zip(pairs, opened.score(pairs), strict=True):
            if json:
                answer_json({"source": text, "target": target} | one.to_dict())
            else:
                answer(f"{one.log_p:.4f}\t{one.perplexity:.4f}\t{one.tokens}")
        sys.stdout.flush()
