"""The same language from its end, after other bytes, and with the blanks of words: by trying strings."""

import itertools

import numpy as np
import pytest

from gatework.core.automaton import Constraint, Dfa, TooLarge, after, backwards, spaced

CONSTRAINTS = [
    Constraint(pattern="(ab|c)*a?"),
    Constraint(pattern="猫?[a-c]{0,2}é"),
    Constraint(choices=("ab", "ba", "猫", "")),
    Constraint(must=("a",), characters=(1, 3)),
    Constraint(lines="a ?b?", line_count=(1, 2)),
]
TEXTS = ["a\nb", "a\n", "a b\na", *["".join(some) for n in range(5) for some in itertools.product("abc é猫", repeat=n)]]


def accepts(dfa: Dfa, data: bytes) -> bool:
    state = dfa.run(data)
    return state >= 0 and bool(dfa.accept[state])


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_texts_are_read_from_their_end(constraint):
    turned = backwards(constraint.dfa)
    for text in TEXTS:
        assert accepts(turned, text.encode()[::-1]) == constraint.dfa.matches(text)
    assert not accepts(turned, "é".encode())
    assert len(backwards(turned).accept) <= len(constraint.dfa.accept)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_texts_stand_after_something(constraint):
    later = after("éa".encode(), constraint.dfa)
    for text in TEXTS:
        assert accepts(later, f"éa{text}".encode()) == constraint.dfa.matches(text)
        assert accepts(later, text.encode()) == (text[:2] == "éa" and constraint.dfa.matches(text[2:]))
    assert after(b"", constraint.dfa) is constraint.dfa


def test_words_have_blanks_before_them():
    for constraint in (Constraint(lines="a ?b?", line_count=(1, 3)), Constraint(pattern="(a|b| |\n)*")):
        dfa = constraint.dfa
        wide = spaced(dfa)
        for n in range(6):
            for pieces in itertools.product((" a", " b", "\n"), repeat=n):
                raw = "".join(pieces)
                assert accepts(wide, raw.encode()) == dfa.matches(raw.replace("\n ", "\n").removeprefix(" "))
        assert not accepts(wide, b"a")


def test_an_automaton_that_accepts_nothing_stays_so():
    empty = Dfa(np.zeros((0, 1), np.int32), np.zeros(256, np.uint8), np.zeros(0, bool))
    assert backwards(empty).empty
    assert after(b"a", empty).empty
    assert spaced(empty).empty


def test_what_has_no_small_automaton_from_its_end():
    dfa = Constraint(pattern="[ab]{20}a[ab]*").dfa
    assert len(dfa.accept) < 30
    with pytest.raises(TooLarge):
        backwards(dfa)
