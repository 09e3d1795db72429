"""A complete commented recipe, written out of the recipe models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from gatework.core.recipe import Recipe
from gatework.core.recipe_io import SECTIONS

HEAD = """\
# A recipe for `gatework train`. Every option stands here with its default; a line beginning with `#` is a comment,
# so take the `#` away where you want another value. Paths are relative to this file.
"""
PARTS = ("train", "dev", "test")
"""Options that a new recipe sets, so that it says where data goes."""
ENDINGS = {"tag": "conll", "lm": "txt"}
"""Of the data files of a task; others have .tsv."""


def recipe_template(task: str, defaults: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML text of a recipe for `task`, whose own defaults are `defaults`, in which every option appears once."""
    lines = [HEAD, *_comment(Recipe.model_fields["task"].description), f"task = {_toml(task)}"]
    for section, model in SECTIONS.items():
        lines += ["", f"[{section}]"]
        for name, field in model.model_fields.items():
            lines += _comment(field.description)
            if section == "data" and name in PARTS:
                lines.append(f'{name} = "{name}.{ENDINGS.get(task, "tsv")}"')
            else:
                default = defaults.get(section, {}).get(name, field.get_default(call_default_factory=True))
                lines.append(f"# {name} = {_toml(default)}" if default is not None else f"# {name} = ...")
    return "\n".join(lines) + "\n"


def _comment(description: str | None) -> Iterator[str]:
    yield from ("# " + line for line in textwrap.wrap(" ".join((description or "").split()), width=110))


def _toml(value: Any) -> str:
    """A default as TOML writes it. JSON agrees with TOML on strings, numbers, booleans and flat lists."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
