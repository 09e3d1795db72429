"""Options of writing with a language model, what comes of it, and the constraints of a vocabulary.

options = Options(max_tokens=50, temperature=0.8, constraint=Constraint(pattern="..."))
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import Any

from gatework.core.automaton import Constraint, Dfa, finder
from gatework.core.errors import ConfigError
from gatework.kernels.automaton import FAR, MOST_WAYS, Lifted, Pieces, lift, nearer
from gatework.kernels.generation import Order
from gatework.kernels.sampling import Sampling
from gatework.runtime.language_state import END, LanguageState

MOST_TOKENS = 1 << 30
MOST_COUNT = 1 << 16
MOST_STOPS = 1 << 15
"""Characters of all stop strings together."""
KEPT = 16
"""Lifted constraints that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """A text that was written."""

    text: str
    """Without the prompt, the end of the document, and the stop string."""
    tokens: tuple[int, ...]
    """Its ids; with a stop string, those of it too."""
    log_p: float
    """Nats of all that was written, an end of the document included, as the model has them: before temperature, masks
    and penalties."""
    reason: str
    """Why it ended: "end" (of the document), "length" (max_tokens), "stop" (a stop string), "constraint" (nothing
    further is allowed)."""
    state: LanguageState
    """To go on from here: `generate("", state=...)`."""
    seed: int | None
    """What the draws came from; None where nothing was drawn."""
    unknown: int = 0
    """Tokens of the prompt that the model does not know."""

    def to_dict(self) -> dict[str, Any]:
        values = {"text": self.text, "tokens": len(self.tokens), "log_p": self.log_p, "reason": self.reason}
        return values | {"seed": self.seed, "unknown": self.unknown}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """How likely a text is."""

    log_p: float
    """Nats."""
    tokens: int
    """That were counted, an end of the document included."""
    unknown: int = 0
    """Of them, those the model does not know."""

    @property
    def perplexity(self) -> float:
        """exp of the mean nats of a token; 1 of a text without tokens."""
        return math.exp(min(-self.log_p / max(self.tokens, 1), 700.0))

    def to_dict(self) -> dict[str, Any]:
        values = {"log_p": self.log_p, "tokens": self.tokens, "perplexity": self.perplexity}
        return values | {"unknown": self.unknown}


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """A text that was read from a state on."""

    log_p: float
    """Nats."""
    tokens: int
    unknown: int
    """Of its tokens, those the model does not know."""
    state: LanguageState
    """After it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be asked of a generation. Raises ConfigError naming an option that is out of range or does not fit."""

    max_tokens: int = 256
    """Tokens to write at most."""
    stop: str | Sequence[str] | None = ()
    """Strings that end a text where they appear."""
    temperature: float = 1.0
    """Below 1 more likely tokens, above 1 less likely ones; 0 for the most likely one each time."""
    top_k: int | None = None
    """Draw among that many of the most likely tokens."""
    top_p: float | None = None
    """Draw among the most likely tokens that together reach this probability."""
    min_p: float | None = None
    """Draw among tokens at least this many times as likely as the most likely one."""
    repetition_penalty: float = 1.0
    """log p of tokens that came before (the last 1,024 are looked at) is multiplied by it; above 1 they come less."""
    no_repeat: int | None = None
    """No sequence of that many tokens comes twice (in the last 1,024), unless nothing else is allowed."""
    beams: int = 1
    """From 2 on: search for the most likely text, that many kept at a time; nothing is drawn."""
    length_penalty: float = 0.0
    """With beams: texts are ranked by log p / tokens^length_penalty, an end of the document being one; 0 ranks by the
    whole, 1 by the mean."""
    count: int = 1
    """Texts for each prompt; with beams, the best ones found."""
    seed: int | None = None
    """Of the draws; None draws one, which the answer names."""
    constraint: Constraint | str | Mapping[str, Any] | None = None
    """What the text has to be: a `Constraint`, its parts by name, or a regular expression."""

    def __post_init__(self) -> None:
        check_whole("max_tokens", self.max_tokens, 0, MOST_TOKENS)
        check_whole("count", self.count, 1, MOST_COUNT)
        check_whole("beams", self.beams, 1, 1 << 12)
        for name, least in (("top_k", 1), ("no_repeat", 1), ("seed", 0)):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, least, 2**64 - 1 if name == "seed" else MOST_TOKENS)
        if self.temperature != 0:
            check_number("temperature", self.temperature, 1e-3, 1e3)
        check_number("repetition_penalty", self.repetition_penalty, 1e-2, 1e2)
        for name in ("top_p", "min_p"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, 1e-9, 1.0)
        if not isinstance(self.stop, str | Sequence | None):
            raise ConfigError(f"stop must be a string or several, got {self.stop!r:.60}.")
        stops: tuple[Any, ...] = self.stops
        if not all(isinstance(stop, str) and stop for stop in stops):
            raise ConfigError(f"stop must be strings, and no empty ones, got {self.stop!r:.60}.")
        if sum(map(len, self.stops)) > MOST_STOPS:
            raise ConfigError(f"stop has more than {MOST_STOPS:,} characters in all.")
        check_number("length_penalty", self.length_penalty, 0.0, 10.0)
        if self.beams > 1:
            self._check_beams()
        elif self.length_penalty:
            raise ConfigError("length_penalty ranks what beams find. Set beams from 2 on, or drop it.")
        if self.constraint is not None and self.stops:
            raise ConfigError("stop and constraint do not go together. Let the pattern say where the text ends.")
        object.__setattr__(self, "constraint", as_constraint(self.constraint))

    def _check_beams(self) -> None:
        drawing = {"temperature": 1.0, "top_k": None, "top_p": None, "min_p": None, "repetition_penalty": 1.0}
        if other := [name for name, default in drawing.items() if getattr(self, name) != default]:
            raise ConfigError(f"{other[0]} and beams do not go together: beams search, they do not draw. Drop one.")
        if self.stops:
            raise ConfigError("stop and beams do not go together. Drop one, or use a constraint.")
        if self.count > self.beams:
            raise ConfigError(f"count is {self.count}, but {self.beams} beams find no more than {self.beams} texts.")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def draws(self) -> bool:
        """Whether anything is left to chance."""
        return self.beams == 1 and self.temperature > 0

    def seeded(self) -> Options:
        """The same with a seed."""
        return replace(self, seed=secrets.randbits(32)) if self.seed is None else self

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            temperature=float(self.temperature),
            top_k=self.top_k or 0,
            top_p=float(self.top_p or 1.0),
            min_p=float(self.min_p or 0.0),
            repetition_penalty=float(self.repetition_penalty),
            no_repeat=self.no_repeat or 0,
            exempt=END,
        )


