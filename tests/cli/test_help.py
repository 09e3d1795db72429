"""Help pages: there for every command."""

import subprocess
import sys

import pytest

from gatework.cli.app import COMMANDS

RUN = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())"]
HEAVY = ("torch", "numpy", "pydantic", "rich", "sklearn", "tokenizers")


def test_the_list_names_every_command_with_a_summary(gatework):
    done = gatework("--help")
    assert done.status == 0
    for name in COMMANDS:
        line = next(line for line in done.lines if line.startswith(f"  {name} "))
        assert len(line.split()) > 3, f"{name} needs a summary"


def test_no_arguments_show_the_help(gatework):
    assert gatework().out == gatework("--help").out == gatework("-h").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(gatework, name):
    done = gatework(name, "--help")
    assert done.status == 0
    assert f"Usage: gatework {name}" in done.out
    assert done.err == ""
    assert gatework(name, "-h").out == done.out


def test_the_package_runs_as_a_module(gatework):
    done = subprocess.run([sys.executable, "-m", "gatework", "tasks"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, gatework("tasks").out)


def test_version(gatework):
    import gatework as package

    assert gatework("--version").lines == [f"gatework {package.__version__}"]


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = f"import sys; from gatework.cli import main; main({arguments!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    loaded = done.stderr.split()
    assert [name for name in HEAVY if name in loaded] == []
