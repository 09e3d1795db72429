"""Tasks by name. Adding one is a file (or folder) here and a line in `TASKS`."""

from __future__ import annotations

from gatework.core.registry import Registry
from gatework.tasks.classify import Classify
from gatework.tasks.lm import Lm
from gatework.tasks.tag import Tag
from gatework.tasks.task import Codec, Prepared, Task

TASKS: Registry[Task] = Registry("task", {"classify": Classify(), "tag": Tag(), "lm": Lm()})

__all__ = ["TASKS", "Codec", "Prepared", "Task"]
