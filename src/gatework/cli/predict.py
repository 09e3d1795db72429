"""`gatework predict`: one line in, one answer out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gatework.cli.lines import file_batches, line_batches
from gatework.cli.output import answer, answer_json
from gatework.core.errors import ConfigError, DataError

FILE_SUFFIXES = (".txt", ".tsv", ".csv", ".jsonl", ".json", ".gz")


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    source: Annotated[
        str | None,
        typer.Argument(metavar="TEXT|-|FILE", help="A text, a file of texts (one a line), or - for standard input."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The argument is a text, even if a file has that name.")] = False,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", min=1, help="Labels to give for each text, best first; 1, or all in JSON."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0.0,
            max=1.0,
            help="Several labels: give each from this score on. One label: mark answers below it `uncertain`.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Label texts with a trained model: one line in, one answer out.

    An answer is label, tab, score; with --top-k more pairs follow. No line is ever dropped or merged: an empty line
    is answered with the label that was most frequent in training.
    """
    from gatework.runtime import load

    opened = load(model)
    options = {"top_k": top_k if json else top_k or 1, "threshold": threshold}
    for texts in _texts(source, text):
        for result in opened.predict_batch(texts, **options):
            if json:
                answer_json(result.to_dict())
            else:
                answer(result.to_line(top_k))
        sys.stdout.flush()


def _texts(source: str | None, is_text: bool) -> Any:
    """Batches of texts of the command line's argument, or of standard input."""
    if source is None or (source == "-" and not is_text):
        if source is None and sys.stdin.isatty():
            raise ConfigError("predict: nothing to label. Give a text, a file, or - for standard input.")
        return line_batches(sys.stdin.buffer, "standard input")
    path = Path(source)
    if source and not is_text and _exists(path):  # Path("") is the current folder
        if path.is_dir():
            raise DataError(f"{path}: is a folder. Give a file of texts, or --text to label the word itself.")
        return file_batches(path)
    if not is_text and path.suffix in FILE_SUFFIXES and len(source.split()) == 1:
        raise DataError(f"{path}: no such file. Check the path, or give --text to label the word itself.")
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError("predict: the text is not UTF-8. Set a UTF-8 locale, or put the text in a file.") from None
    return iter([[source]])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text too long for a path
        return False
