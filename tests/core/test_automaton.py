"""Constraints as automata: the same texts as Python's `re.fullmatch`, by brute force; contradictions named."""

import itertools
import re

import numpy as np
import pytest

from gatework.core.automaton import Constraint, finder
from gatework.core.automaton.utf8 import ALL, characters, complement, node, union
from gatework.core.errors import ConfigError

PATTERNS = [
    "",
    "a",
    "ab|a",
    "(ab|a)(c|bc)?",
    "a*",
    "a+b?",
    "a{2}",
    "a{2,}",
    "a{,2}b",
    "a{1,3}?b",
    "(a|b){0,2}c",
    "((a*)*)*b",
    "(a*){2,3}",
    "(?:a|)b",
    "[ab]c",
    "[^ab]",
    "[^ab]{2}",
    "[a-c]{2}",
    "[]a]",
    "[^]a]b",
    "[a-]",
    "[\\]a]",
    ".",
    ".*b",
    ".{2}",
    "\\w\\W",
    "\\s|\\S\\S",
    "\\d?a",
    "[\\w-]b",
    "[^\\w]a",
    "a\\.b?",
    "\\u4e00a|\\x61b",
    "一?[二-十]",
    "[一-龥]{1,2}",
    "é|\\U0001f600",
    "a\\nb",
    "a{",
    "a{1",
    "a{x}",
    "{",
    "a{,}",
]
ALPHABET = "abc\n1-{一é😀"


def texts(longest):
    return ["".join(letters) for n in range(longest + 1) for letters in itertools.product(ALPHABET, repeat=n)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_what_python_matches(pattern):
    dfa, compiled = Constraint(pattern=pattern).dfa, re.compile(pattern)
    for text in [*texts(3), "aaab", "aaaaa", "abab", "a{x}", "a{,}", "a{1", "aaaaaab"]:
        assert dfa.matches(text) == bool(compiled.fullmatch(text)), text


def test_random_patterns_match_what_python_matches():
    rng = np.random.default_rng(5)

    def pattern(depth):
        kind = rng.integers(6) if depth else 0
        if kind <= 1:
            return str(rng.choice(["a", "b", "[ab]", "[^a]", ".", "é"]))
        if kind == 2:
            return pattern(depth - 1) + pattern(depth - 1)
        if kind == 3:
            return f"({pattern(depth - 1)}|{pattern(depth - 1)})"
        return f"(?:{pattern(depth - 1)})" + str(rng.choice(["*", "+", "?", "{2}", "{1,2}", "{,1}", "{1,}"]))

    words = ["".join(letters) for n in range(5) for letters in itertools.product("abé", repeat=n)]
    for _ in range(60):
        one = pattern(4)
        dfa, compiled = Constraint(pattern=one).dfa, re.compile(one)
        assert [word for word in words if dfa.matches(word)] == [word for word in words if compiled.fullmatch(word)], (
            one
        )


@pytest.mark.parametrize("kind", ["w", "d", "s"])
def test_kinds_of_characters_are_those_of_python(kind):
    compiled = re.compile(f"\\{kind}")
    codes = {code for low, high in characters(kind) for code in range(low, high + 1)}
    assert codes == {code for code in range(0x110000) if compiled.match(chr(code))}


def test_bytes_of_sets_of_characters():
    def walk(data, ranges):
        here = node(ranges)
        for place, byte in enumerate(data):
            found = [below for low, high, below in here if low <= byte <= high]
            if not found:
                return False
            if found[0] is None:
                return place + 1 == len(data)
            here = found[0]
        return False

    odd = union([(0x41, 0x5A), (0x7F, 0x81), (0x7FE, 0x802), (0xD7FE, 0xE001), (0xFFFE, 0x10001), (0x10FFFF, 0x10FFFF)])
    for code in [
        *range(0x100),
        *range(0x7F0, 0x810),
        0xD7FD,
        *range(0xE000, 0xE005),
        *range(0xFFF0, 0x10010),
        0x10FFFF,
    ]:
        inside = any(low <= code <= high for low, high in odd)
        assert walk(chr(code).encode(), odd) == inside
        assert walk(chr(code).encode(), complement(odd)) == (not inside)
    for bad in (
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xff",
        b"\x80",
        b"\xf0\x80\x80\x80",
    ):
        assert not walk(bad, ALL)


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[a", "*", "a**", "a{3,2}", "a{99999}", "[b-a]", "[\\w-z]", "\\", "\\q", "\\1", "\\x1", "\\u12",
     "\\U99999999", "^a", "a$", "(?=a)", "(?i)a", "(?P<n>a)", "a++", "(" * 200 + ")" * 200],
)  # fmt: skip
def test_patterns_that_are_wrong_say_where(pattern):
    with pytest.raises(ConfigError, match=r"pattern .* at character \d+"):
        _ = Constraint(pattern=pattern).dfa


def test_patterns_that_are_too_large():
    for pattern in ("(a{1000}){1000}", "(a|b)*a(a|b){30}", "((a{100}){100}){100}"):
        with pytest.raises(ConfigError, match="too large"):
            _ = Constraint(pattern=pattern).dfa


