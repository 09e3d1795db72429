"""Scores of tags against the rules of conlleval, written independently in tests/oracles."""

import numpy as np
import pytest

from gatework.core.tag_scheme import Converter, Span
from gatework.tasks.tag.calibration import expected_calibration_error, fit
from gatework.tasks.tag.errors import mistakes
from gatework.tasks.tag.labels import Layer, TagTable, first_of, label_order
from gatework.tasks.tag.metrics import intervals, measure, of_known
from oracles import conlleval

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]


def _measured(sentences, scheme="bio", segment=False, judge=measure, **more):
    """Metrics of sentences [(true, guessed), ...], by way of arrays."""
    convert = Converter(scheme)
    gold = [convert([true for true, _ in one]) for one in sentences]
    tags = [convert([guess for _, guess in one]) for one in sentences]
    labels = label_order({tag for row in (*gold, *tags) for tag in row if tag}, spans=True)
    number = {tag: index for index, tag in enumerate(labels)} | {None: -1}
    flat = [np.array([number[tag] for row in rows for tag in row]) for rows in (tags, gold)]
    first_N = first_of(np.array([len(one) for one in sentences]))
    layer, table = Layer("ner", scheme, labels), TagTable(labels)
    if judge is measure:
        return measure([layer], [table], flat[:1], flat[1:], first_N, segment=segment)
    more |= {"segment": segment} if judge is intervals else {}
    return judge(layer, table, *flat, first_N, **more)


def _random(rng, count, *, odd):
    """Random true and guessed tags; odd ones hold every transition, others are sound BIO on both sides."""
    found = []
    for _ in range(count):
        columns = []
        for _ in range(2):
            tags = [str(tag) for tag in rng.choice(BIO, int(rng.integers(1, 12)))]
            columns.append(tags)
        length = min(map(len, columns))
        pairs = list(zip(columns[0][:length], columns[1][:length], strict=True))
        pairs = [(true, true if rng.random() < 0.6 else guess) for true, guess in pairs]
        found.append(pairs)
    if odd:
        return found
    return [[tuple(column) for column in zip(*map(_sound, zip(*one, strict=True)), strict=True)] for one in found]


def _sound(tags):
    from gatework.core.tag_scheme import from_inside

    return from_inside(Converter("bio")(tags), "bio")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("odd", [True, False])
def test_as_conlleval_counts(seed, odd):
    sentences = _random(np.random.default_rng(seed), 60, odd=odd)
    want, got = conlleval.evaluate(sentences), _measured(sentences)
    for name in ("precision", "recall", "f1", "right", "found", "gold"):
        assert got[name] == pytest.approx(want[name]), name
    assert got["types"].keys() == want["types"].keys()
    for kind, scores in want["types"].items():
        assert got["types"][kind] == pytest.approx(scores)
    if not odd:  # odd tags are counted as the sound tags of the same chunks
        assert got["accuracy"] == pytest.approx(want["accuracy"])


def test_worked_example():
    """Two of three true chunks found, one of them of the wrong type; one chunk too many."""
    sentences = [
        [("B-PER", "B-PER"), ("I-PER", "I-PER"), ("O", "O"), ("B-LOC", "B-ORG")],
        [("O", "B-PER"), ("B-ORG", "O")],
    ]
    got = _measured(sentences)
    assert (got["right"], got["found"], got["gold"]) == (1, 3, 3)
    assert got["types"]["ORG"]["f1"] == 0.0
    assert got["types"]["PER"] == {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "right": 1, "found": 2, "gold": 1}
    assert got["accuracy"] == pytest.approx(3 / 6)


def test_words_are_judged_with_and_without_their_tags():
    sentences = [[("B-n", "B-v"), ("E-n", "E-v"), ("S-v", "S-v")], [("S-n", "B-n"), ("S-n", "E-n")]]
    got = _measured(sentences, scheme="bioes", segment=True)
    assert (got["right"], got["found"], got["gold"]) == (1, 3, 4)
    assert got["seg_precision"] == pytest.approx(2 / 3)
    assert got["seg_recall"] == pytest.approx(2 / 4)


