"""`gatework evaluate`: how good a model is on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gatework.cli.output import answer, answer_json, say
from gatework.core.errors import ConfigError, DataError
from gatework.core.files import check_writable


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled examples, as the model was trained on.")],
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Write every row with its answer: .jsonl, .tsv or CSV; of tags, CoNLL columns or .jsonl.",
        ),
    ] = None,
    errors: Annotated[
        Path | None,
        typer.Option("--errors", metavar="FILE", help="Tagging: write every mistake, by kind: .jsonl, .tsv or CSV."),
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option("--confusion", metavar="PNG", help="Draw the confusion matrix (extra `plots`).")
    ] = None,
    reliability: Annotated[
        Path | None, typer.Option("--reliability", metavar="PNG", help="Draw how far scores can be trusted (`plots`).")
    ] = None,
    cache: Annotated[
        int | None, typer.Option("--cache", metavar="N", help="Language models: a neural cache of the last N tokens.")
    ] = None,
    cache_weight: Annotated[
        float | None, typer.Option("--cache-weight", help="Share of the cache in a prediction; 0.1 unless set.")
    ] = None,
    cache_flatness: Annotated[
        float | None, typer.Option("--cache-flatness", help="How much alike states count for; 0.3 unless set.")
    ] = None,
    dynamic: Annotated[
        float | None,
        typer.Option("--dynamic", metavar="RATE", help="Language models: learn on from DATA while reading (PyTorch)."),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="MODEL",
            help="Translation and the like: another model that answers together with it; repeatable.",
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            min=0,
            metavar="N",
            help="Replies: how often the given one is found among N of the data; 20 unless set, 0 for not at all.",
        ),
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

    opened = load([model, *(beside or ())])
    task = TASKS[opened.task]
    if not data.exists():
        raise DataError(f"{data}: no such file. Give a file of labelled examples.")
    for path in (predictions, errors):
        if path is not None:
            check_writable(path)
    if pictures := [path for path in (confusion, reliability) if path is not None]:
        from gatework.explain.figure import check_png

        for path in pictures:
            check_png(path)
    _check_fit(opened, errors=errors, confusion=confusion, reliability=reliability)
    caching = {"cache": cache, "cache_weight": cache_weight, "cache_flatness": cache_flatness}
    more: dict[str, Any] = {name: value for name, value in caching.items() if value is not None}
    _check_language(opened, cache=cache, caching=more, dynamic=dynamic, predictions=predictions)
    if candidates is not None and opened.task != "reply":
        raise ConfigError(f"--candidates is for replies; this model is of the task {opened.task}.")
    given = {"errors": errors, "candidates": candidates}
    more |= {name: value for name, value in given.items() if value is not None}
    if dynamic is not None:
        metrics = _dynamic(opened, data, _reading(settings or []), dynamic)
    else:
        metrics = opened.evaluate(data, _reading(settings or []), predictions=predictions, **more)
    if confusion is not None or reliability is not None:
        from gatework.explain import confusion_png, reliability_png

        if confusion is not None:
            confusion_png(metrics, confusion)
        if reliability is not None:
            reliability_png(metrics, reliability)
    for path in (predictions, errors, confusion, reliability):
        if path is not None:
            say(f"written: {path}")
    if json:
        answer_json({"task": task.name, "data": str(data), "n": metrics["n"], "metrics": metrics})
    else:
        answer(task.report(metrics))


def _check_fit(opened: Any, *, errors: Path | None, confusion: Path | None, reliability: Path | None) -> None:
    """Raise ConfigError for an option that the model's task has nothing for."""
    if opened.task != "classify":
        for option, path in (("--confusion", confusion), ("--reliability", reliability)):
            if path is not None:
                hint = "; of a tagger's mistakes --errors FILE tells" if opened.task == "tag" else ""
                raise ConfigError(f"{option} is for classifiers{hint}.")
    if errors is not None and opened.task != "tag":
        raise ConfigError("--errors is for taggers; --predictions FILE holds every answer of a classifier.")


def _check_language(
    opened: Any, *, cache: int | None, caching: dict[str, Any], dynamic: float | None, predictions: Path | None
) -> None:
    """Raise ConfigError for options of language models that do not go with the model or one another."""
    if opened.task != "lm" and (caching or dynamic is not None):
        raise ConfigError("--cache and --dynamic are for language models.")
    if caching and cache is None:
        raise ConfigError("--cache-weight and --cache-flatness need --cache N, such as --cache 2000.")
    if dynamic is not None and (caching or predictions is not None):
        raise ConfigError("--dynamic goes with neither --cache nor --predictions. Ask for one after the other.")


def _dynamic(opened: Any, data: Path, reading: dict[str, Any], rate: float) -> dict[str, Any]:
    from gatework.cli.train import load_training

    load_training()  # says what to install where PyTorch is missing
    from gatework.tasks import TASKS
    from gatework.train.dynamic import evaluate_dynamic

    return evaluate_dynamic(opened, TASKS["lm"].read(data, opened.bundle.config, reading), rate=rate, source=str(data))


def _reading(overrides: list[str]) -> dict[str, Any]:
    """`--set` as options of `[data]`."""
    from gatework.core.recipe_io import build_recipe, parse_override

    build_recipe({}, overrides=overrides)  # unknown keys and wrong values are told as everywhere
    options = {}
    for override in overrides:
        (section, *name), value = parse_override(override)
        if section != "data" or len(name) != 1:
            raise ConfigError(f"--set {override}: only keys of [data] matter here, such as data.label=stars.")
        options[name[0]] = value
    return options
