"""`gatework tasks`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from gatework.cli.output import answer, answer_json


def run(json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """List tasks, recurrent cells and text units, and what each reads."""
    from gatework.cells import CELLS
    from gatework.core.recipe import Unit
    from gatework.tasks import TASKS

    tasks = {name: {"learns": task.summary, "reads": task.reads} for name, task in TASKS.items()}
    cells = {name: list(cell.gates) for name, cell in CELLS.items()}
    units = list(get_args(Unit))
    if json:
        answer_json({"tasks": tasks, "cells": cells, "units": units})
        return
    answer("Tasks (recipe key `task`)")
    for name, task in tasks.items():
        answer(f"  {name:<18} {task['learns']}")
        answer(f"  {'':<18} reads: {task['reads']}")
    answer("\nRecurrent cells (recipe key `model.cell`)")
    for name, gates in cells.items():
        answer(f"  {name:<18} {'gates ' + ' '.join(gates) if gates else 'no gates'}")
    answer("\nText units (recipe key `input.unit`)")
    answer(f"  {', '.join(units)}")
