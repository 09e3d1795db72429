"""`gatework explain`: why a model answered as it did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gatework.cli.output import answer, answer_json, say
from gatework.core.errors import ConfigError, nearest

ENDINGS = {".html": "html", ".htm": "html", ".png": "png"}
LANGUAGES = ("en", "zh")


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to answer.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="A page (.html) or a picture (.png) to write.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Of a classifier: the label to explain, not the one it gives.")
    ] = None,
    language: Annotated[str, typer.Option("--language", help="Of the page's own words: en or zh.")] = "en",
    json: Annotated[bool, typer.Option("--json", help="One JSON object: all that a page shows.")] = False,
) -> None:
    """Show what each token did for an answer, and what the gates did at each token.

    Without -o, a token a line: of a classifier with what it does for the label, of a tagger with its tag, of a language
    model with its nats.
    """
    if out is not None and out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{out}: write a page, FILE.html, or a picture, FILE.png.")
    if language not in LANGUAGES:
        raise ConfigError(f"--language {language!r} is unknown. {nearest(language, LANGUAGES)}")
    from gatework.explain import explain, explanation_html, explanation_png
    from gatework.explain.html import summary
    from gatework.runtime import load

    found = explain(load(model), text, label=label)
    if out is not None:
        if ENDINGS[out.suffix.lower()] == "html":
            explanation_html(found, out, language=language)
        else:
            explanation_png(found, out)
        say(f"written: {out}")
    if json:
        answer_json(found)
    elif out is None:
        say(summary(found))
        for token in found["tokens"]:
            answer("\t".join([" ".join(token["text"].split()), *_told(token)]))


def _told(token: dict[str, Any]) -> list[str]:
    """What there is to say of a token."""
    values = [token[name] for name in ("weight", "tag", "score", "nats") if name in token]
    return [f"{value:.4f}" if isinstance(value, float) else value for value in values]
