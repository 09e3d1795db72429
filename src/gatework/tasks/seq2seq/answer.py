"""From hypotheses to texts: what was written from a source, with its score and where it looked.

T tokens of the answer, its end included, S tokens of the source.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.text.dictionary import Dictionary, looked_up
from gatework.text.units import CJK

if TYPE_CHECKING:
    from gatework.text.running import RunningCodec

Float32 = npt.NDArray[np.float32]
_WIDE = re.compile(f"[{CJK}\u3000-\u303f\uff00-\uffef]")
"""Characters of texts that have no blanks between sentences."""


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
    unknown: int = 0
    """Tokens of the source, of those that were read, that the model does not know."""
    script: str = ""
    """The script of the source, where the model learnt from sources in other scripts alone."""
    sentences: int = 1
    """How many sentences the source was cut into, each answered for itself."""

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
        for name, plain in (("left_out", 0), ("unknown", 0), ("script", ""), ("sentences", 1)):
            if (value := getattr(self, name)) != plain:
                values[name] = value
        return values | ({"alternatives": [one.to_dict() for one in self.alternatives]} if self.alternatives else {})

    def to_line(self, top_k: int | None = None) -> str:
        """The text on one line; with `top_k` or alternatives each text and its score, tabs between all. Of an empty
        source an empty line."""
        if self.reason == "empty" or (top_k is None and not self.alternatives):
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
    dictionary: Dictionary | None = None,
    begun: Sequence[str] = (),
    distinct: bool = False,
    left_out: int = 0,
    unknown: int = 0,
    script: str = "",
) -> Translation:
    """The best hypothesis as an answer, the others as its alternatives.

    Args:
        hypotheses: `kernels.decoding.Hypothesis`, best first.
        source: the tokens of the source as text.
        replace_unknown: where the target has an unknown token, the token of the source that was looked at most stands,
            its end aside.
        dictionary: what stands there instead, for tokens of the source that it has.
        begun: the first tokens as they were asked for, so that unknown ones stay what they are.
        distinct: leave out alternatives whose text was there before: subwords spell one text in several ways.
        left_out: tokens of the source that were not read.
        unknown: of the tokens that were read those the model does not know.
        script: of the source, where it is one that training had not.
    """
    made = [_one(hypothesis, source, target, replace_unknown, dictionary or {}, begun) for hypothesis in hypotheses]
    if distinct:
        best: dict[str, Translation] = {}
        for one in made:
            best.setdefault(one.text, one)
        made = list(best.values())
    return replace(made[0], alternatives=tuple(made[1:]), left_out=left_out, unknown=unknown, script=script)


def joined(answers: Sequence[Translation], gaps: Sequence[str]) -> Translation:
    """The answers to the sentences of a text as one, each alternative from those of its rank, or the best there is.

    Args:
        answers: one at least.
        gaps: what stood before, between and after the sentences, one more than answers.
    """
    count = max(len(one.alternatives) for one in answers)
    ranked = [[one, *one.alternatives] for one in answers]
    made = [_joined([own[min(rank, len(own) - 1)] for own in ranked], gaps) for rank in range(count + 1)]
    return replace(
        made[0],
        alternatives=tuple(made[1:]),
        left_out=sum(one.left_out for one in answers),
        unknown=sum(one.unknown for one in answers),
        script=next((one.script for one in answers if one.script), ""),
        sentences=len(answers),
    )


def _joined(parts: Sequence[Translation], gaps: Sequence[str]) -> Translation:
    text, replaced, tokens = gaps[0] + parts[0].text, list[int](), 0
    for part, gap in zip(parts[1:], gaps[1:-1], strict=True):
        text += _between(text, part.text, gap) + part.text
    for part in parts:
        replaced += [tokens + place for place in part.replaced]
        tokens += len(part.tokens)
    weights = [len(part.tokens) + 1 for part in parts]
    reasons = [part.reason for part in parts]
    return Translation(
        text=text + gaps[-1],
        score=sum(part.score * weight for part, weight in zip(parts, weights, strict=True)) / sum(weights),
        log_p=sum(part.log_p for part in parts),
        reason=next((reason for reason in reasons if reason != "end"), "end"),
        tokens=tuple(token for part in parts for token in part.tokens),
        source_tokens=tuple(token for part in parts for token in part.source_tokens),
        attention=_beside([part.attention for part in parts], parts),
        replaced=tuple(replaced),
    )


def _between(before: str, after: str, gap: str) -> str:
    """What stands between two sentences: the gap, but blanks as the script of the answer has them."""
    if gap.strip(" ") or not before or not after:
        return gap
    return "" if _WIDE.match(before[-1]) and _WIDE.match(after) else gap or " "


def _beside(parts: Sequence[Float32 | None], answers: Sequence[Translation]) -> Float32 | None:
    """Attention of each sentence to its own tokens, that of its end only of the last one."""
    if any(part is None for part in parts):
        return None
    kept = [part[: len(one.tokens)] for part, one in zip(parts[:-1], answers, strict=False) if part is not None]
    kept += [part for part in parts[-1:] if part is not None]
    whole = np.zeros((sum(map(len, kept)), sum(part.shape[1] for part in kept)), dtype=np.float32)
    row = column = 0
    for part in kept:
        whole[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return whole


def _one(
    hypothesis: Any,
    source: Sequence[str],
    target: RunningCodec,
    replace_unknown: bool,
    dictionary: Dictionary,
    begun: Sequence[str],
) -> Translation:
    ids, attention_TS = list(hypothesis.ids), hypothesis.attention_TS
    known = [target.raw[one].decode("utf-8", "replace").strip(" ") for one in ids]
    odd = [place for place, one in enumerate(ids) if one == target.unknown]
    given = [place for place in odd if place < len(begun)]
    for place in given:
        known[place] = begun[place]
    replaced: list[int] = []
    if replace_unknown and attention_TS is not None:
        replaced = odd[len(given) :]
        for place in replaced:
            word = source[int(attention_TS[place, :-1].argmax())]  # its end is no word
            known[place] = looked_up(dictionary, word) or word
    return Translation(
        text=_text(ids, known, given + replaced, target),
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