def test_unknown_tags_are_not_judged():
    sentences = [[("B-PER", "B-PER"), ("O", "O"), (None, "B-LOC"), (None, "I-LOC"), ("O", "B-ORG")]]
    got = _measured(sentences)
    assert (got["right"], got["found"], got["gold"]) == (1, 2, 1), "the place found among unknown tags does not count"
    assert got["accuracy"] == pytest.approx(2 / 3)


def test_iob1_accuracy_is_of_the_tags_as_written():
    """After a span of the same type, B-; so a missed neighbour makes two wrong tags of one."""
    assert _measured([[("I-A", "O"), ("B-A", "I-A")]], scheme="iob1")["accuracy"] == 0.0
    assert _measured([[("I-A", "O"), ("I-A", "I-A")]], scheme="iob1")["accuracy"] == 0.5


def test_scores_of_some_tokens_alone():
    sentences = [[("B-PER", "B-PER"), ("O", "B-LOC"), ("B-LOC", "O"), ("B-LOC", "B-LOC")]]
    got = _measured(sentences, judge=of_known, chosen_N=np.array([True, True, False, False]))
    assert (got["tokens"], got["accuracy"]) == (2, 0.5)
    assert (got["right"], got["found"], got["gold"]) == (1, 2, 1)


def test_intervals_hold_the_score_and_narrow_with_more_data():
    few = _random(np.random.default_rng(3), 40, odd=False)
    wide, narrow = (_measured(one, judge=intervals, segment=True, resamples=400, seed=0) for one in (few, few * 25))
    got = _measured(few, segment=True)
    for name in ("f1", "accuracy", "seg_f1"):
        assert wide[name][0] < got[name] < wide[name][1]
        assert narrow[name][1] - narrow[name][0] < 0.4 * (wide[name][1] - wide[name][0])


def test_every_kind_of_mistake():
    gold = [Span(0, 2, "A"), Span(3, 4, "A"), Span(5, 7, "A"), Span(8, 9, "A"), Span(10, 11, "A")]
    found = [Span(0, 2, "B"), Span(3, 5, "A"), Span(6, 8, "B"), Span(10, 11, "A"), Span(12, 13, "A")]
    assert [(one.kind, one.true, one.found) for one in mistakes(gold, found)] == [
        ("wrong type", gold[0], found[0]),
        ("wrong boundary", gold[1], found[1]),
        ("wrong boundary and type", gold[2], found[2]),
        ("missed", gold[3], None),
        ("invented", None, found[4]),
    ]


def test_a_span_goes_with_one_other_at_most():
    gold, found = [Span(0, 2, "A"), Span(2, 6, "A")], [Span(0, 6, "A")]
    assert [(one.kind, one.true) for one in mistakes(gold, found)] == [("missed", gold[0]), ("wrong boundary", gold[1])]


def test_calibration_mends_scores_that_are_too_sure():
    rng = np.random.default_rng(0)
    z = rng.normal(1.0, 1.5, 4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-z))
    sure = 1 / (1 + np.exp(-(3 * z + 1)))
    a, b = fit(sure, right)
    assert a == pytest.approx(1 / 3, abs=0.05)
    assert b == pytest.approx(-1 / 3, abs=0.1)
    mended = 1 / (1 + np.exp(-(a * np.log(sure / (1 - sure)) + b)))
    assert expected_calibration_error(mended, right) < 0.03 < expected_calibration_error(sure, right)


def test_too_few_mistakes_leave_scores_alone():
    assert fit([0.9] * 100, [True] * 100) == (1.0, 0.0)
    assert fit([], []) == (1.0, 0.0)
    assert expected_calibration_error([], []) == 0.0
