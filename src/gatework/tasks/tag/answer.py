"""From tag paths to answers: tokens with tags, spans with offsets and scores.

    P(span of tokens s..e) = p_T[s] * step_T[s + 1] * ... * step_T[e]

the probability that exactly these tokens carry the tags of the span, which the chain gives exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gatework.core.errors import BundleError
from gatework.core.plain import one_field
from gatework.core.tag_scheme import SCHEMES, from_inside, spans
from gatework.tasks.tag.labels import Layer

if TYPE_CHECKING:
    from gatework.core.paths import TagPaths
    from gatework.tasks.tag.codec import TagExample


class Token(NamedTuple):
    """A token and its tag."""

    text: str
    start: int
    """Offset into the caller's string; into the tokens joined by spaces where tokens were given."""
    end: int
    tag: str
    """As the training file writes tags."""
    score: float
    """Its probability."""


class Span(NamedTuple):
    """A span that was found."""

    text: str
    label: str
    start: int
    """Offset into the caller's string, as of tokens."""
    end: int
    score: float
    """Probability that it is right."""
    tokens: tuple[int, int]
    """Its first token and the one after its last."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """The answer for one text."""

    text: str
    tokens: tuple[Token, ...]
    spans: tuple[Span, ...] | None
    """None where tags mark no spans."""
    layers: Mapping[str, tuple[str, ...]]
    """Tags of further layers, by name."""

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(token.tag for token in self.tokens)

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if self.spans is not None:
            values["spans"] = [span._asdict() | {"tokens": list(span.tokens)} for span in self.spans]
        values["tokens"] = [token._asdict() for token in self.tokens]
        if self.layers:
            values["layers"] = {name: list(tags) for name, tags in self.layers.items()}
        return values

    def to_line(self, top_k: int | None = None) -> str:
        """Spans as text, label and score, tabs between all; without spans, tokens as `word/TAG`."""
        if self.spans is None:
            return " ".join(f"{one_field(token.text)}/{token.tag}" for token in self.tokens)
        return "\t".join(
            field for span in self.spans for field in (one_field(span.text), one_field(span.label), f"{span.score:.4f}")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a model's tags are read: the `decode` object of `config.json`."""

    layers: tuple[str, ...]
    """A name for each tag layer."""
    schemes: tuple[str, ...]
    """How the training file writes each: one of `tag_scheme.SCHEMES`, or "none"."""
    segment: bool = False
    """Spans are words, found in characters."""

    def to_dict(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "schemes": list(self.schemes), "segment": self.segment}

    @classmethod
    def from_dict(cls, values: Any, *, source: str) -> Settings:
        """Read what `to_dict` wrote. Raises BundleError naming `source` and the offending entry."""
        if not isinstance(values, Mapping):
            raise BundleError(f"{source}: decode must be an object, got {type(values).__name__}. Export again.")
        layers, schemes, segment = values.get("layers"), values.get("schemes"), values.get("segment", False)
        if not isinstance(layers, list) or not layers or not all(isinstance(name, str) for name in layers):
            raise BundleError(f"{source}: decode.layers must name the tag layers. Export the model again.")
        known = (*SCHEMES, "none")
        if not isinstance(schemes, list) or len(schemes) != len(layers) or not all(one in known for one in schemes):
            raise BundleError(f"{source}: decode.schemes must hold one of {', '.join(known)} a layer. Export again.")
        if not isinstance(segment, bool):
            raise BundleError(f"{source}: decode.segment must be true or false. Export the model again.")
        return cls(layers=tuple(layers), schemes=tuple(schemes), segment=segment)


def answer(
    example: TagExample,
    outputs: Sequence[Sequence[TagPaths]],
    layers: Sequence[Layer],
    settings: Settings,
    *,
    threshold: float | None = None,
) -> Tagged:
    """The answer for an example, from the tag paths of its parts and layers."""
    tokens: list[Token] = []
    found: list[Span] = []
    others: dict[str, list[str]] = {layer.name: [] for layer in layers[1:]}
    main = layers[0]
    for part, paths in zip(example.parts, outputs, strict=True):
        best = paths[0]
        inside = [main.labels[index] for index in best.tags_NT[0].tolist()]
        written = from_inside(inside, main.scheme) if main.has_spans else inside
        for surface, (start, end), tag, score in zip(
            part.surfaces, part.offsets, written, best.p_T.tolist(), strict=True
        ):
            tokens.append(Token(surface, start, end, tag or "O", score))
        if main.has_spans:
            for first, after, label in spans(inside):
                start, end = part.offsets[first][0], part.offsets[after - 1][1]
                score = float(best.p_T[first] * np.prod(best.step_T[first + 1 : after], dtype=np.float64))
                if threshold is None or score >= threshold:
                    place = (part.first + first, part.first + after)
                    found.append(Span(example.text[start:end], label, start, end, score, place))
        for layer, one in zip(layers[1:], paths[1:], strict=True):
            tags = [layer.labels[index] for index in one.tags_NT[0].tolist()]
            others[layer.name] += [tag or "O" for tag in from_inside(tags, layer.scheme)] if layer.has_spans else tags
    return Tagged(
        example.text,
        tuple(tokens),
        tuple(found) if main.has_spans else None,
        {name: tuple(tags) for name, tags in others.items()},
    )
