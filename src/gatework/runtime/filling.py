"""Options of filling gaps, what comes of it, and what a gap may hold as automata that both directions follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from gatework.core.automaton import Constraint, TooLarge, after, backwards, spaced
from gatework.core.errors import ConfigError
from gatework.kernels.automaton import FAR, MOST_WAYS, Lifted, Pieces, lift
from gatework.kernels.generation import Order
from gatework.runtime.gaps import Gapped
from gatework.runtime.writing import Options, as_constraint, check_number, check_whole

MOST_COUNT = 1000
MOST_LENGTH = 1000
MOST_OPEN = 32
"""Characters or words of a gap of which only a constraint says how long it is."""
MOST_BYTES = 24
"""Tokens beyond one a character that are searched where nobody named a length, for characters of several bytes."""
USUAL = {"word": (1, 4)}
USUAL_CHARACTERS = (1, 16)
"""Of a gap of which nothing is said."""
KEPT = 64
"""Lifted automata that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """A text with its gaps filled."""

    text: str
    parts: tuple[str, ...]
    """What fills the gaps."""
    log_p: float
    """Nats: the mean of the directions. Of what fills the gaps and of up to `window` characters behind (forward) or
    before it (backward), so that fillings of all lengths compare."""
    forward: float | None
    """log p read forward; None where no model reads so."""
    backward: float | None
    share: float
    """exp(log_p) as a share of its sum over all fillings that were found."""
    unknown: int = 0
    """Tokens beside the gaps that the model does not know."""

    @property
    def directions(self) -> tuple[str, ...]:
        """What the score was made of."""
        return tuple(name for name in ("forward", "backward") if getattr(self, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        names = ("text", "parts", "log_p", "forward", "backward", "share", "unknown")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewritten:
    """Alternatives to what was marked."""

    original: Filled
    """The text as it was; its share is of all, its own included."""
    alternatives: tuple[Filled, ...]
    """Others, best first."""

    def to_dict(self) -> dict[str, Any]:
        return {"original": self.original.to_dict(), "alternatives": [one.to_dict() for one in self.alternatives]}


@dataclass(frozen=True, kw_only=True)
class Filling:
    """What may be asked. Raises ConfigError naming an option that is out of range or does not fit."""

    length: int | tuple[int, int] | None = None
    """Of each gap: a number or (from, to), in words for models of words, else in characters. None: 1 to 4 words or 1 to
    16 characters, as the constraint says where it says something about the length, and near the original's for
    rewriting."""
    count: int = 5
    """Answers, best first; fewer where fewer were found."""
    beams: int = 16
    """Beginnings kept at each length, and endings."""
    window: int = 100
    """Characters scored on the far side of a gap."""
    constraint: Constraint | str | Mapping[str, Any] | None = None
    """What every gap has to be: as of `generate`."""
    temperature: float = 0.0
    """0: the best ones; above: answers are drawn from those found, with probabilities p^(1 / temperature)."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1, MOST_COUNT)
        check_whole("beams", self.beams, 1, 1 << 12)
        check_whole("window", self.window, 1, 1 << 12)
        check_whole("seed", self.seed, 0, 2**64 - 1)
        if self.temperature != 0:
            check_number("temperature", self.temperature, 1e-3, 1e3)
        object.__setattr__(self, "constraint", as_constraint(self.constraint))
        if self.length is None:
            return
        object.__setattr__(self, "length", _length(self.length))


def _length(given: Any) -> tuple[int, int]:
    low, high = given if isinstance(given, list | tuple) and len(given) == 2 else (given, given)
    if not (type(low) is int and type(high) is int and 0 <= low <= high <= MOST_LENGTH):
        raise ConfigError(f"length must be a number up to {MOST_LENGTH} or (from, to), from first, got {given!r:.40}.")
    return low, high


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one gap may hold."""

    constraint: Constraint | None
    fewest: int
    """Tokens. Of subwords and bytes the constraint's are looked at when a filling is whole."""
    most: int


def wanted(options: Filling, gapped: Gapped, unit: str, *, exact: bool) -> list[Wanted]:
    """What each gap may hold.

    Args:
        exact: whether every character is one token, or every word.
    Raises: ConfigError: a length and the constraint's own are given.
    """
    constraint = options.constraint
    assert constraint is None or isinstance(constraint, Constraint)  # made so by Filling
    counted = "tokens" if unit == "word" else "characters"
    if options.length is not None and constraint is not None and getattr(constraint, counted) is not None:
        raise ConfigError(f"length and constraint.{counted} both say how long a gap is. Drop one.")
    for name in ("characters", "tokens"):
        bounds = getattr(constraint, name, None)
        if bounds is not None and max(bounds[0], bounds[1] or 0) > MOST_LENGTH:
            raise ConfigError(f"constraint.{name}: a gap has no more than {MOST_LENGTH} {name}. Lower it.")
    return [_wanted(options, constraint, _usual(gapped, n, constraint, unit), unit, exact) for n in range(gapped.gaps)]


def _wanted(
    options: Filling, constraint: Constraint | None, usual: tuple[int, int] | None, unit: str, exact: bool
) -> Wanted:
    low, high = options.length or usual or (0, MOST_OPEN)  # type: ignore[misc]
    bounded = options.length is not None or usual is not None
    fewest, most = (constraint and constraint.tokens) or (0, None)
    if unit == "word" or (constraint is None and exact):
        if bounded:
            fewest, most = low, high
        return Wanted(constraint, fewest, high if most is None else most)
    if bounded:
        constraint = replace(constraint or Constraint(), characters=(low, high))
    assert constraint is not None  # where there is none, the usual length is one
    named = options.length is not None or constraint.choices
    longest = constraint.characters[1] if constraint.characters is not None else None
    if longest is None:
        longest = max(map(len, constraint.choices), default=max(MOST_OPEN, (constraint.characters or (0,))[0]))
    if exact:
        return Wanted(constraint, fewest, longest if most is None else min(most, longest))
    return Wanted(constraint, fewest, (4 * longest if named else longest + MOST_BYTES) if most is None else most)


def _usual(gapped: Gapped, gap: int, constraint: Constraint | None, unit: str) -> tuple[int, int] | None:
    """How long a gap is of which no length was given; None where the constraint says it."""
    parts = ("pattern", "choices", "characters", "tokens", "lines", "line_count")
    if constraint is not None and any(getattr(constraint, name) not in (None, ()) for name in parts):
        return None
    if not gapped.originals:
        return USUAL.get(unit, USUAL_CHARACTERS)
    own = len(gapped.originals[gap].split() if unit == "word" else gapped.originals[gap])
    near = max(1, own // 3)
    return max(1, own - near), own + near


class Orders:
    """What beams are asked for, in both directions; automata are kept. Any threads may share it."""

    def __init__(self, text: Any) -> None:
        """`text` is a `text.running.RunningCodec`."""
        raw = [b"" if id_ == text.unknown else one for id_, one in enumerate(text.raw)]
        # From its end a text of words is read with its blanks, for a blank is the last byte of its word.
        self._pieces = {
            "forward": Pieces(raw, spaced=text.spaced),
            "backward": Pieces([one[::-1] for one in raw]),
        }
        self._spaced, self._exact = text.spaced, text.spaced or not (text.byte_fallback or text.subwords)
        self._kept: dict[Any, Lifted | None] = {}
        self._lock = Lock()

    def order(self, want: Wanted, direction: str, border: str) -> Order | None:
        """What to search for from one side of a gap; None where the constraint has no small automaton from its end.

        Args:
            border: what is written before the filling, in the order of the text.
        Raises: ConfigError: nothing satisfies the constraint, or nothing of this length.
        """
        sampling = Options().sampling
        if want.constraint is None:
            return Order(sampling=sampling, fewest=want.fewest, most=want.most)
        fewest = want.fewest if self._exact else 0
        most = want.most + (0 if self._exact else len(border.encode()))
        lifted = self._lifted(want.constraint, direction, border, most if fewest else 0)
        if lifted is None:
            return None
        if not lifted.within(lifted.start, fewest, most):
            raise ConfigError(_nothing(lifted.distance(lifted.start), fewest, most))
        return Order(sampling=sampling, fewest=fewest, most=most, automaton=lifted)

    def _lifted(self, constraint: Constraint, direction: str, border: str, counted: int) -> Lifted | None:
        key = (constraint, direction, border, counted)
        with self._lock:
            if key not in self._kept:
                if len(self._kept) >= KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = self._lift(constraint, direction, border.encode(), counted)
            return self._kept[key]

    def _lift(self, constraint: Constraint, direction: str, border: bytes, counted: int) -> Lifted | None:
        dfa = constraint.dfa
        if direction == "backward":
            try:
                dfa, border = backwards(spaced(dfa) if self._spaced else dfa), border[::-1]
            except TooLarge:
                return None
        made = lift(after(border, dfa), self._pieces[direction])
        if counted:
            if made.states * (counted + 2) > MOST_WAYS:
                raise ConfigError("constraint: too large for a least number of tokens. Name a smaller length.")
            made.count_ways(counted)
        return made


def _nothing(shortest: int, fewest: int, most: int) -> str:
    if shortest == FAR:
        return "constraint: the model has no tokens to write any text that satisfies it. Change the constraint."
    if shortest > most:
        return (
            f"constraint and length contradict each other: the shortest text that satisfies the constraint has "
            f"{shortest} tokens, but no more than {most} are allowed. Change one of them."
        )
    return f"constraint and length contradict each other: no text of {fewest} to {most} tokens. Change one of them."
