"""`gatework chat`: a dialogue with a model, in the terminal or line by line through a pipe."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.lines import line_batches
from gatework.cli.output import answer, answer_json, say
from gatework.core.errors import DataError


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle of the task reply or lm.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of replies, as of predict, such as temperature=0.7, seed=4 or constraint.must_not=sorry; "
            "repeatable.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a reply.")] = False,
) -> None:
    """Talk with a model: it knows what was said before.

    A line is a message, its reply a line too. An empty line begins a new dialogue; end with Ctrl-D. Through a pipe
    every line is answered as it comes, an empty one by an empty one.
    """
    from gatework.cli.writing import writing_options
    from gatework.runtime import load

    chat = load(model).chat(**(options := writing_options(settings or [])))
    typed = sys.stdin.isatty()
    if typed:
        say("An empty line begins a new dialogue, Ctrl-D ends.")
    if chat.seed is not None and "seed" not in options:
        say(f"seed {chat.seed}: the same again with --set seed={chat.seed}")
    for number, message in enumerate(_typed() if typed else _piped(), start=1):
        if not message.strip():
            chat.clear()
            if typed:
                say("A new dialogue.")
            else:
                _show({"message": "", "text": ""} if json else "")
            continue
        try:
            found = chat.say(message)
        except DataError as error:
            if not typed:
                raise DataError(f"standard input:{number}: {error}") from None
            say(f"gatework: {error}")
            continue
        reply = found[0] if isinstance(found, list) else found
        _show({"message": message} | reply.to_dict() if json else " ".join(reply.text.split()))


def _show(reply: object) -> None:
    if isinstance(reply, str):
        answer(reply)
    else:
        answer_json(reply)
    sys.stdout.flush()


def _typed() -> Iterator[str]:
    """Lines of a terminal up to Ctrl-D; Ctrl-C leaves the cursor at the beginning of a line."""
    with suppress(ImportError):
        import readline  # noqa: F401  lines can be edited, and come again with the arrow keys
    while True:
        try:
            with _waking():
                line = input("> ")
        except (EOFError, KeyboardInterrupt) as stop:
            print(flush=True)
            if isinstance(stop, EOFError):
                return
            raise
        try:
            line.encode("utf-8")
        except UnicodeEncodeError:
            say("gatework: the message is not UTF-8. Set a UTF-8 locale.")
            continue
        yield line


@contextmanager
def _waking() -> Iterator[None]:
    """Wake five times a second: a Ctrl-C just before the wait for a key would otherwise be lost until that key."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _piped() -> Iterator[str]:
    for batch in line_batches(sys.stdin.buffer, "standard input"):
        yield from batch
