"""From tag paths to answers: tokens with tags, spans with offsets and scores, the best paths as wholes.

    P(span of tokens s..e) = p_T[s] * step_T[s + 1] * ... * step_T[e]

is the probability that exactly these tokens carry the tags of the span, which the chain gives exactly. What a user sees
is sigmoid(a log(P / (1 - P)) + b), with a and b fitted on dev spans (`calibration`).

T tokens of a part, N paths.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gatework.core.errors import BundleError, ConfigError
from gatework.core.plain import one_field
from gatework.core.tag_scheme import SCHEMES, from_inside, spans
from gatework.tasks.tag.labels import Layer

if TYPE_CHECKING:
    from gatework.core.paths import TagPaths
    from gatework.tasks.tag.codec import TagExample

LEAST = 1e-9
"""Probabilities are kept this far from 0 and 1 before they are calibrated."""


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


class Path(NamedTuple):
    """One way to tag the whole text."""

    tags: tuple[str, ...]
    score: float
    """Its probability."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """The answer for one text."""

    text: str
    """The caller's string, or the caller's tokens joined by spaces."""
    tokens: tuple[Token, ...]
    spans: tuple[Span, ...] | None
    """In order; None where tags mark no spans."""
    layers: Mapping[str, tuple[str, ...]]
    """Tags of further layers, by name."""
    paths: tuple[Path, ...] = ()
    """The best ways to tag the text, best first, where `top_k` asks for them."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each token."""
        return tuple([token.tag for token in self.tokens])

    def moved(self, characters: int, tokens: int) -> Tagged:
        """The same with so much added to every place."""
        moved = [one._replace(start=one.start + characters, end=one.end + characters) for one in self.tokens]
        spans = self.spans
        if spans is not None:
            spans = tuple(
                one._replace(
                    start=one.start + characters,
                    end=one.end + characters,
                    tokens=(one.tokens[0] + tokens, one.tokens[1] + tokens),
                )
                for one in spans
            )
        return replace(self, tokens=tuple(moved), spans=spans)

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if self.spans is not None:
            values["spans"] = [span._asdict() | {"tokens": list(span.tokens)} for span in self.spans]
        values["tokens"] = [token._asdict() for token in self.tokens]
        if self.layers:
            values["layers"] = {name: list(tags) for name, tags in self.layers.items()}
        if self.paths:
            values["paths"] = [{"tags": list(path.tags), "score": path.score} for path in self.paths]
        return values

    def to_line(self, top_k: int | None = None) -> str:
        """Tabs between fields: text, label and score of each span; without spans, tokens as `word/TAG`, blanks between
        them. With `top_k` over one, score and `word/TAG`s of each path instead."""
        if top_k is not None and top_k > 1:
            return "\t".join(f"{path.score:.4f}\t{self._tagged(path.tags)}" for path in self.paths)
        if self.spans is None:
            return self._tagged(self.tags)
        return "\t".join(
            [
                field
                for span in self.spans
                for field in (one_field(span.text), one_field(span.label), f"{span.score:.4f}")
            ]
        )

    def to_columns(self) -> str:
        """For tokens out of columns: a line each with its tag and those of further layers, tabs between them, and an
        empty line."""
        rows = zip(self.tokens, self.tags, *self.layers.values(), strict=True)
        return "".join("\t".join((token.text, *tags)) + "\n" for token, *tags in rows)

    def _tagged(self, tags: Sequence[str]) -> str:
        pairs = zip(self.tokens, tags, strict=True)
        return " ".join(f"{one_field(token.text)}/{one_field(tag)}" for token, tag in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a model's tags are read: the `decode` object of `config.json`."""

    layers: tuple[str, ...]
    """A name for each tag layer."""
    schemes: tuple[str, ...]
    """How the training file writes each: one of `tag_scheme.SCHEMES`, or "none"."""
    segment: bool = False
    """Spans are words, found in characters."""
    cut: bool = False
    """Running text is cut after the signs that end a sentence."""
    space: str = ""
    """What training writes for white space between tokens; empty where it leaves that out."""
    calibration: tuple[float, float] = (1.0, 0.0)
    """a and b, as in the head of this file."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "layers": list(self.layers),
            "schemes": list(self.schemes),
            "segment": self.segment,
            "cut": self.cut,
            "space": self.space,
            "calibration": list(self.calibration),
        }

    @classmethod
    def from_dict(cls, values: Any, *, source: str) -> Settings:
        """Read what `to_dict` wrote. Raises BundleError naming `source` and the offending entry."""
        if not isinstance(values, Mapping):
            raise BundleError(f"{source}: decode must be an object, got {type(values).__name__}. Export again.")
        layers, schemes = values.get("layers"), values.get("schemes")
        if not isinstance(layers, list) or not layers or not all(isinstance(name, str) for name in layers):
            raise BundleError(f"{source}: decode.layers must name the tag layers. Export the model again.")
        known = (*SCHEMES, "none")
        if not isinstance(schemes, list) or len(schemes) != len(layers) or not all(one in known for one in schemes):
            raise BundleError(f"{source}: decode.schemes must hold one of {', '.join(known)} a layer. Export again.")
        flags = {name: values.get(name, False) for name in ("segment", "cut")}
        for name, value in flags.items():
            if not isinstance(value, bool):
                raise BundleError(f"{source}: decode.{name} must be true or false. Export the model again.")
        space, calibration = values.get("space", ""), values.get("calibration", [1.0, 0.0])
        if not isinstance(space, str):
            raise BundleError(f"{source}: decode.space must be a string. Export the model again.")
        if not isinstance(calibration, list) or [type(one) for one in calibration] not in _NUMBERS:
            raise BundleError(f"{source}: decode.calibration must be two numbers. Export the model again.")
        a, b = (float(one) for one in calibration)
        if not (0.0 < a < 1e3 and abs(b) < 1e3):
            raise BundleError(f"{source}: decode.calibration {calibration} is out of range. Export the model again.")
        return cls(layers=tuple(layers), schemes=tuple(schemes), space=space, calibration=(a, b), **flags)


_NUMBERS = [[one, other] for one in (int, float) for other in (int, float)]


def calibrated(p: float, calibration: tuple[float, float]) -> float:
    """What a probability of a span is said to be."""
    if calibration == (1.0, 0.0):
        return p
    p = min(max(p, LEAST), 1.0 - LEAST)
    a, b = calibration
    z = a * math.log(p / (1.0 - p)) + b
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))


def answer(
    example: TagExample,
    outputs: Sequence[Sequence[TagPaths]],
    layers: Sequence[Layer],
    settings: Settings,
    *,
    top_k: int | None = None,
    threshold: float | None = None,
) -> Tagged:
    """The answer for an example, from the tag paths of its parts and layers.

    Args:
        example: as the codec encoded it.
        outputs: for each part, for each layer, its tag paths.
        layers: of the model.
        settings: of the model.
        top_k: how many paths to give as wholes; None or 1 for none.
        threshold: score from which on a span is given.
    Raises: ConfigError: no path is possible.
    """
    tokens: list[Token] = []
    found: list[Span] = []
    main = layers[0]
    for part, paths in zip(example.parts, outputs, strict=True):
        best = paths[0]
        if best.log_p_N[0] == -math.inf:
            raise ConfigError("allow: no way of tagging the text is left. Allow more tags, or forbid fewer.")
        inside, p_T = [main.labels[index] for index in best.tags_NT[0].tolist()], best.p_T.tolist()
        written = _written(inside, main)
        for surface, (start, end), tag, score in zip(part.surfaces, part.offsets, written, p_T, strict=True):
            tokens.append(Token(surface, start, end, tag, score))
        if main.has_spans:
            step_T = best.step_T.tolist()
            for first, after, label in spans(inside):
                start, end = part.offsets[first][0], part.offsets[after - 1][1]
                score = calibrated(p_T[first] * math.prod(step_T[first + 1 : after]), settings.calibration)
                if threshold is None or score >= threshold:
                    place = (part.first + first, part.first + after)
                    found.append(Span(example.text[start:end], label, start, end, score, place))
    others: dict[str, tuple[str, ...]] = {}
    for index, layer in enumerate(layers[1:], start=1):
        rows = [[layer.labels[tag] for tag in paths[index].tags_NT[0].tolist()] for paths in outputs]
        others[layer.name] = tuple(tag for row in rows for tag in _written(row, layer))
    return Tagged(
        example.text,
        tuple(tokens),
        tuple(found) if main.has_spans else None,
        others,
        _best_paths(outputs, main, top_k) if top_k is not None and top_k > 1 else (),
    )


def _written(inside: list[str], layer: Layer) -> Sequence[str]:
    """Tags as the training file writes them."""
    return [tag or "O" for tag in from_inside(inside, layer.scheme)] if layer.has_spans else inside


def _best_paths(outputs: Sequence[Sequence[TagPaths]], layer: Layer, count: int) -> tuple[Path, ...]:
    """The best ways through all parts: parts are independent, so those of few parts combine to those of more."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for paths in outputs:
        log_p_N = paths[0].log_p_N.tolist()
        longer = [(log_p + more, (*chosen, index)) for log_p, chosen in best for index, more in enumerate(log_p_N)]
        best = heapq.nlargest(count, longer, key=lambda one: one[0])
    found: list[Path] = []
    for log_p, chosen in best:
        tags: list[str] = []
        for paths, index in zip(outputs, chosen, strict=True):
            tags += _written([layer.labels[tag] for tag in paths[0].tags_NT[index].tolist()], layer)
        found.append(Path(tuple(tags), math.exp(log_p)))
    return tuple(found)
