"""The `gatework` command. Each command is one file here; only the one asked for is imported."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (`sys.argv` by default) and return its exit status."""
    from gatework.cli.app import run

    return run(arguments)
