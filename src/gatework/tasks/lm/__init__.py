"""Language models: how likely a text is, and what comes next."""

from __future__ import annotations

from gatework.tasks.lm.codec import LmCodec, Settings, open_codec
from gatework.tasks.lm.task import Lm

__all__ = ["Lm", "LmCodec", "Settings", "open_codec"]
