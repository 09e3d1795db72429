"""`gatework train`: from a recipe or a data file to a model file."""

from __future__ import annotations

import json as json_module
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gatework.cli import units
from gatework.cli.output import answer, answer_json, say, size
from gatework.cli.progress import TrainingProgress
from gatework.cli.source import default_output, recipe_of
from gatework.core.errors import ConfigError, MissingExtraError
from gatework.core.files import check_writable


def run(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE|DATA", help="A recipe (.toml), a data file, or a folder that holds train.*."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The model file; named after the recipe or the data otherwise."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a recipe option, such as train.epochs=3; repeatable."),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", "-t", help="What to learn: see `gatework tasks`.")] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on in this run folder after a stop.")
    ] = None,
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", metavar="TIME", help="Stop in time with the best so far: 90s, 5m.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="Largest model file: 500kB, 1MB, 1.5MiB.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Train a model and write it as one file.

    With a data file alone, format, columns, language and task are inferred, and what was inferred is said.
    """
    overrides = list(settings or [])
    overrides += [f"task={json_module.dumps(task)}"] if task is not None else []
    overrides += [f"train.seed={seed}"] if seed is not None else []
    if time_budget is not None:
        overrides.append(f"train.time_budget={units.seconds(time_budget, option='--time-budget')}")
    if max_size is not None:
        overrides.append(f"export.max_size={units.nbytes(max_size, option='--max-size')}")
    recipe = _recipe(source, resume, overrides)
    if output is None:
        output = default_output(source) if source is not None else Path(f"{resume}").with_suffix(".gw")
        say(f"the model goes to {output}")
    check_writable(output)
    result = train_with_progress(recipe, output, command=context.obj, resume=resume)
    if json:
        answer_json(result.to_dict())
    else:
        answer(result_text(result, task=recipe.task))


def train_with_progress(recipe: Any, output: Path, *, command: str, resume: Path | None = None) -> Any:
    """Train as the recipe says, showing progress on stderr. Returns a `TrainResult`.

    `command` is the command line, which the bundle keeps.
    """
    started = time.monotonic()  # a time budget covers loading PyTorch, too
    training = load_training()
    with TrainingProgress() as progress:
        return training.train(
            recipe, output, resume=resume, command=command, say=progress.say, progress=progress, started=started
        )


def load_training() -> Any:
    """The package `gatework.train`. Raises MissingExtraError where PyTorch is not installed."""
    try:
        import gatework.train as training
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "torch":
            raise
        raise MissingExtraError("training", "train") from None
    return training


def result_text(result: Any, *, task: str) -> str:
    """What a person reads after training: the report on the last part measured, a line on the others, size, time."""
    from gatework.tasks import TASKS

    values = result.to_dict()
    *others, last = values["metrics"]
    lines = []
    for part in others:
        metrics = values["metrics"][part]
        names = {"accuracy": "accuracy", "f1": "F1", "seg_f1": "F1 of words", "perplexity": "perplexity"}
        names |= {"bleu": "BLEU", "rouge1": "ROUGE-1", "per": "edits a token", "wer": "answered wrongly"}
        of = ("document" if metrics["n"] == 1 else "documents") if task == "lm" else "examples"
        scores = [f"{said} {metrics[name]:.4f}" for name, said in names.items() if name in metrics]
        lines += [f"{part}: {', '.join(scores)}, {metrics['n']:,} {of}"]
    lines += [f"{last}:", TASKS[task].report(values["metrics"][last]), ""]
    bundle, seconds = values["bundle"], values["seconds"]
    lines.append(f"{bundle['path']}: {size(bundle['bytes'])}, trained in {seconds['train']:.0f} s")
    return "\n".join(lines)


def _recipe(source: Path | None, resume: Path | None, overrides: list[str]) -> Any:
    """The recipe of the command line, or the one the run to resume began with."""
    if source is not None:
        return recipe_of(source, overrides=overrides, say=say)
    if resume is None:
        raise ConfigError("train: nothing to train on. Give a recipe (.toml), a data file, or --resume RUN.")
    saved = load_training().saved_recipe(resume)
    if not overrides:
        return saved
    from gatework.core.recipe_io import build_recipe

    return build_recipe(saved.model_dump(mode="json"), overrides=overrides)
