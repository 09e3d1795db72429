"""`gatework check`: every problem of a data set before training meets it."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.output import answer, answer_json, say
from gatework.cli.source import recipe_of


def run(
    source: Annotated[
        Path, typer.Argument(metavar="DATA", help="A data file, a folder that holds train.*, or a recipe (.toml).")
    ],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="The task the data are for; told by the data otherwise.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a recipe option, such as data.text=body; repeatable."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every problem, not ten of each kind.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Report every problem of a data set with file and line. Status 2 if something would stop training."""
    from gatework.tasks import TASKS

    overrides = list(settings or [])
    overrides += [f"task={dumps(task)}"] if task is not None else []
    recipe = recipe_of(source, overrides=overrides, say=say)
    data = recipe.data
    parts = {"train": data.train, "dev": data.dev, "test": data.test}
    files = {part: Path(path) for part, path in parts.items() if isinstance(path, str)}
    report = TASKS[recipe.task].check(files, data)
    if json:
        answer_json(report.to_dict())
    else:
        for line in report.lines(every=every):
            answer(line)
    if report.errors:
        raise typer.Exit(2)
