"""`gatework export`: the same model with its weights stored another way, or with a shortlist."""

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
    to: Annotated[
        str | None, typer.Option("--to", metavar="FORM", help="int8, bf16 or fp32; as they are otherwise.")
    ] = None,
    shortlist: Annotated[
        Path | None,
        typer.Option(
            "--shortlist",
            metavar="PAIRS",
            help="Translators: learn from these pairs what each token is translated to, for --set shortlist=true.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The new file; else MODEL-FORM.gw or MODEL-shortlist.gw.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a model with its weights stored as int8, bf16 or fp32, or with a shortlist of likely target words."""
    if to is None and shortlist is None:
        raise ConfigError("export: --to is missing. Give int8, bf16 or fp32, or --shortlist PAIRS.")
    if to is not None and to not in FORMS:
        raise ConfigError(f"--to {to!r} is unknown. {nearest(to, FORMS)}")
    target = output if output is not None else model.with_name(f"{model.stem}-{to or 'shortlist'}.gw")
    check_writable(target)
    from gatework.export import add_shortlist, restore

    if shortlist is None:
        info = restore(model, target, storage=to)
    else:
        info = add_shortlist(model, target, shortlist, storage=to)
    if json:
        answer_json({"bundle": {"path": str(target), "bytes": info.nbytes}, "weights": info.storage})
    else:
        answer(f"{target}: {size(info.nbytes)}, weights stored as {info.storage} (was {size(model.stat().st_size)})")
