"""How bad single answers are."""

import math

import pytest

from gatework.tasks.seq2seq.risks import risk_of


@pytest.mark.parametrize("name", ["bleu", "chrf", "rouge1", "rouge2", "rougeL", "per", "wer", "perplexity"])
def test_nothing_is_wrong_with_a_right_answer(name):
    risk = risk_of(name)
    assert risk("the black cat sat", ["a dog", "the black cat sat"]) == pytest.approx(0.0, abs=1e-12)
    assert risk("", ["a dog"]) == 1.0
    assert risk("x", ["a dog"]) == 1.0
    assert 0.0 < risk("the black cat slept", ["the black cat sat"]) < 1.0


def test_bleu_by_hand():
    # 3 of 4 words, and smoothed 2 + 1 of 3 + 1 pairs, 1 + 1 of 2 + 1 triples, 0 + 1 of 1 + 1 runs of four
    want = 1.0 - (3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert risk_of("bleu")("the black cat slept", ["the black cat sat"]) == pytest.approx(want)
    short = 1.0 - math.exp(1.0 - 4 / 2)
    assert risk_of("bleu")("the black", ["the black cat sat"]) == pytest.approx(short)
    assert risk_of("bleu")("黑猫", ["黑猫睡"]) == pytest.approx(1.0 - math.exp(1.0 - 3 / 2))


def test_chrf_is_that_of_sacrebleu():
    chrf = pytest.importorskip("sacrebleu.metrics.chrf").CHRF(eps_smoothing=False)
    for answer, target in (("the black cat slept", "the black cat sat"), ("eine Katze", "die Katze schläft gut")):
        want = chrf.sentence_score(answer, [target]).score / 100
        assert risk_of("chrf")(answer, [target]) == pytest.approx(1.0 - want, abs=1e-9)


def test_edits_take_the_nearest_target():
    assert risk_of("per")("A B C", ["A B", "A X C D"]) == pytest.approx(0.5)
    assert risk_of("per")("A B C D E", ["X"]) == 1.0
