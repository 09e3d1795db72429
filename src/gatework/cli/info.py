"""`gatework info`: what a bundle is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gatework.cli.output import answer, answer_json

LEFT_OUT = re.compile(r"^recipe\.|^data\.formats\.|^metrics\.\w+\.(per_class|confusion|reliability)\b")
"""What only `--json` shows."""


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell what a model is: task, sizes, data, metrics, versions, the command that made it."""
    from gatework.runtime import load

    facts = load(model).info()
    if json:
        answer_json(facts)
        return
    for name, value in _rows(facts):
        if not LEFT_OUT.search(name):
            answer(f"{name:<34} {value}")


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as dotted names and values, in order. Long lists are cut, what is empty is left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and value:
            shown = ", ".join(_plain(one) for one in value[:12])
            yield f"{prefix}{name}", f"{shown}, ... ({len(value)} in all)" if len(value) > 12 else shown
        elif value not in (None, "", [], ()):
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
