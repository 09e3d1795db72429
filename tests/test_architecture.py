"""Who may import whom, read off the source; and what may be imported where torch, pydantic or rich is missing."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "src" / "gatework"

# A package and what it may import. Arrows point down only. `runtime` and `export` reach `text` through `tasks` alone;
# for `train` see docs/decisions/0007. The API in `__init__`, the estimators and the commands may use everything inside
# their functions.
ARROWS = {
    "core": set(),
    "cells": {"core"},
    "kernels": {"cells", "core"},
    "text": {"core"},
    "tasks": {"text", "core"},
    "runtime": {"tasks", "kernels", "cells", "core"},
    "nn": {"kernels", "cells", "core"},
    "train": {"nn", "tasks", "runtime", "export", "text", "core"},
    "export": {"nn", "tasks", "runtime", "core"},
    "explain": {"runtime", "tasks", "core"},
    "server": {"runtime", "explain", "core"},
}
DOORS = {"cli", "sklearn", "__init__", "__main__"}
WITH_TORCH = {"nn", "train", "export"}
TYPING_ONLY = {"tasks": {"runtime"}, "export": {"text"}, "nn": {"tasks"}}
"""Names a package may use in annotations alone, never at run time."""


def _package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(tree: ast.AST, *, typing: bool = False) -> list[tuple[str, int, bool]]:
    """(dotted name, line, whether only for type checkers) of every absolute import."""
    found = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import):
            found += [(name.name, child.lineno, typing) for name in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            module = child.module or ""
            if module == "gatework":
                found += [(f"gatework.{name.name}", child.lineno, typing) for name in child.names]
            else:
                found.append((module, child.lineno, typing))
        else:
            found += _imports(child, typing=typing or _is_typing_guard(child))
    return found


SOURCES = sorted(ROOT.rglob("*.py"))


def test_every_package_is_known():
    packages = {_package(path) for path in SOURCES}
    assert packages <= set(ARROWS) | DOORS, "a new package needs its arrows here and in CONTRIBUTING.md"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path):
    package = _package(path)
    if package in DOORS:
        return
    allowed = ARROWS[package] | {package, "_native"} if package == "kernels" else ARROWS[package] | {package}
    for name, line, typing in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] != "gatework" or len(parts) == 1:
            continue
        target = parts[1]
        if typing and target in TYPING_ONLY.get(package, set()):
            continue
        assert target in allowed or target.startswith("__"), f"{path}:{line}: {package} must not import {target}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_in_three_packages(path):
    names = {name.split(".")[0] for name, _, _ in _imports(ast.parse(path.read_text(encoding="utf-8")))}
    if _package(path) not in WITH_TORCH:
        assert "torch" not in names
        assert "pickle" not in names
    assert not names & {"pickle", "marshal", "shelve"}, "a bundle or a checkpoint is never a pickle"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_evaluates_text(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "__import__"}, f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", [p for p in SOURCES if _package(p) != "cli"], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_never_prints(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}:{node.lineno}: progress goes through a callback"


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Block())
"""


def _run(code: str, blocked: set[str]) -> subprocess.CompletedProcess[str]:
    program = BLOCKED.format(blocked=sorted(blocked)) + code
    return subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120)


def _module(path: Path) -> str:
    return ".".join(["gatework", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def test_everything_else_imports_without_torch():
    extras = {"torch", "tokenizers", "matplotlib", "jieba", "rjieba"}
    without = WITH_TORCH | {"sklearn"} | (set() if find_spec("uvicorn") else {"server"})
    modules = [_module(path) for path in SOURCES if _package(path) not in without]
    done = _run("import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in modules), extras)
    assert done.returncode == 0, done.stderr


def test_prediction_path_is_light():
    code = "import gatework.cli.app, gatework.cli.predict, gatework.runtime\n"
    done = _run(code, {"torch", "pydantic", "rich", "tokenizers", "sklearn", "matplotlib", "scipy", "jieba", "rjieba"})
    assert done.returncode == 0, done.stderr
