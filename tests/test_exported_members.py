"""Public names: every package lists what it exports, what it lists is there, and importing it is cheap."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gatework

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gatework.tasks", "gatework.tasks.classify", "gatework.explain", "gatework.text", "gatework.cells",
            "gatework.kernels", "gatework.runtime", "gatework.export", "gatework.nn", "gatework.train")  # fmt: skip


@pytest.mark.parametrize("name", ["gatework", "gatework.sklearn", *PACKAGES])
def test_what_is_listed_is_there(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__)), "no name twice"
    for member in module.__all__:
        assert getattr(module, member) is not None, f"{name}.{member}"


@pytest.mark.parametrize("name", ["gatework", "gatework.sklearn", *PACKAGES])
def test_public_functions_and_classes_are_documented(name):
    module = importlib.import_module(name)
    for member in module.__all__:
        value = getattr(module, member)
        if callable(value) and getattr(value, "__module__", "").startswith("gatework"):
            assert value.__doc__, f"{name}.{member} has no docstring"


def test_top_level_names():
    assert set(gatework.__all__) <= set(dir(gatework))
    assert gatework.errors.DataError.__mro__[1] is gatework.errors.UserError
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = gatework.lod


def test_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert gatework.__version__ == project["version"]


def _run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_gatework_imports_next_to_nothing():
    heavy = "torch numpy pydantic rich typer sklearn matplotlib tokenizers".split()  # noqa: SIM905
    code = f"import sys, gatework; print([name for name in {heavy!r} if name in sys.modules])"
    assert _run(code) == "[]"


def test_train_is_a_function_before_and_after_its_package_is_imported():
    code = """
import gatework
before = callable(gatework.train)
import gatework.train as package
from gatework.train import TrainResult
print(before, callable(gatework.train), package.TrainResult is TrainResult is gatework.TrainResult)
try:
    gatework.train("missing.toml", "m.gw")
except gatework.errors.ConfigError as error:
    print(str(error).startswith("missing.toml"))
"""
    assert _run(code).split() == ["True", "True", "True", "True"]
