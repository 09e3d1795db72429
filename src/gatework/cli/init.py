"""`gatework init`: a recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.output import answer, say
from gatework.core.errors import OutputError


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to learn: see `gatework tasks`.")] = "classify",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here instead of standard output; an existing file is kept."),
    ] = None,
) -> None:
    """Print a complete commented recipe: every option, its default, what it does."""
    from gatework.cli.template import recipe_template
    from gatework.tasks import TASKS

    text = recipe_template(task, TASKS[task].defaults)
    if output is None:
        answer(text.rstrip("\n"))
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise OutputError(f"{output}: exists and is kept. Choose another name, or remove it first.") from None
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}. Choose a folder that exists.") from None
    say(f"{output}: set data.train, then run: gatework train {output} -o model.gw")
