"""Subword units: byte-pair encoding and unigram language models, trained once and encoded without any package.

Training is Hugging Face `tokenizers` (extra `train`); what it learnt is kept as plain JSON, and the encoders here give
the same pieces (the tests hold them to it), so that a model answers without it.

A text is cut into runs first (`units.SUBWORD_RUNS`). A word or number after white space, or at the start of the text,
gets the mark `▁` before it, so that pieces tell where words begin. Runs longer than LONGEST_RUN are cut, which keeps
the time linear in the text.

Sources: Sennrich, Haddow and Birch, arXiv:1508.07909 (BPE); Kudo, arXiv:1804.10959 (unigram).
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

from gatework.core.errors import BundleError, DataError, MissingExtraError
from gatework.text.marks import MARKS
from gatework.text.normalise import Normaliser
from gatework.text.units import SUBWORD_RUNS, Span, Unit

MARK = "▁"
ADDED = 1e-4
"""By which `tokenizers` sets apart the scores of characters that it adds to a unigram model."""
LONGEST_RUN = 48
"""Characters of a run that are cut together."""
MOST_PIECES = 1 << 20
MOST_CACHED = 1 << 16
LONGEST_LINE = 256
"""Runs of a line that a trainer reads."""

_UNKNOWN = "<unk>"
_NEITHER = None, False
"""No piece, and no beginning of one."""
_CLUSTER = re.compile(rf"(?s).[{MARKS}]*")


class Subwords(ABC):
    """A trained model: a run in, pieces that join to the run out."""

    pieces: frozenset[str]
    """What the model knows; a piece it gives outside these is unknown."""

    @abstractmethod
    def split(self, run: str) -> list[str]:
        """The pieces of a run."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain data that `subwords_from_json` reads."""


