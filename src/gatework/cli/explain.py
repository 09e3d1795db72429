"""`gatework explain`: which tokens speak for an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.output import answer, answer_json, one_field


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to explain.")],
    label: Annotated[str | None, typer.Option("--label", help="Explain this label instead of the answer.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show how much each token of a text speaks for its answer."""
    from gatework.explain import explain
    from gatework.runtime import load

    found = explain(load(model), text, label=label)
    if json:
        answer_json(found.to_dict())
        return
    answer(f"{one_field(found.label)}\t{found.score:.4f}")
    for token in found.tokens:
        answer(f"{token.weight:+.4f}\t{one_field(token.text)}")
