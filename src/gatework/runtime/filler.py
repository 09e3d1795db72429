"""Filling gaps: what may stand in a gap comes from beams on both sides of it, and is ranked by both directions.

    forward(g)  = log p(g, what follows | what stands before)         by the model that reads forward
    backward(g) = log p(g, what stands before | what follows)         by the model that reads backward
    log_p(g)    = their mean

g fills a gap. Both are probabilities of the same text, whatever the length of g: a long filling pays for its tokens and
is paid back by what follows. Candidates are what beams write forward after the left context, what beams write backward
before the right one, and beginnings of the former joined to endings of the latter, of every length that is allowed.
With as many beams as there are fillings the ranking is exact.

Gaps are filled from left to right, a few fillings of the earlier ones kept; what follows the next gap is not read then.
At last the backward score is taken again with all gaps filled. The forward scores of the gaps add up to that of all.

Where tokens are subwords, the run of letters that a gap cuts is written again with the filling, so that a text is
scored in the tokens it is encoded in, as `score` does.

Sources: Sun, Lee and Batra, "Bidirectional beam search", CVPR 2017 (scores of both directions, from both sides); Mou et
al., arXiv:1512.06612 (a sentence written from within by two language models).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError
from gatework.kernels.sampling import uniform
from gatework.runtime.beams import Beginning, beginnings
from gatework.runtime.filling import Filled, Filling, Orders, Rewritten, Wanted, wanted
from gatework.runtime.gaps import Gapped, check_words
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.language_state import LanguageState

Float64 = npt.NDArray[np.float64]
Fillings = tuple[str, ...]

READ = 4096
"""Characters beside a gap that are read before it is filled."""
NEAR = 12
"""Characters on the far side by which candidates are chosen that are scored over the whole window."""
LONGEST_JOINED = 12
"""Tokens on either side of a joint within a filling, where these are subwords or bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """One gap: what is read beside it, and what of that is scored: up to the next gap."""

    left: str
    right: str
    before: str
    behind: str
    begins: bool
    """Whether `before` goes back to the beginning of the text."""
    ends: bool


