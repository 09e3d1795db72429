"""Sequence labelling: a tag for every token, and the spans that tags mark."""

from __future__ import annotations

from gatework.tasks.tag.answer import Settings, Span, Tagged, Token
from gatework.tasks.tag.codec import TagCodec, open_codec
from gatework.tasks.tag.task import Tag

__all__ = ["Settings", "Span", "Tag", "TagCodec", "Tagged", "Token", "open_codec"]
