"""`gatework find-lr`: a learning rate from a short trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.output import answer, answer_json, say
from gatework.cli.source import recipe_of
from gatework.cli.train import load_training


def run(
    source: Annotated[Path, typer.Argument(metavar="RECIPE|DATA", help="A recipe (.toml) or a data file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a recipe option; repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The curve and the suggestion as one JSON object.")] = False,
) -> None:
    """Suggest a learning rate: raise it over a short trial and look at the loss."""
    training = load_training()
    recipe = recipe_of(source, overrides=settings or [], say=say)
    found = training.find_learning_rate(recipe, say=say)
    if json:
        answer_json(found.to_dict())
        return
    for rate, loss in found.curve:
        answer(f"{rate:.2e}\t{loss:.4f}")
    answer(f"suggested: --set train.learning_rate={found.suggestion:.2g}")