WORDS = ["".join(letters) for n in range(6) for letters in itertools.product("ab \n", repeat=n)]


def contains(text, word):
    return re.search(rf"(?<![0-9A-Za-z_]){re.escape(word)}(?![0-9A-Za-z_])", text) is not None


@pytest.mark.parametrize(
    ("parts", "good"),
    [
        ({"choices": ("a", "ab", "")}, lambda t: t in ("a", "ab", "")),
        ({"must": "ab"}, lambda t: contains(t, "ab")),
        ({"must": ("a", "b")}, lambda t: contains(t, "a") and contains(t, "b")),
        ({"must": ("a b",), "must_not": "b"}, lambda t: False),
        ({"must_not": ("ab", "ba")}, lambda t: not contains(t, "ab") and not contains(t, "ba")),
        ({"characters": (2, 3)}, lambda t: 2 <= len(t) <= 3),
        ({"characters": (4, None)}, lambda t: len(t) >= 4),
        ({"characters": 2, "must": "a"}, lambda t: len(t) == 2 and contains(t, "a")),
        ({"lines": "a+[^b]?"}, lambda t: all(re.fullmatch("a+[^b\n]?", line) for line in t.split("\n"))),
        ({"lines": "a|", "line_count": (2, 3)}, lambda t: {*t.split("\n")} <= {"a", ""} and 1 <= t.count("\n") <= 2),
        ({"line_count": 1, "pattern": "(a|\n)+"}, lambda t: re.fullmatch("a+", t)),
        ({"pattern": "[ab]*", "must_not": "a", "characters": 3}, lambda t: re.fullmatch("[ab]{3}", t)),
        ({"pattern": "[ab]*", "must_not": "a", "characters": (0, 1)}, lambda t: t in ("", "b")),
    ],
)  # fmt: skip
def test_parts_together(parts, good):
    if not any(good(text) for text in WORDS):
        with pytest.raises(ConfigError, match="contradict"):
            _ = Constraint(**parts).dfa
        return
    dfa = Constraint(**parts).dfa
    assert [text for text in WORDS if dfa.matches(text)] == [text for text in WORDS if good(text)]


def test_words_of_scripts_without_blanks_have_no_borders():
    dfa = Constraint(must=("爱", "love")).dfa
    assert dfa.matches("我爱love你")
    assert not dfa.matches("我爱loved你")
    assert Constraint(must_not=("不",)).dfa.matches("好")
    assert not Constraint(must_not=("不",)).dfa.matches("好不好")


def test_characters_are_counted_not_bytes():
    dfa = Constraint(characters=(2, 2)).dfa
    assert dfa.matches("一😀")
    assert not dfa.matches("é")
    assert dfa.run(b"\xc3\xa9") > 0
    assert dfa.run(b"\xff") == -1


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"pattern": "[a-z]+", "must": ("7",)}, ["pattern '[a-z]+'", "must '7'"]),
        ({"must": ("cat",), "must_not": ("cat",)}, ["must 'cat'", "must_not 'cat'"]),
        ({"choices": ("a", "b"), "characters": (2, 3)}, ["choices", "characters 2 to 3"]),
        ({"pattern": "a{5}", "must_not": ("x",), "characters": (1, 4)}, ["pattern 'a{5}'", "characters 1 to 4"]),
        ({"lines": "a|", "line_count": 2, "characters": 4}, ["lines 'a|'", "line_count 2", "characters 4"]),
        ({"pattern": "[^\\w\\W]"}, ["pattern", "no text"]),
    ],
)
def test_contradictions_name_the_parts(parts, named):
    with pytest.raises(ConfigError) as error:
        _ = Constraint(**parts).dfa
    assert all(name in str(error.value) for name in named)
    assert ("must_not 'x'" in str(error.value)) is False


@pytest.mark.parametrize(
    "parts",
    [{"pattern": 3}, {"must": ("",)}, {"must": 5}, {"must_not": (1,)}, {"characters": (3, 2)}, {"characters": -1},
     {"characters": 1.5}, {"tokens": "3"}, {"tokens": (1, 2, 3)}, {"line_count": (True, 2)}, {"lines": b"a"},
     {"choices": ("x" * (1 << 20), "y")}],
)  # fmt: skip
def test_parts_that_make_no_sense(parts):
    with pytest.raises(ConfigError, match=rf"constraint: {next(iter(parts))}"):
        Constraint(**parts)


def test_no_lines_at_all_are_none():
    with pytest.raises(ConfigError, match="line_count"):
        _ = Constraint(line_count=0).dfa


def test_finding_words_in_a_stream():
    words = ("ab", "bca", "c", "aab", "é")
    dfa = finder(words)
    for text in ["".join(letters) for n in range(6) for letters in itertools.product("abcé", repeat=n)]:
        state, ends = 0, []
        for place, byte in enumerate(text.encode()):
            state = int(dfa.table[state, dfa.classes[byte]])
            if dfa.accept[state]:
                ends.append(place + 1)
        data = text.encode()
        want = [n for n in range(1, len(data) + 1) if any(data[:n].endswith(word.encode()) for word in words)]
        assert ends == want
