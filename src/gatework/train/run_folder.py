"""The folder of a run.

    M.run/
      recipe.json      the recipe as it was asked for
      command.txt      the command that began the run; the bundle names it however often the run was resumed
      resolved.json    the recipe with nothing left to infer, and facts about the data
      log.jsonl        what happened, one JSON object a line
      metrics.jsonl    dev metrics, one line an epoch
      checkpoints/     the last two checkpoints
      prepared/        the encoded examples; made again on a resume
      tensorboard/     when TensorBoard is installed

Every file but the log is replaced as a whole or not at all. The log is appended to; a line cut off by a kill is
dropped when the run goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from gatework.core.errors import ConfigError
from gatework.core.files import atomic_write, output_error
from gatework.core.recipe import Recipe


class RunFolder:
    """Paths of a run, and how they are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.command = path / "command.txt"
        self.resolved = path / "resolved.json"
        self.log_file = path / "log.jsonl"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.prepared = path / "prepared"
        self.tensorboard = path / "tensorboard"

    def begin(self, recipe: Recipe, *, resume: bool, command: str = "") -> None:
        """Make the folder ready: emptied of an earlier run for a new one, checked against `recipe` for a resume.

        `command` is kept by a new run, and left as it was by a resumed one.

        Raises:
            OutputError: the folder cannot be written.
            ConfigError: there is nothing to resume, or the recipe is not the one the run began with.
        """
        if resume:
            self._check(recipe)
        else:
            self._clear()
        try:
            for folder in (self.path, self.checkpoints, self.prepared):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.path, error) from None
        if resume:
            self._mend_log()
        else:
            with atomic_write(self.command) as file:
                file.write(command.encode())
        self.write_json(self.recipe, recipe.model_dump(mode="json"))

    def _check(self, recipe: Recipe) -> None:
        before = saved_recipe(self.path)
        changed = _differences(before.model_dump(mode="json"), recipe.model_dump(mode="json"))
        # These decide when the run is cut, not what a step computes.
        changed = [key for key in changed if key not in ("train.time_budget", "train.checkpoint_seconds")]
        if changed:
            raise ConfigError(
                f"{self.path}: the run began with another {changed[0]}. Resume with the recipe it began with, "
                "or start anew without --resume."
            )

    def _clear(self) -> None:
        """Remove what an earlier run left, and nothing that is not ours."""
        try:
            for file in (self.recipe, self.command, self.resolved, self.log_file, self.metrics):
                file.unlink(missing_ok=True)
            for folder in (self.checkpoints, self.prepared, self.tensorboard):
                if folder.is_dir():
                    shutil.rmtree(folder)
        except OSError as error:
            raise output_error(self.path, error) from None

    def _mend_log(self) -> None:
        if self.log_file.is_file():
            whole, _, rest = self.log_file.read_bytes().rpartition(b"\n")
            if rest:
                with atomic_write(self.log_file) as file:
                    file.write(whole + b"\n" if whole else b"")

    def first_command(self) -> str:
        """The command that began the run; empty where that is not known."""
        try:
            return self.command.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to the log, stamped with the time in UTC. Raises OutputError."""
        line = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **facts}
        try:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise output_error(self.log_file, error) from None

    def write_json(self, path: Path, value: Any) -> None:
        """Replace `path` by `value` as JSON. Raises OutputError."""
        with atomic_write(path) as file:
            file.write((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Replace the metrics file by one line an epoch. Raises OutputError."""
        with atomic_write(self.metrics) as file:
            file.write("".join(json.dumps(epoch, ensure_ascii=False) + "\n" for epoch in history).encode())


def saved_recipe(path: Path) -> Recipe:
    """The recipe a run began with. Raises ConfigError where `path` is no run folder."""
    file = path / "recipe.json"
    try:
        return Recipe.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        raise ConfigError(
            f"{path}: nothing to resume, {file.name} is missing or damaged. Start anew without --resume."
        ) from None


def _differences(a: Any, b: Any, key: str = "") -> list[str]:
    """Dotted keys whose values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        inner = [_differences(a.get(k), b.get(k), f"{key}.{k}" if key else k) for k in {**a, **b}]
        return [name for names in inner for name in names]
    return [] if a == b else [key]
