"""Texts from texts: the options of an answer, a network of the head sequence with its codec, and the constraints.

translator.outputs(codec, [encoded], {"beams": 5, "constraint": {"must": ("Haus",)}})    # a Translation each
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from gatework.core.automaton import Constraint
from gatework.core.errors import ConfigError, DataError, nearest
from gatework.kernels.automaton import FAR, Lifted, Pieces
from gatework.kernels.decoding import END, Hypothesis, Search
from gatework.kernels.sampling import Sampling, row_seed
from gatework.runtime.answering import Answerer
from gatework.runtime.writing import Constraints, Scored, as_constraint, check_number, check_whole
from gatework.tasks.seq2seq.answer import joined

MOST_BEAMS = 1 << 10
MOST_TOKENS = 1 << 24
OWN = ("beams", "length_penalty", "max_ratio")
"""Options whose defaults a bundle holds."""
SPLITS = ("always", "auto", "never")
WHOLE = ("prefix", "constraint", "min_tokens", "max_tokens")
"""Options that speak of a whole text."""
DRAWING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be asked of an answer. Raises ConfigError naming an option that is out of range or does not fit."""

    beams: int = 5
    """Beginnings kept at a time; 1 takes the most likely token each time."""
    count: int = 1
    """Texts for each source: the best ones, of which equal ones count once, or draws."""
    length_penalty: float = 1.0
    """log p is divided by the number of tokens to this power; 0 prefers short texts."""
    gnmt: float = 0.0
    """log p is divided by ((5 + tokens) / 6) to this power too (Wu et al. 2016)."""
    coverage_penalty: float = 0.0
    """Texts that leave parts of the source unseen fall behind (Wu et al. 2016)."""
    max_ratio: float = 2.0
    """Most tokens of a text over those of its source; ten more are always allowed."""
    max_tokens: int | None = None
    """Most tokens of a text."""
    min_tokens: int = 0
    """Fewest tokens of a text."""
    no_repeat: int | None = None
    """No sequence of that many tokens comes twice, unless nothing else is allowed."""
    prefix: str = ""
    """What the text begins with."""
    constraint: Constraint | str | Mapping[str, Any] | None = None
    """What the text has to be: a `Constraint`, its parts by name, or a regular expression."""
    replace_unknown: bool = True
    """Where the model writes a token that it does not know, the token of the source that it looked at most stands."""
    dictionary: Mapping[str, str] | str | PathLike[str] | None = None
    """What stands there instead, for tokens of the source that it has: a mapping, or a file of lines of a word, a tab,
    and what stands for it."""
    split: str = "auto"
    """Texts of several sentences are cut, each sentence is answered for itself: "always", "never", or "auto", those
    that are longer than nearly all that translators were trained on."""
    shortlist: bool | int = False
    """Only tokens of the model's shortlist may come: frequent ones, and that many of the likeliest translations of each
    token of the source; true for all that the list has. What is asked for by a prefix or a constraint may come too."""
    temperature: float | None = None
    """Draw instead of searching: below 1 more likely tokens, above 1 less likely ones."""
    top_k: int | None = None
    """Draw among that many of the most likely tokens."""
    top_p: float | None = None
    """Draw among the most likely tokens that together reach this probability."""
    min_p: float | None = None
    """Draw among tokens at least this many times as likely as the most likely one."""
    repetition_penalty: float | None = None
    """Draws: log p of tokens that came before is multiplied by it; above 1 they come less."""
    seed: int | None = None
    """Of the draws; None draws one."""

    def __post_init__(self) -> None:
        check_whole("beams", self.beams, 1, MOST_BEAMS)
        check_whole("count", self.count, 1, MOST_BEAMS)
        check_whole("min_tokens", self.min_tokens, 0, MOST_TOKENS)
        for name, least in (("max_tokens", 1), ("no_repeat", 1), ("top_k", 1), ("seed", 0)):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, least, 2**64 - 1 if name == "seed" else MOST_TOKENS)
        for name, most in (("length_penalty", 10.0), ("gnmt", 10.0), ("coverage_penalty", 100.0)):
            check_number(name, getattr(self, name), 0.0, most)
        check_number("max_ratio", self.max_ratio, 1e-3, 1e6)
        for name, low, high in (
            ("temperature", 1e-3, 1e3), ("top_p", 1e-9, 1.0), ("min_p", 1e-9, 1.0), ("repetition_penalty", 1e-2, 1e2)
        ):  # fmt: skip
            if (value := getattr(self, name)) is not None:
                check_number(name, value, low, high)
        if not isinstance(self.prefix, str):
            raise ConfigError(f"prefix must be a string, got {self.prefix!r:.60}.")
        if type(self.replace_unknown) is not bool:
            raise ConfigError(f"replace_unknown must be true or false, got {self.replace_unknown!r:.60}.")
        if type(self.shortlist) is not bool:
            check_whole("shortlist", self.shortlist, 0, MOST_TOKENS)
        if self.split not in SPLITS:
            raise ConfigError(f"split {self.split!r:.40} is unknown. {nearest(str(self.split), SPLITS)}")
        if self.split == "always" and (other := [name for name in WHOLE if getattr(self, name)]):
            raise ConfigError(f"split and {other[0]} do not go together: {other[0]} is of a whole text. Drop one.")
        if self.dictionary is not None and not self.replace_unknown:
            raise ConfigError("dictionary is for unknown words that are replaced. Set replace_unknown, or drop it.")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ConfigError(f"min_tokens {self.min_tokens} and max_tokens {self.max_tokens} contradict each other.")
        if self.seed is not None and not self.draws:
            raise ConfigError("seed is of draws. Set temperature=1.0 to draw, or drop it.")
        object.__setattr__(self, "constraint", as_constraint(self.constraint))

    @property
    def draws(self) -> bool:
        """Whether texts are drawn, not searched."""
        return any(getattr(self, name) is not None for name in DRAWING)

    @property
    def sampling(self) -> Sampling | None:
        """How tokens are drawn."""
        if not self.draws:
            return None
        return Sampling(
            temperature=float(1.0 if self.temperature is None else self.temperature),
            top_k=self.top_k or 0,
            top_p=float(self.top_p or 1.0),
            min_p=float(self.min_p or 0.0),
            repetition_penalty=float(self.repetition_penalty or 1.0),
            exempt=END,
        )

    @classmethod
    def of(cls, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Options:
        """Options by name over a model's own defaults; more texts than its beams make it search for as many."""
        known = cls.__dataclass_fields__
        if unknown := sorted(set(given) - set(known)):
            raise ConfigError(f"predict: the option {unknown[0]!r:.40} is unknown. {nearest(unknown[0], known)}")
        own = cls(**{**defaults, **given})
        if own.draws and given.get("beams", 1) > 1:
            drawn = next(name for name in DRAWING if getattr(own, name) is not None)
            raise ConfigError(f"beams search and {drawn} draws: they do not go together. Drop one.")
        if not own.draws and own.count > own.beams:
            if "beams" in given:
                raise ConfigError(f"count is {own.count}, but {own.beams} beams find no more than {own.beams} texts.")
            own = replace(own, beams=own.count)
        return own


class Translator:
    """A network with a codec's target side. Any threads may share it.

    The codec is a `tasks.seq2seq.Seq2SeqCodec`: of it are asked `target`, a `text.running.RunningCodec`, `settings`,
    which hold the model's own values of `Options`, `collate`, the ids of encoded sources, each with its end, and what
    becomes of a document (`sentences`, `between`) and of a `dictionary`.
    """

    def __init__(self, model: Answerer, codec: Any) -> None:
        self.model, self._codec, self._target = model, codec, codec.target
        self._defaults: dict[str, Any] = {name: getattr(codec.settings, name) for name in OWN}
        raw = [b"" if id_ == self._target.unknown else piece for id_, piece in enumerate(self._target.raw)]
        self._constraints = Constraints(Pieces(raw, spaced=self._target.spaced))
        self._looks = model.decoder.network.looks

    def outputs(self, codec: Any, encoded: Sequence[Any], options: Mapping[str, Any]) -> list[list[Hypothesis]]:
        """Hypotheses of each encoded example, best first; of an empty source one that says so.

        Raises: ConfigError: an option is unknown, out of range, contradicts another, or cannot be met.
        """
        return self._outputs(codec, encoded, Options.of(options, self._defaults))

    def answers(self, examples: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
        """A `Translation` of each example: a text, or the turns of a dialogue. Raises: as `outputs`; DataError."""
        asked, codec = Options.of(options, self._defaults), self._codec
        if asked.dictionary is not None and (self._target.byte_fallback or not self._looks):
            why = "its units know every word" if self._looks else "it does not look at the source"
            raise ConfigError(f"dictionary is for words that a model does not know; this one needs none: {why}.")
        words = None if asked.dictionary is None else codec.dictionary(asked.dictionary)
        encoded = [codec.encode_given(example) for example in examples]
        cut = {place: found for place, one in enumerate(encoded) if len(found := self._sentences(one, asked)) > 1}
        flat = [part for place, one in enumerate(encoded) for part in self._parts(one, cut.get(place))]
        hypotheses = self._outputs(codec, flat, asked)
        made = iter(
            codec.decode(
                hypotheses,
                flat,
                replace_unknown=asked.replace_unknown,
                dictionary=words,
                begun=self._target.surfaces(asked.prefix),
                distinct=not asked.draws,
            )
        )
        return [
            joined([next(made) for _ in cut[place]], codec.between(one, cut[place])) if place in cut else next(made)
            for place, one in enumerate(encoded)
        ]

    def _sentences(self, one: Any, asked: Options) -> list[tuple[int, int]]:
        """Where the sentences of a source are, if they are to be answered one by one."""
        if asked.split == "auto":
            usual = self._codec.settings.usual
            if not usual or len(one.tokens) + one.left_out <= usual or any(getattr(asked, name) for name in WHOLE):
                return []
        return [] if asked.split == "never" else list(self._codec.sentences(one))

    def _parts(self, one: Any, cut: list[tuple[int, int]] | None) -> list[Any]:
        return [one] if cut is None else [self._codec.encode(one.text[at:end]) for at, end in cut]

    def _outputs(self, codec: Any, encoded: Sequence[Any], asked: Options) -> list[list[Hypothesis]]:
        prefix = self._target.encode(asked.prefix).tolist()
        ids = codec.collate(encoded)
        full = [place for place, one in enumerate(ids) if len(one) > 1]  # more than its end
        sources = [ids[place] for place in full]
        search = self._search(asked, max(map(len, sources), default=1), len(prefix))
        seed = (secrets.randbits(32) if asked.seed is None else asked.seed) if asked.draws else 0
        found = [[Hypothesis((), 0.0, 0.0, None, "empty")] for _ in encoded]
        answers = self.model.answer(
            sources,
            search,
            prefixes=[prefix] * len(full) if prefix else None,
            seeds=[row_seed(seed, place) for place in full],
            only=self._lists(asked, sources, search, prefix),
        )
        for place, answer in zip(full, answers, strict=True):
            found[place] = answer
        return found

    def _lists(self, asked: Options, sources: Any, search: Search, prefix: Sequence[int]) -> list[Any] | None:
        """The ids that may come for each source; None for all."""
        if not asked.shortlist:
            return None
        listed = self._codec.shortlist
        if listed is None:
            raise ConfigError("shortlist: the model has none. Add one with gatework export --shortlist, or drop it.")
        if not isinstance(asked.shortlist, bool) and asked.shortlist > listed.each:
            raise ConfigError(f"shortlist: the model has {listed.each} for each token, not {asked.shortlist}.")
        each = listed.each if asked.shortlist is True else asked.shortlist
        needed: tuple[int, ...] | None = ()
        if search.automaton is not None:
            assert isinstance(asked.constraint, Constraint)  # made so by Options
            needed = self._constraints.needed(asked.constraint, search.automaton)
        if needed is None or (needed and search.min_tokens):
            return None
        wanted = np.array([self._target.unknown, END, *prefix, *needed])
        copies = self.model.decoder.network.copies
        outputs = self.model.architecture.outputs
        return [listed.ids(one, each, outputs, np.append(wanted, one) if copies else wanted) for one in sources]

    def score(self, sources: Sequence[Any], targets: Sequence[str]) -> list[Scored]:
        """How likely each target is, given its source as the codec encodes it; its end counts as a token."""
        ids = [self._target.encode(target) for target in targets]
        unknown = [int((one == self._target.unknown).sum()) for one in ids]
        nats = self.model.nll(self._codec.collate(sources), ids)
        return [
            Scored(log_p=-float(own.sum(dtype="float64")), tokens=len(own), unknown=odd)
            for own, odd in zip(nats, unknown, strict=True)
        ]

    def _search(self, asked: Options, longest: int, begun: int) -> Search:
        """What the kernels are asked for, for sources of at most `longest` tokens."""
        search = Search(
            beams=1 if asked.draws else asked.beams,
            count=asked.count,
            length_penalty=float(asked.length_penalty),
            gnmt=float(asked.gnmt),
            coverage_penalty=float(asked.coverage_penalty),
            max_ratio=float(asked.max_ratio),
            max_tokens=asked.max_tokens,
            min_tokens=asked.min_tokens,
            no_repeat=asked.no_repeat or 0,
            never=() if asked.replace_unknown and self._looks else (self._target.unknown,),
            sampling=asked.sampling,
        )
        if asked.constraint is None:
            return search
        assert isinstance(asked.constraint, Constraint)  # made so by Options
        fewest, most = asked.constraint.tokens or (0, None)
        fewest = max(fewest, asked.min_tokens)
        most = asked.max_tokens if most is None else min(most, asked.max_tokens or most)
        search = replace(search, min_tokens=fewest, max_tokens=most)
        limit = search.plan(longest, [0] * begun).limit
        lifted = self._lifted(asked.constraint, fewest, most, limit)
        return replace(search, automaton=lifted, grid=bool(asked.constraint.must) and search.beams > 1)

    def _lifted(self, constraint: Constraint, fewest: int, most: int | None, limit: int) -> Lifted:
        lifted = self._constraints.lifted(constraint, limit if fewest else 0)
        shortest = lifted.distance(lifted.start)
        bound = max(limit, shortest) if most is None else most
        if shortest == FAR or not lifted.within(lifted.start, fewest, bound):
            raise ConfigError(self._constraints.fault(constraint, shortest, fewest, bound))
        return lifted


def pairs_of(pairs: Iterable[Any]) -> tuple[list[str], list[str]]:
    """Sources and targets of pairs of strings. Raises DataError where they are none."""
    given = list(pairs)
    for number, pair in enumerate(given):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(side, str) for side in pair):
            raise DataError(f"score: pair {number} must be a source and a target, two strings, got {pair!r:.60}.")
    return [source for source, _ in given], [target for _, target in given]
