"""From a command line to one command, and from an error to one line and an exit status.

Status 0: done. 2: a user's mistake, told in one line on stderr. 130: interrupted. 1: a bug, with its traceback.
Commands are imported on demand: the one that is run, or all of them (each is light) for the list in `--help`.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.main

from gatework.cli.values import Command, Group
from gatework.core.errors import ConfigError, Interrupted, UserError, nearest

COMMANDS = (
    "demo",
    "tasks",
    "init",
    "check",
    "train",
    "evaluate",
    "predict",
    "chat",
    "info",
    "explain",
    "serve",
    "export",
    "find-lr",
)
"""Commands in the order of the help page; each is the function `run` of the module of that name."""


HELP = {"help_option_names": ["-h", "--help"]}


class LazyGroup(Group):
    """A command group that imports a command when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            raise ConfigError(f"command {cmd_name!r} is unknown. {nearest(cmd_name, COMMANDS)}")
        module = importlib.import_module(f"gatework.cli.{cmd_name.replace('-', '_')}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name, cls=Command, context_settings=HELP)(module.run)
        return typer.main.get_command(app)


def _version(asked: bool) -> None:
    if asked:
        import gatework

        print(f"gatework {gatework.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    """Train LSTM models of text on your own machine; ship each as one small file that answers without PyTorch.

    `gatework demo` shows the whole in under a minute. `gatework COMMAND --help` explains a command.
    """


def group() -> Any:
    """The root command."""
    app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=False)
    app.callback(context_settings=HELP)(_root)
    return typer.main.get_command(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; only a bug raises."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    _use_utf8()
    warnings.showwarning = _one_line_warning
    try:
        return _invoke(arguments)
    except UserError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, Interrupted) as error:
        return _fail(str(error) or "interrupted.", 130)
    except BrokenPipeError:
        return _leave_closed_pipe()
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}.", 2)


def _invoke(arguments: list[str]) -> int:
    root = group()
    try:
        with root.make_context("gatework", list(arguments), obj=shlex.join(["gatework", *arguments])) as context:
            root.invoke(context)
        sys.stdout.flush()
    except typer.Exit as stop:
        sys.stdout.flush()
        return int(stop.exit_code)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _fail(_usage(error), 2)
    return 0


def _usage(error: Any) -> str:
    """One line for a command line that typer did not understand."""
    context = getattr(error, "ctx", None)
    name = getattr(error, "option_name", None)
    if name is not None and context is not None and type(error).__name__ == "NoSuchOption":
        known = [option for parameter in context.command.params for option in parameter.opts if option[:1] == "-"]
        message = f"option {name!r} is unknown. {nearest(name, [*known, '--help'])}"
    else:
        message = str(error.format_message()).rstrip(".") + "."
        message = message[:1].lower() + message[1:]
    path = context.command_path.removeprefix("gatework").strip() if context is not None else ""
    return f"{path}: {message} See gatework {path} --help." if path else f"{message} See gatework --help."


def _fail(message: str, status: int) -> int:
    sentence = " ".join(message.split())
    print(f"gatework: {sentence}", file=sys.stderr)
    return status


def _leave_closed_pipe() -> int:
    """The reader has what it wanted (`| head`): stop quietly, and keep Python from complaining at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _use_utf8() -> None:
    """UTF-8 out whatever the locale says, so that Chinese labels and texts survive a pipe."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _one_line_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """A warning as one note on stderr; its place in the code says nothing to a user."""
    print(f"gatework: note: {' '.join(str(message).split())}", file=sys.stderr)
