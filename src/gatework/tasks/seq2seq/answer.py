"""From hypotheses to texts: what was written from a source, with its score and where it looked.

T tokens of the answer, its end included, S tokens of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gatework.text.running import RunningCodec

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Translation:
    """A text that was written from a source."""

    text: str
    score: float
    """What it was ranked by, see `kernels.decoding`; with the defaults the mean log p of a token."""
    log_p: float
    """Nats of all its tokens and of its end."""
    reason: str
    """Why it ended: "end"; "length", cut at the limit; "empty", there was no source to read."""
    tokens: tuple[str, ...]
    """Its tokens as text, without the end."""
    source_tokens: tuple[str, ...]
    attention: Float32 | None
    """Weight of each token of the source at each token and at the end, (T, S); None of a model without attention."""
    replaced: tuple[int, ...] = ()
    """Places of tokens that the model did not know and that were taken from the source."""
    alternatives: tuple[Translation, ...] = ()
    """The next best ones, where `count` asked for them."""
    left_out: int = 0
    """Tokens at the end of the source that were not read, as it is longer than training allowed."""

    @property
    def alignment(self) -> tuple[int, ...]:
        """The place of the source that each token looked at most; empty without attention."""
        if self.attention is None:
            return ()
        return tuple(int(place) for place in self.attention[: len(self.tokens)].argmax(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the attention."""
        values = {"text": self.text, "score": self.score, "log_p": self.log_p, "reason": self.reason}
        if self.replaced:
            values["replaced"] = list(self.replaced)
        if self.left_out:
            values["left_out"] = self.left_out
        return values | ({"alternatives": [one.to_dict() for one in self.alternatives]} if self.alternatives else {})

    def to_line(self, top_k: int | None = None) -> str:
        """The text on one line; with alternatives each text and its score, tabs between all."""
        if not self.alternatives:
            return _one_line(self.text)
        return "\t".join(f"{_one_line(one.text)}\t{one.score:.4f}" for one in (self, *self.alternatives))


def _one_line(text: str) -> str:
    return " ".join(text.split()) if any(mark in text for mark in "\n\r\t") else text


def translation(
    hypotheses: Sequence[Any],
    source: Sequence[str],
    target: RunningCodec,
    *,
    replace_unknown: bool = True,
    left_out: int = 0,
) -> Translation:
    """The best hypothesis as an answer, the others as its alternatives.

    Args:
        hypotheses: `kernels.decoding.Hypothesis`, best first.
        source: the tokens of the source as text.
        replace_unknown: where the target has an unknown token, the token of the source that was looked at most stands.
        left_out: tokens of the source that were not read.
    """
    made = [_one(hypothesis, source, target, replace_unknown) for hypothesis in hypotheses]
    first = made[0]
    fields = {name: getattr(first, name) for name in first.__dataclass_fields__}
    return Translation(**{**fields, "alternatives": tuple(made[1:]), "left_out": left_out})


def _one(hypothesis: Any, source: Sequence[str], target: RunningCodec, replace_unknown: bool) -> Translation:
    ids, attention_TS = list(hypothesis.ids), hypothesis.attention_TS
    known = [target.raw[one].decode("utf-8", "replace").strip(" ") for one in ids]
    replaced: list[int] = []
    if replace_unknown and attention_TS is not None:
        replaced = [place for place, one in enumerate(ids) if one == target.unknown]
        for place in replaced:
            known[place] = source[int(attention_TS[place].argmax())]
    return Translation(
        text=_text(ids, known, replaced, target),
        score=hypothesis.score,
        log_p=hypothesis.log_p,
        reason=hypothesis.reason,
        tokens=tuple(known),
        source_tokens=tuple(source),
        attention=attention_TS,
        replaced=tuple(replaced),
    )


def _text(ids: Sequence[int], tokens: Sequence[str], replaced: Sequence[int], target: RunningCodec) -> str:
    """The text of ids, with the tokens of some places instead of theirs."""
    parts, start = [], 0
    for place in replaced:
        parts += [target.decode(ids[start:place]), tokens[place]]
        start = place + 1
    parts.append(target.decode(ids[start:]))
    return (" " if target.spaced else "").join(part for part in parts if part)
