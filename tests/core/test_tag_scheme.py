"""Schemes of spans: there and back, what each allows, and telling them apart."""

import random

import pytest

from gatework.core.tag_scheme import (
    SCHEMES,
    Converter,
    Span,
    Transitions,
    Undecided,
    belongs,
    constraints,
    fault,
    from_inside,
    spans,
    tags_of,
)

KINDS = ["PER", "LOC", "a-b"]


def _random_spans(rng, length):
    found, place = [], 0
    while place < length:
        if rng.random() < 0.5:
            place += 1
            continue
        end = min(length, place + rng.randint(1, 4))
        found.append(Span(place, end, rng.choice(KINDS)))
        place = end
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_there_and_back(scheme):
    rng = random.Random(1)
    convert = Converter(scheme)
    for length in [1, 2, 3, 9, 30] * 20:
        want = _random_spans(rng, length)
        inside = tags_of(want, length)
        assert spans(inside) == want
        written = from_inside(inside, scheme)
        assert all(belongs(tag, scheme) for tag in written)
        assert convert(written) == tuple(inside)
        pairs = zip(["", *written], [*written, ""], strict=True)
        assert [fault(*pair, scheme) for pair in pairs if fault(*pair, scheme)] == []


def test_the_same_spans_in_each_scheme():
    inside = tags_of([Span(0, 1, "A"), Span(1, 4, "A"), Span(5, 6, "B")], 6)
    assert inside == ["S-A", "B-A", "I-A", "E-A", "O", "S-B"]
    assert from_inside(inside, "iob1") == ("I-A", "B-A", "I-A", "I-A", "O", "I-B")
    assert from_inside(inside, "bio") == ("B-A", "B-A", "I-A", "I-A", "O", "B-B")
    assert from_inside(inside, "bmes") == ("S-A", "B-A", "M-A", "E-A", "O", "S-B")
    assert from_inside(inside, "bilou") == ("U-A", "B-A", "I-A", "L-A", "O", "U-B")


@pytest.mark.parametrize(
    ("tags", "want"),
    [
        (["O", "I-A", "I-A"], [Span(1, 3, "A")]),
        (["B-A", "I-B", "I-B"], [Span(0, 1, "A"), Span(1, 3, "B")]),
        (["I-A", "B-A"], [Span(0, 1, "A"), Span(1, 2, "A")]),
        (["B-A", "I-A", "O", "I-B"], [Span(0, 2, "A"), Span(3, 4, "B")]),
    ],
)
def test_odd_tags_are_read_as_conlleval_reads_them(tags, want):
    assert spans(Converter("bio")(tags)) == want


@pytest.mark.parametrize(
    ("tags", "want"),
    [
        (["B-A", None, "O"], [None, None, "O"]),
        (["B-A", "I-A", None], ["B-A", None, None]),
        ([None, "I-A", "O"], [None, "E-A", "O"]),
        (["O", "B-A", "O", None], ["O", "S-A", "O", None]),
    ],
)
def test_unknown_tags_take_what_hangs_on_them_along(tags, want):
    assert Converter("bio")(tags) == tuple(want)


def test_unknown_tags_in_bioes_leave_the_others_alone():
    assert Converter("bioes")(["B-A", None, "E-A", None]) == ("B-A", None, "E-A", None)
    assert Converter("iob1")([None, "I-A", "O"]) == (None, None, "O"), "it may begin a span or go on with one"


def _seen(*sentences):
    seen, line = Transitions(), 1
    for tags in sentences:
        seen.add(tags, range(line, line + len(tags)))
        line += len(tags) + 1
    return seen


@pytest.mark.parametrize(
    ("tags", "want"),
    [
        (["O", "B-A", "I-A", "O"], "bio"),
        (["O", "I-A", "I-A", "O"], "iob1"),
        (["I-A", "B-A", "O"], "iob1"),
        (["O", "B-A", "E-A", "S-A"], "bioes"),
        (["B-A", "M-A", "E-A", "O"], "bmes"),
        (["B-A", "I-A", "L-A", "U-B"], "bilou"),
        (["B", "I", "O"], "bio"),
        (["B", "E", "S"], "bioes"),
        (["NN", "VB", "-LRB-", "."], "none"),
        (["S", "NP", "VP"], "none"),
        (["O", "O"], "bio"),
        ([None, "B-A", None], "bio"),
    ],
)
def test_schemes_are_told_apart(tags, want):
    assert _seen(tags).scheme() == want


def test_a_scheme_survives_a_few_odd_tags():
    sentences = [["O", "B-A", "I-A"]] * 40 + [["O", "I-A"]]
    seen = _seen(*sentences)
    assert seen.scheme() == "bio"
    [(line, why, count)] = seen.faults("bio")
    assert (line, count) == (162, 1)
    assert "I-A after O" in why


def test_both_readings_odd_names_both_lines():
    with pytest.raises(Undecided, match=r"line 2 has I-A after O.*line 6 has B-A after O"):
        _seen(["O", "I-A", "O"], ["O", "B-A", "O"]).scheme()


def test_marks_of_two_schemes_name_both_lines():
    with pytest.raises(Undecided, match=r"I- \(line 2\) and M- \(line 5\)"):
        _seen(["B-A", "I-A", "E-A"], ["M-A", "E-A"]).scheme()


def test_one_odd_name_among_spans_is_named():
    with pytest.raises(Undecided, match=r"'BPER' \(line 122\).*'B-A' \(line 1\)"):
        _seen(*[["B-A", "I-A"]] * 40, ["O", "BPER"]).scheme()


@pytest.mark.parametrize(
    ("before", "tag", "scheme", "why"),
    [
        ("O", "I-A", "bio", "I-A after O"),
        ("", "I-A", "bio", "I-A at the beginning"),
        ("B-A", "I-B", "bio", "I-B after B-A"),
        ("B-A", "O", "bioes", "B-A before O"),
        ("I-A", "", "bilou", "I-A before the end"),
        ("S-A", "E-A", "bmes", "E-A after S-A"),
        ("O", "B-A", "iob1", "B-A after O"),
    ],
)
def test_what_a_scheme_does_not_allow(before, tag, scheme, why):
    assert why in fault(before, tag, scheme)
    assert fault(None, tag, scheme) is None, "nobody knows what stands before"


def test_constraints_agree_with_fault():
    labels = ["O", *(f"{mark}-{kind}" for kind in "AB" for mark in "BIES")]
    allowed = constraints(labels, "bioes")
    for row, before in enumerate(labels):
        assert allowed.start_K[row] == (fault("", before, "bioes") is None)
        assert allowed.end_K[row] == (fault(before, "", "bioes") is None)
        for column, tag in enumerate(labels):
            assert allowed.transitions_KK[row, column] == (fault(before, tag, "bioes") is None), (before, tag)
