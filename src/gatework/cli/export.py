"""`gatework export`: the same model with its weights stored another way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.output import answer, answer_json, size
from gatework.core.errors import ConfigError, nearest
from gatework.core.files import check_writable

FORMS = ("int8", "bf16", "fp32")


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="int8, bf16 or fp32.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The new file; MODEL-FORM.gw otherwise.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a model with its weights stored as int8, bf16 or fp32."""
    if to not in FORMS:
        raise ConfigError(f"--to {to!r} is unknown. {nearest(to, FORMS)}")
    target = output if output is not None else model.with_name(f"{model.stem}-{to}.gw")
    check_writable(target)
    from gatework.export import restore

    info = restore(model, target, storage=to)
    if json:
        answer_json({"bundle": {"path": str(target), "bytes": info.nbytes}, "weights": to})
    else:
        answer(f"{target}: {size(info.nbytes)}, weights stored as {to} (was {size(model.stat().st_size)})")
