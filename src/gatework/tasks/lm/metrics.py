"""How well a text was predicted, in units that compare.

    perplexity       exp(nats / tokens), by the tokens of the model: the end of a document is one
    bits_per_char    nats / ln 2 / characters of the text, whatever the tokens; the end of a document is one
    nats_per_char, bits_per_byte likewise

Where tokens are unknown, a model predicts less than the text, so figures by character are too good; `unknown` says how
many of the tokens are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

NAMES = {"perplexity": False, "bits_per_char": False, "nats_per_char": False, "bits_per_byte": False}


@dataclass(kw_only=True)
class Totals:
    """Sums over a text."""

    nats: float = 0.0
    documents: int = 0
    tokens: int = 0
    unknown: int = 0
    characters: int = 0
    bytes: int = 0

    def at(self, mean: float) -> dict[str, Any]:
        """The metrics if a token took `mean` nats."""
        return replace(self, nats=mean * self.tokens).metrics()

    def metrics(self) -> dict[str, Any]:
        """By the names of the field; see the module."""
        bits, mean = self.nats / math.log(2.0), self.nats / max(1, self.tokens)
        return {
            "n": self.documents,
            "perplexity": math.exp(min(mean, 700.0)),
            "bits_per_char": bits / max(1, self.characters),
            "nats_per_char": self.nats / max(1, self.characters),
            "bits_per_byte": bits / max(1, self.bytes),
            "tokens": self.tokens,
            "characters": self.characters,
            "bytes": self.bytes,
            "unknown": self.unknown / max(1, self.tokens),
        }