class Constraints:
    """Constraints lifted to the tokens of one vocabulary, the latest ones kept. Any threads may share it."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self._kept: dict[tuple[Constraint, int], Lifted] = {}
        self._needed: dict[Constraint, tuple[int, ...] | None] = {}
        self._lock = Lock()

    def order(self, options: Options) -> Order:
        """What the kernels are asked for. Raises ConfigError: no text satisfies the constraint, or none within
        max_tokens."""
        stop: Dfa | None = finder(options.stops) if options.stops else None
        if options.constraint is None:
            return Order(sampling=options.sampling, most=options.max_tokens, stop=stop)
        assert isinstance(options.constraint, Constraint)  # made so by Options
        fewest, most = options.constraint.tokens or (0, None)
        if fewest > options.max_tokens:
            raise ConfigError(
                f"constraint: tokens from {fewest} and max_tokens {options.max_tokens} contradict each other."
            )
        most = options.max_tokens if most is None else min(most, options.max_tokens)
        lifted = self.lifted(options.constraint, most if fewest else 0)
        if not lifted.within(lifted.start, fewest, most):
            raise ConfigError(self.fault(options.constraint, lifted.distance(lifted.start), fewest, most))
        return Order(sampling=options.sampling, most=most, fewest=fewest, automaton=lifted)

    def lifted(self, constraint: Constraint, counted: int) -> Lifted:
        """A constraint over tokens, which counts the ways of up to `counted` of them where that is above 0."""
        key = (constraint, counted)
        with self._lock:
            if key not in self._kept:
                made = lift(constraint.dfa, self.pieces)
                if counted:
                    if made.states * (counted + 2) > MOST_WAYS:
                        raise ConfigError("constraint: too large for a least number of tokens. Lower max_tokens.")
                    made.count_ways(counted)
                if len(self._kept) >= KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = made
            return self._kept[key]

    def needed(self, constraint: Constraint, lifted: Lifted) -> tuple[int, ...] | None:
        """Tokens of which some must be there so that the automaton can always end in as few tokens as it can: in each
        state those that come nearer to an end. None where that may be any: of more than words."""
        words = {field.name: getattr(constraint, field.name) for field in fields(constraint)}
        if any(value for name, value in words.items() if name not in ("must", "must_not")):
            return None
        with self._lock:
            if constraint not in self._needed:
                if len(self._needed) >= KEPT:
                    del self._needed[next(iter(self._needed))]
                self._needed[constraint] = nearer(lifted)
            return self._needed[constraint]

    def fault(self, constraint: Constraint, shortest: int, fewest: int, most: int) -> str:
        """Why no text of `fewest` to `most` tokens satisfies a constraint whose shortest one has so many tokens; the
        part that is to blame is named where one alone is."""
        if shortest != FAR and shortest <= most:
            return f"constraint: no text of {fewest} to {most} tokens satisfies its other parts. Change one of them."
        alone = {name: lift(dfa, self.pieces) for name, dfa in constraint.parts()}
        needed = {name: lifted.distance(lifted.start) for name, lifted in alone.items()}
        worst = max(needed, key=needed.__getitem__)
        if shortest == FAR:
            who = worst if needed[worst] == FAR else " and ".join(needed)
            return f"constraint: the model has no tokens to write any text that satisfies {who}. Change the constraint."
        who, least = (worst, needed[worst]) if needed[worst] > most else ("it", shortest)
        return (
            f"constraint: the shortest text that satisfies {who} has {least} tokens, but no more than {most} are "
            "allowed. Raise max_tokens, or change the constraint."
        )


def as_constraint(given: Any) -> Constraint | None:
    """A constraint, its parts by name, or its pattern. Raises ConfigError."""
    if given is None or isinstance(given, Constraint):
        return given
    if isinstance(given, str):
        return Constraint(pattern=given)
    if isinstance(given, Mapping):
        known = Constraint.__dataclass_fields__
        if unknown := sorted(set(given) - set(known)):
            raise ConfigError(f"constraint: {unknown[0]!r:.40} is unknown. Known: {', '.join(known)}.")
        return Constraint(**given)
    raise ConfigError(f"constraint must be a Constraint, its parts by name, or a pattern, got {given!r:.60}.")


def check_whole(name: str, value: Any, least: int, most: int) -> None:
    """Raise ConfigError unless an option is a whole number in a range."""
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most}, got {value!r:.40}.")


def check_number(name: str, value: Any, least: float, most: float) -> None:
    """Raise ConfigError unless an option is a number in a range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"{name} must be a number from {least:g} to {most:g}, got {value!r:.40}.")
