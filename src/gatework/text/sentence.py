"""A sentence whose tokens are tagged, as every reader of tagged text gives it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tokens and their tags. T tokens."""

    tokens: tuple[str, ...]
    tags: tuple[tuple[str | None, ...], ...]
    """T tags for each layer, the main one first; None where a tag is not known (partial annotation). Spans are in the
    scheme `core.tag_scheme.INSIDE`, whatever the file writes. No layer where tags are not read."""
    line: int
    """Line of the file on which the first token stands, from 1."""
    text: str | None = None
    """The running text the tokens were cut from, where the source has it."""
    offsets: tuple[tuple[int, int], ...] | None = None
    """Where in `text` each token begins and ends."""
