"""Tasks by name. Adding one is a file (or folder) here and a line in `TASKS`."""

from __future__ import annotations

from gatework.core.registry import Registry
from gatework.tasks.classify import Classify
from gatework.tasks.lm import Lm
from gatework.tasks.seq2seq import Reply, Summarize, Transduce, Translate
from gatework.tasks.tag import Tag
from gatework.tasks.task import Codec, Prepared, Task

_ALL: tuple[Task, ...] = (Classify(), Tag(), Lm(), Translate(), Summarize(), Reply(), Transduce())
TASKS: Registry[Task] = Registry("task", {task.name: task for task in _ALL})

__all__ = ["TASKS", "Codec", "Prepared", "Task"]
