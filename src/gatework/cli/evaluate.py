"""`gatework evaluate`: how good a model is on labelled data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gatework.cli.output import answer, answer_json, say
from gatework.cli.writable import check_writable
from gatework.core.errors import ConfigError, DataError

ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""Endings that say which format a file has, whatever the training file was."""


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled examples: CSV, TSV, JSON lines, fastText.")],
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE", help="Write every row with its answer: .jsonl, .tsv or CSV."),
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option("--confusion", metavar="PNG", help="Draw the confusion matrix (extra `plots`).")
    ] = None,
    reliability: Annotated[
        Path | None, typer.Option("--reliability", metavar="PNG", help="Draw how far scores can be trusted (`plots`).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How to read DATA, such as data.label=stars; repeatable."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure a model on labelled data, with confidence intervals."""
    from gatework.runtime import load
    from gatework.tasks import TASKS
    from gatework.text import read_examples

    opened = load(model)
    task = TASKS[opened.task]
    if not data.exists():
        raise DataError(f"{data}: no such file. Give a file of labelled examples.")
    for path in (predictions, confusion, reliability):
        if path is not None:
            check_writable(path)
    found = _format(data, opened.info(), settings or [])
    say(f"{data}: {found.describe()}")
    examples = read_examples(data, format=found)
    metrics = task.evaluate(opened, examples, source=str(data), predictions=predictions)
    if confusion is not None or reliability is not None:
        from gatework.explain import confusion_png, reliability_png

        if confusion is not None:
            confusion_png(metrics, confusion)
        if reliability is not None:
            reliability_png(metrics, reliability)
    for path in (predictions, confusion, reliability):
        if path is not None:
            say(f"written: {path}")
    if json:
        answer_json({"task": task.name, "data": str(data), "n": metrics["n"], "metrics": metrics})
    else:
        answer(task.report(metrics))


def _format(path: Path, info: Mapping[str, Any], overrides: list[str]) -> Any:
    """How DATA is read: as the command line says, else like the training file, else by looking at it."""
    from gatework.core.recipe_io import parse_override, recipe_for_data
    from gatework.text import Format, infer

    for override in overrides:
        if parse_override(override)[0][0] != "data":
            raise ConfigError(f"--set {override}: only keys of [data] matter here, such as data.label=stars.")
    trained = info.get("data", {}).get("formats", {}).get("train")
    section = recipe_for_data(path, overrides=overrides).data
    if trained is None:
        return infer(path, section)
    like = Format(**trained | {"header": tuple(trained["header"]) if trained["header"] else None, "why": ()})
    ending = ENDINGS.get(Path(path.name.removesuffix(".gz")).suffix, like.kind)
    if section.format == "auto" and ending != like.kind:
        update = {"label_separator": section.label_separator or like.label_separator, "format": ending}
        return infer(path, section.model_copy(update=update))
    return infer(path, section, like=like)