class Bpe(Subwords):
    """Characters, joined pair by pair: the pair learnt first goes first, among equals the leftmost."""

    def __init__(self, alphabet: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
        self._alphabet = tuple(alphabet)
        self._merges = tuple(merges)
        self._ranks = {pair: rank for rank, pair in enumerate(self._merges)}
        self.pieces = frozenset(chain(self._alphabet, (left + right for left, right in self._merges)))

    def split(self, run: str) -> list[str]:
        parts = list(run)
        ranks, none = self._ranks, len(self._ranks)
        while len(parts) > 1:
            best, at = min((ranks.get(pair, none), place) for place, pair in enumerate(pairwise(parts)))
            if best == none:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    def to_json(self) -> dict[str, Any]:
        return {"kind": "bpe", "alphabet": list(self._alphabet), "merges": [list(pair) for pair in self._merges]}


class Unigram(Subwords):
    """The most probable sequence of pieces (Viterbi); neighbouring unknown characters are one piece."""

    _PENALTY = 10.0
    """An unknown character scores this much less than the rarest piece."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float]) -> None:
        self._scores = dict(zip(pieces, scores, strict=True))
        self.pieces = frozenset(pieces)
        # Beginnings of longer pieces: a run that is none of them goes on in no piece.
        begun = {piece[:length] for piece in pieces for length in range(1, len(piece))}
        self._known: dict[str, tuple[float | None, bool]] = {
            piece: (self._scores.get(piece), piece in begun) for piece in begun.union(pieces)
        }
        self._unknown = min(scores, default=0.0) - self._PENALTY

    def split(self, run: str) -> list[str]:
        end = len(run)
        best = [0.0] + [-math.inf] * end
        start = [-1] * (end + 1)
        scores, known = self._scores, self._known
        for at in range(end):
            base = best[at]
            stop, goes_on = at, True
            while goes_on and stop < end:
                stop += 1
                score, goes_on = known.get(run[at:stop], _NEITHER)
                if score is not None and (start[stop] < 0 or base + score > best[stop]):
                    best[stop], start[stop] = base + score, at
            if run[at] not in scores and (start[at + 1] < 0 or base + self._unknown > best[at + 1]):
                best[at + 1], start[at + 1] = base + self._unknown, at
        return self._walk_back(run, start)

    def _walk_back(self, run: str, start: Sequence[int]) -> list[str]:
        found: list[str] = []
        stop, fused = len(run), False
        while stop > 0:
            piece = run[start[stop] : stop]
            known = piece in self._scores
            if fused and not known:
                found[-1] = piece + found[-1]
            else:
                found.append(piece)
            fused, stop = not known, start[stop]
        return found[::-1]

    def rounded(self) -> Unigram:
        """The model with scores of three decimals, best piece first.

        `tokenizers` sums in an order that differs from run to run, and so do the last digits of its scores; rounded,
        most models come out the same. Characters that are no piece by then it adds at the lowest score, each 1e-4 above
        the one before, in the order of a hash table that differs too: they all get the lowest. On a small corpus the
        choice of the last pieces may still differ.
        """
        lowest = min(self._scores.values(), default=0.0)
        added = lowest + ADDED * sum(len(piece) == 1 for piece in self._scores)
        ordered = sorted(
            (-round(lowest if len(piece) == 1 and score <= added else score, 3), piece)
            for piece, score in self._scores.items()
        )
        return Unigram([piece for _, piece in ordered], [-score for score, _ in ordered])

    def to_json(self) -> dict[str, Any]:
        return {"kind": "unigram", "pieces": list(self._scores), "scores": list(self._scores.values())}


class SubwordUnit(Unit):
    """Cuts a text into the pieces of a subword model. Pieces come normalised, with the mark `▁`."""

    def __init__(self, model: Subwords, normalise: Normaliser) -> None:
        self.model = model
        self._normalise = normalise
        self._pattern = re.compile(SUBWORD_RUNS)
        self._cache: dict[str, tuple[str, ...]] = {}

    def surfaces(self, text: str) -> list[str]:
        found = self._pattern.findall(" " + text)
        return list(chain.from_iterable(map(self._pieces, found)))

    def spans(self, text: str) -> list[Span]:
        return list(chain.from_iterable(self._located(text)))

    def runs(self, text: str) -> list[str]:
        """The runs as the model sees them; it is trained on these."""
        return list(chain.from_iterable(map(self._marked, self._pattern.findall(" " + text))))

    def _marked(self, found: str) -> list[str]:
        """A match of the pattern, normalised and marked, in parts of at most LONGEST_RUN characters."""
        run = self._normalise(found[1:]) if found[0].isspace() else self._normalise(found)
        run = MARK + run if found[0].isspace() else run
        return [run[start : start + LONGEST_RUN] for start in range(0, len(run), LONGEST_RUN)]

    def _pieces(self, found: str) -> tuple[str, ...]:
        pieces = self._cache.get(found)
        if pieces is None:
            pieces = tuple(chain.from_iterable(map(self.model.split, self._marked(found))))
            if len(found) <= LONGEST_RUN:
                if len(self._cache) >= MOST_CACHED:
                    self._cache.clear()
                self._cache[found] = pieces
        return pieces

    def _located(self, text: str) -> Iterable[list[Span]]:
        """Spans of the pieces, match by match. A mark alone is an empty span before its word."""
        for match in self._pattern.finditer(" " + text):
            found = match[0]
            marked = found[0].isspace()
            start = match.start() - 1 + marked  # the space put before the text
            surface = found[1:] if marked else found
            bounds = self._bounds(surface)
            spans: list[Span] = []
            at = -int(marked)
            for piece in self._pieces(found):
                stop = at + len(piece)
                spans.append((start + bounds[max(0, at)][0], start + (bounds[stop - 1][1] if stop > 0 else 0)))
                at = stop
            yield spans

    def _bounds(self, surface: str) -> list[Span]:
        """For each character of the normalised surface, the span of the surface it comes from."""
        if surface.isascii():
            return [(place, place + 1) for place in range(len(surface))]
        whole = self._normalise(surface)
        bounds: list[Span] = []
        for cluster in _CLUSTER.finditer(surface):
            bounds.extend([cluster.span()] * len(self._normalise(cluster[0])))
        # Where a fold reaches over clusters, every piece stands for the whole run.
        return bounds if len(bounds) == len(whole) else [(0, len(surface))] * len(whole)


def train_subwords(kind: str, counts: Mapping[str, int], *, pieces: int) -> Subwords:
    """Learn a model of at most about `pieces` pieces.

    Args:
        kind: "bpe" or "unigram".
        counts: how often the texts have each run, as `SubwordUnit.runs` or `running` cut them; without white space.
        pieces: its size; the alphabet takes at most three quarters of it.
    Raises: MissingExtraError: `tokenizers` is not installed. DataError: the texts are too few to learn from.
    """
    try:
        import tokenizers
        from tokenizers import models, pre_tokenizers, trainers
    except ImportError:
        raise MissingExtraError(f"Training a {kind!r} subword model", "train") from None
    options: dict[str, Any] = {"vocab_size": pieces, "special_tokens": [_UNKNOWN], "show_progress": False}
    if kind == "bpe":
        tokenizer = tokenizers.Tokenizer(models.BPE(unk_token=_UNKNOWN))
        trainer: Any = trainers.BpeTrainer(limit_alphabet=max(256, pieces * 3 // 4), **options)
    else:
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(unk_token=_UNKNOWN, **options)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if not counts:
        raise DataError(f"No text to learn a {kind!r} model from. Give training texts that are not all empty.")
    try:
        tokenizer.train_from_iterator(_repeated(counts), trainer)
    except Exception as error:
        raise DataError(
            f"Training a {kind!r} model of {pieces} pieces failed: {error}. "
            f"Set input.subwords lower, or input.unit to 'word' or 'char'."
        ) from error
    model = subwords_from_tokenizer(tokenizer)
    return model.rounded() if isinstance(model, Unigram) else model


def _repeated(counts: Mapping[str, int]) -> Iterator[str]:
    """Lines that hold each run as often as it was counted: `tokenizers` takes no counts."""
    for run, count in counts.items():
        for start in range(0, count, LONGEST_LINE):
            yield " ".join([run] * min(LONGEST_LINE, count - start))


def subwords_from_tokenizer(tokenizer: Any) -> Subwords:
    """The model inside a Hugging Face tokenizer."""
    import json

    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] == "BPE":
        merges = [(left, right) for left, right in model["merges"]]
        made = {left + right for left, right in merges}
        alphabet = [piece for piece in model["vocab"] if piece != _UNKNOWN and len(piece) == 1 and piece not in made]
        return Bpe(sorted(alphabet), merges)
    known = [(piece, score) for piece, score in model["vocab"] if piece != _UNKNOWN]
    return Unigram([piece for piece, _ in known], [score for _, score in known])


def subwords_from_json(values: Any, *, source: str) -> Subwords:
    """What `to_json` wrote. Raises BundleError naming `source`: anything else."""

    def strings(name: str) -> list[str]:
        found = values.get(name)
        if not isinstance(found, list) or len(found) > MOST_PIECES or not all(isinstance(one, str) for one in found):
            raise BundleError(f"{source}: {name!r} must be a list of strings. Export the model again.")
        if len(set(found)) < len(found) or not all(found):
            raise BundleError(f"{source}: {name!r} holds a piece twice, or an empty one. Export the model again.")
        return found

    if not isinstance(values, dict) or values.get("kind") not in ("bpe", "unigram"):
        raise BundleError(f"{source}: expected a model of kind 'bpe' or 'unigram'. Export the model again.")
    if values["kind"] == "bpe":
        merges = values.get("merges")
        if not isinstance(merges, list) or len(merges) > MOST_PIECES or not all(map(_is_pair, merges)):
            raise BundleError(f"{source}: 'merges' must be a list of pairs of strings. Export the model again.")
        return Bpe(strings("alphabet"), [(left, right) for left, right in merges])
    pieces, scores = strings("pieces"), values.get("scores")
    if not isinstance(scores, list) or len(scores) != len(pieces) or not all(map(_is_score, scores)):
        raise BundleError(f"{source}: 'scores' must be as many finite numbers as pieces. Export the model again.")
    return Unigram(pieces, [float(score) for score in scores])


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) and one for one in value)


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
