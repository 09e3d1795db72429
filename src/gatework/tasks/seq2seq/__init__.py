"""Sequence to sequence: a target written from a source."""

from __future__ import annotations

from gatework.tasks.seq2seq.codec import Seq2SeqCodec, Settings, open_codec
from gatework.tasks.seq2seq.task import Reply, Summarize, Transduce, Translate

__all__ = ["Reply", "Seq2SeqCodec", "Settings", "Summarize", "Transduce", "Translate", "open_codec"]
