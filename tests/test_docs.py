"""The documentation says what the program does: commands, options, recipe keys, links."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gatework.cli.app import COMMANDS, group
from gatework.cli.template import recipe_template
from gatework.core.automaton import Constraint
from gatework.core.recipe import Recipe
from gatework.core.recipe_io import SECTIONS, build_recipe
from gatework.kernels.generation import REMEMBERED
from gatework.runtime.filler import READ
from gatework.runtime.filling import Filling
from gatework.runtime.writing import Options

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _section(command: str) -> str:
    """The guide's section on a command."""
    found = re.search(rf"^## `gatework {re.escape(command)}.*?(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/guide.md has no section '## `gatework {command} ...`'"
    return found[0]


def _command(name: str):
    return group().get_command(None, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_guide_has_every_command_and_option(name):
    section = _section(name)
    options = [option for parameter in _command(name).params for option in parameter.opts if option[:1] == "-"]
    for option in {*options} - {"--help", "-h"}:
        assert f"`{option}" in section or f", {option}" in section, f"docs/guide.md: {name} lacks {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_guide_invents_no_option(name):
    known = {option for parameter in _command(name).params for option in parameter.opts}
    for option in re.findall(r"^\| `(--?[a-z-]+)", _section(name), re.MULTILINE):
        assert option in known, f"docs/guide.md: {name} has no {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_guide_shows_an_example_of_every_command(name):
    assert re.search(rf"^(\$ )?gatework {name}\b|^.*\| gatework {name}\b", _section(name), re.MULTILINE)


def test_options_reference_is_current():
    script = [sys.executable, str(ROOT / "scripts" / "write-options-reference"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_options_reference_has_every_key():
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    for section, model in SECTIONS.items():
        part = page.split(f"## `[{section}]`")[1].split("\n## ")[0]
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in part
            assert field.description, f"{section}.{name} needs a docstring"


def test_template_has_every_key_and_is_a_recipe(tmp_path):
    import tomllib

    text = recipe_template("classify", {})
    for section, model in SECTIONS.items():
        part = text.split(f"[{section}]\n")[1]
        for name in model.model_fields:
            assert re.search(rf"^(# )?{name} = ", part, re.MULTILINE), f"{section}.{name}"
    build_recipe(tomllib.loads(text))
    uncommented = re.sub(r"^# (\w+ = (?!\.\.\.))", r"\1", text, flags=re.MULTILINE)
    given = build_recipe(tomllib.loads(uncommented))
    assert given.model_dump(exclude={"data"}) == Recipe().model_dump(exclude={"data"}), (
        "a shown default is not the default"
    )


def _commands(text: str) -> set[str]:
    """Lines inside code fences that run something of this project."""
    fences = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for fence in fences for line in fence.splitlines()]
    return {re.sub(r'"[^"]*"', '"..."', line) for line in lines if line.startswith(("gatework ", "scripts/", "pip "))}


def test_readme_commands_exist():
    for name, text in READMES.items():
        commands = _commands(text)
        assert {"scripts/demo", "scripts/test"} <= commands, name
        for line in commands:
            program, *arguments = line.split()
            if program.startswith("scripts/"):
                assert (ROOT / program).stat().st_mode & 0o111, f"{name}: {program} cannot be run"
            elif program == "gatework":
                known = {option for parameter in _command(arguments[0]).params for option in parameter.opts}
                asked = {part for part in arguments if part.startswith("-") and part != "-"}
                assert asked <= known, f"{name}: {line}"


def test_readmes_name_the_same_commands():
    assert _commands(READMES["README.md"]) == _commands(READMES["README.zh.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_decisions_are_numbered_and_complete():
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.match(rf"# 0*{int(page.name[:4])}[.:] ", text), page.name
        for part in ("## Context", "## Choice", "## Turned down"):
            assert part in text, f"{page.name}: {part}"


def test_every_recipe_is_read(monkeypatch, tmp_path):
    from gatework.core.recipe_io import load_recipe

    monkeypatch.setenv("GATEWORK_DATA", str(tmp_path))
    recipes = sorted((ROOT / "recipes").glob("*.toml"))
    assert len(recipes) >= 10
    for path in recipes:
        recipe = load_recipe(path)
        if path.stem in ("lm-news", "lm-reviews"):  # their text is made by scripts/write-language-model-text
            assert recipe.data.train == str(path.with_name(f"{path.stem.removeprefix('lm-')}.txt"))
            continue
        assert recipe.data.train.startswith(str(tmp_path)), path.name
        if path.stem not in ("lm-shakespeare", "ner-cluener"):  # known by their dev scores alone
            assert recipe.data.test is not None, f"{path.name}: a benchmark needs a test file"


def test_generation_page_has_every_option_and_part_with_its_default():
    page = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")
    for name in Options.__dataclass_fields__:
        assert f"\n| `{name}` |" in page, name
    for name in Constraint.__dataclass_fields__:
        assert re.search(rf"\n\|[^|]*`{name}`[^|]*\|", page), name
    assert f"| `max_tokens` | {Options().max_tokens} |" in page
    page, defaults = (ROOT / "docs" / "infilling.md").read_text(encoding="utf-8"), Filling()
    for name in Filling.__dataclass_fields__:
        assert f"\n| `{name}` |" in page, name
    for name in ("count", "beams", "window", "temperature", "seed"):
        assert f"\n| `{name}` | {getattr(defaults, name):g} |" in page
    assert f"Up to {READ:,} characters" in page
    page = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")
    assert f"last {REMEMBERED:,}" in page