class Filler:
    """One or two directions of language models with their text codec. Any threads may share it."""

    def __init__(self, models: Mapping[str, LanguageModel], text: Any, *, documents: bool) -> None:
        """
        Args:
            models: what reads forward, backward, or both, by direction.
            text: their `text.running.RunningCodec`.
            documents: whether they learnt from documents that end, so that the end of a text counts as a token.
        """
        self._models, self._text, self._documents = dict(models), text, documents
        self._orders = Orders(text)
        self._candidates = [id_ for id_ in range(1, text.vocabulary) if id_ not in (text.unknown, text.end)]
        self._exact = text.spaced or not (text.byte_fallback or text.subwords)

    def fill(self, gapped: Gapped, options: Filling) -> list[Filled]:
        """The best fillings, best first. Raises: as `Model.fill`."""
        found, scores = self._search(gapped, options)
        return self._answers(gapped, found, scores, options, range(len(found)))

    def rewrite(self, gapped: Gapped, options: Filling) -> Rewritten:
        """The best fillings other than the originals. Raises: as `Model.rewrite`."""
        found, scores = self._search(gapped, options)
        own = found.index(self._folded(gapped.originals))
        others = [place for place in range(len(found)) if place != own]
        (original,) = self._answers(gapped, found, scores, options, [own])
        original = replace(original, text=gapped.filled(gapped.originals), parts=gapped.originals)  # as it was written
        return Rewritten(original=original, alternatives=tuple(self._answers(gapped, found, scores, options, others)))

    def _folded(self, texts: Sequence[str]) -> Fillings:
        """Texts as the model would write them."""
        if self._text.spaced:
            return tuple(self._text.decode(self._text.encode(one)) for one in texts)
        return tuple(self._text.fold(one) for one in texts)

    def _search(self, gapped: Gapped, options: Filling) -> tuple[list[Fillings], dict[str, Float64]]:
        """Fillings of all gaps, and their scores by direction."""
        if self._text.spaced:
            check_words(gapped)
        wants = wanted(options, gapped, self._text.unit, exact=self._exact)
        originals = self._folded(gapped.originals)
        kept: list[Fillings] = [()]
        sums = {way: np.zeros(1) for way in self._models}
        for gap, want in enumerate(wants):
            last = gap == gapped.gaps - 1
            longer: list[Fillings] = []
            totals: dict[str, list[Float64]] = {way: [] for way in self._models}
            for row, fillings in enumerate(kept):
                place = self._place(gapped, fillings, gap)
                forced = originals[gap] if originals and fillings == originals[:gap] else None
                texts, scores = self._ranked(place, want, options, forced)
                longer += [(*fillings, text) for text in texts]
                for way, own_N in scores.items():
                    totals[way].append(sums[way][row] + own_N)
            if not longer:
                raise ConfigError(f"nothing fills gap {gap + 1} as asked. Raise beams, or change length or constraint.")
            sums = {way: np.concatenate(parts) for way, parts in totals.items()}
            best = np.argsort(-_mean(sums), kind="stable")[: self._kept(options, last=last)]
            if originals and (own := longer.index(originals[: gap + 1])) not in best:
                best = np.append(best, own)
            kept = [longer[place] for place in best]
            sums = {way: total_N[best] for way, total_N in sums.items()}
        if gapped.gaps > 1 and "backward" in sums:
            sums["backward"] = np.array([self._backward_of_all(gapped, one, options) for one in kept])
        order = np.argsort(-_mean(sums), kind="stable")
        return [kept[place] for place in order], {way: total_N[order] for way, total_N in sums.items()}

    def _kept(self, options: Filling, *, last: bool) -> int:
        """How many fillings go on: the search for a further gap is made once for each."""
        return max(2 * options.beams, 4 * options.count) if last else max(1, options.beams // 4)

    def _place(self, gapped: Gapped, fillings: Fillings, gap: int) -> Place:
        """A gap where those before it are filled, and perhaps those after it."""
        left, right = gapped.parts[0], gapped.parts[gap + 1]
        for number in range(gap):
            left += fillings[number] + gapped.parts[number + 1]
        for number in range(gap + 1, len(fillings)):
            right += fillings[number] + gapped.parts[number + 1]
        fold = self._text.fold
        return Place(
            left=fold(left[-READ:]),
            right=fold(right[:READ]),
            before=fold(gapped.parts[gap][-READ:]),
            behind=fold(gapped.parts[gap + 1][:READ]),
            begins=gap == 0 and len(gapped.parts[gap]) <= READ,
            ends=gap == gapped.gaps - 1 and len(gapped.parts[gap + 1]) <= READ,
        )

    def _ranked(
        self, place: Place, want: Wanted, options: Filling, forced: str | None
    ) -> tuple[list[str], dict[str, Float64]]:
        """The best candidates for a gap with their scores, in no order; `forced` is one of them."""
        texts = self._found(place, want, options.beams)
        if forced is not None and forced not in texts:
            texts.append(forced)
        most = max(2 * options.beams, 4 * options.count)
        if len(texts) > most:
            near = _mean(self._scores(place, texts, min(NEAR, options.window)))
            if forced is not None:
                near[texts.index(forced)] = np.inf
            texts = [texts[one] for one in np.argsort(-near, kind="stable")[:most]]
        return texts, self._scores(place, texts, options.window) if texts else {}

    def _found(self, place: Place, want: Wanted, beams: int) -> list[str]:
        """Candidates for a gap from both sides and joined; all of them satisfy what is asked."""
        tail, head = self._text.joint(place.left, place.right)
        sides = {way: self._side(way, place, want, beams, (tail, head)) for way in self._models}
        found: dict[str | None, None] = {}
        for way, steps in sides.items():
            own = (tail, "") if way == "forward" else ("", head)
            for step in steps:
                found |= dict.fromkeys(self._cut(one.ids, own) for one in step)
        if len(sides) == 2:
            found |= dict.fromkeys(self._joined(sides, want, beams, (tail, head)))
        return [text for text in found if text is not None and self._fits(text, want)]

    def _side(self, way: str, place: Place, want: Wanted, beams: int, joint: tuple[str, str]) -> list[list[Beginning]]:
        """What beams write from one side, step by step, ids in the order of the text."""
        border = joint[0] if way == "forward" else joint[1]
        order = self._orders.order(want, way, border)
        if order is None:
            if len(self._models) == 1:
                raise ConfigError("constraint: too large to be read from its end. Use a model that reads forward too.")
            return []
        steps = beginnings(self._models[way], self._start(way, place, joint), order, beams, candidates=self._candidates)
        if way == "forward":
            return steps
        return [[Beginning(one.log_p, one.ids[::-1], one.automaton, one.row) for one in step] for step in steps]

    def _start(self, way: str, place: Place, joint: tuple[str, str]) -> LanguageState:
        """The state after what stands on one side of a gap, less what is written again."""
        if way == "forward":
            ids = self._text.encode(place.left[: len(place.left) - len(joint[0])])
        else:
            ids = self._text.encode(place.right[len(joint[1]) :])[::-1]
        return self._models[way].advance([ids], direction=way)[0]

    def _joined(
        self, sides: Mapping[str, list[list[Beginning]]], want: Wanted, beams: int, joint: tuple[str, str]
    ) -> list[str | None]:
        """Beginnings from the left with endings from the right, the best of each length in tokens."""
        most = want.most if self._exact else LONGEST_JOINED
        few = max(1, math.isqrt(beams))
        by_length: dict[int, list[tuple[float, tuple[int, ...]]]] = {}
        for n, firsts in enumerate(sides["forward"][1:most], start=1):
            for m, lasts in enumerate(sides["backward"][1:most], start=1):
                if not self._exact or want.fewest <= n + m <= want.most:
                    by_length.setdefault(n + m, []).extend(
                        (one.log_p + other.log_p, one.ids + other.ids) for one in firsts[:few] for other in lasts[:few]
                    )
        return [self._cut(ids, joint) for pairs in by_length.values() for _, ids in sorted(pairs, reverse=True)[:beams]]

    def _cut(self, ids: Sequence[int], joint: tuple[str, str]) -> str | None:
        """The text of ids without what was written again; None where that is not all there."""
        text: str = self._text.decode(ids)
        tail, head = joint
        whole = len(text) >= len(tail) + len(head) and text.startswith(tail) and text.endswith(head)
        return text[len(tail) : len(text) - len(head)] if whole else None

    def _fits(self, text: str, want: Wanted) -> bool:
        counted = self._exact or (want.constraint is not None and want.constraint.tokens is not None)
        if counted and not want.fewest <= len(self._text.encode(text)) <= want.most:
            return False
        return want.constraint is None or want.constraint.dfa.matches(text)

    def _scores(self, place: Place, texts: Sequence[str], window: int) -> dict[str, Float64]:
        """log p by direction, (N,)."""
        joint = tail, head = self._text.joint(place.left, place.right)
        scores: dict[str, Float64] = {}
        for way, model in self._models.items():
            if way == "forward":
                beside = self._near(place.behind, window)
                whole = place.ends and len(beside) == len(place.behind)
                ids = [self._text.encode(tail + text + beside) for text in texts]
            else:
                beside = self._near(place.before, window, end=True)
                whole = place.begins and len(beside) == len(place.before)
                ids = [self._text.encode(beside + text + head)[::-1] for text in texts]
            if whole and self._documents:
                ids = [np.append(one, self._text.end) for one in ids]
            start = self._start(way, place, joint)
            nats, _ = model.nlls(ids, [start] * len(ids), direction=way)
            scores[way] = np.array([-own.sum(dtype=np.float64) for own in nats])
        return scores

    def _near(self, text: str, window: int, *, end: bool = False) -> str:
        """The beginning of a text, or its end, of about `window` characters: whole words where there are such."""
        if len(text) <= window:
            return text
        near = text[-window:] if end else text[:window]
        if self._text.unit == "char":
            return near
        blank = near.find(" ") if end else near.rfind(" ")
        if blank <= 0:
            return near
        return near[blank:] if end else near[:blank]

    def _backward_of_all(self, gapped: Gapped, fillings: Fillings, options: Filling) -> float:
        """The backward score of a text with all gaps filled: each gap's, given all that follows."""
        total = 0.0
        for gap, text in enumerate(fillings):
            place = self._place(gapped, fillings, gap)
            total += float(self._scores(place, [text], options.window)["backward"][0])
        return total

    def _answers(
        self,
        gapped: Gapped,
        found: Sequence[Fillings],
        scores: Mapping[str, Float64],
        options: Filling,
        chosen: Sequence[int],
    ) -> list[Filled]:
        """The answers to give of those that may be chosen, which are in order."""
        mean_N = _mean(scores)
        share_N = np.exp(mean_N - mean_N.max())
        share_N /= share_N.sum()
        places = list(chosen)
        if options.temperature:
            noise = [-math.log(-math.log(uniform(options.seed, place) or 2.0**-54)) for place in places]
            drawn = mean_N[places] / options.temperature + np.array(noise)  # the largest: draws without replacement
            places = [places[one] for one in np.argsort(-drawn, kind="stable")]
        unknown = self._unknown(gapped)
        return [
            Filled(
                text=gapped.filled(found[place]),
                parts=found[place],
                log_p=float(mean_N[place]),
                forward=float(scores["forward"][place]) if "forward" in scores else None,
                backward=float(scores["backward"][place]) if "backward" in scores else None,
                share=float(share_N[place]),
                unknown=unknown,
            )
            for place in places[: options.count]
        ]

    def _unknown(self, gapped: Gapped) -> int:
        parts = [gapped.parts[0][-READ:], *(part[:READ] for part in gapped.parts[1:])]
        return sum(int((self._text.encode(part) == self._text.unknown).sum()) for part in parts)


def backward_of(model: Any, other: Any) -> LanguageModel:
    """The network of a model that reads backward beside `model`. Raises ConfigError: they do not go together."""
    source = other.bundle.source
    if not isinstance(other.network, LanguageModel) or "backward" not in other.network.language.directions:
        raise ConfigError(f"backward: {source} reads no text backward. Train it with model.directions = 'backward'.")
    own, its = model.codec.digest(), other.codec.digest()
    if own != its:
        raise ConfigError(
            f"backward: {model.bundle.source} and {source} have different tokenizers, of SHA-256 {own[:12]} and "
            f"{its[:12]}. Train both from one text with the same [input], or one model with model.directions = 'both'."
        )
    network: LanguageModel = other.network
    return network


def _mean(scores: Mapping[str, Float64]) -> Float64:
    total_N: Float64 = np.mean(list(scores.values()), axis=0)
    return total_N
