"""Constraints on text as finite automata: what a decoder may write next, and when it may stop.

    Constraint(pattern=r"[a-z]+ \\d{2}", must=("red",))  ──dfa──►  Dfa over the bytes of UTF-8

Nothing here knows what decodes. `kernels.automaton` lifts a Dfa from bytes to the tokens of a vocabulary.
"""

from gatework.core.automaton.constraint import Constraint
from gatework.core.automaton.dfa import Dfa, TooLarge
from gatework.core.automaton.reading import after, backwards, spaced
from gatework.core.automaton.search import finder

__all__ = ["Constraint", "Dfa", "TooLarge", "after", "backwards", "finder", "spaced"]
