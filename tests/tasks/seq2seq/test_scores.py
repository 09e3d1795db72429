"""Metrics of written targets, by hand and against other packages' numbers."""

import pytest

from gatework.core.errors import MissingExtraError
from gatework.tasks.seq2seq import scores as module
from gatework.tasks.seq2seq.report import report
from gatework.tasks.seq2seq.scores import Written, edits, lead, nearest_reference, rouge, scores, words


def written(*pairs):
    return [
        Written(answer, (references,) if isinstance(references, str) else references) for answer, references in pairs
    ]


def test_edits():
    assert edits("kitten", "sitting") == 3
    assert edits("", "abc") == 3
    assert edits("abc", "abc") == 0
    assert edits("ab", "ba") == 2


def test_error_rates_take_the_nearest_reference():
    """AH0 B against two pronunciations: one edit from the second, which has two tokens."""
    given = written(("AH0 B", ("T AH1 D", "AH0 C")), ("K", ("K", "K AH")))
    assert nearest_reference(given[0]) == (1, 2)
    found = scores(given, ["per", "wer", "exact_match"])
    assert found == {"per": pytest.approx(1 / 3), "wer": 0.5, "exact_match": 0.5}


def test_words_and_chinese_characters():
    assert words("The cat's GPL-2 书本, ok_1") == ["the", "cat", "s", "gpl", "2", "书", "本", "ok", "1"]


def test_rouge_by_hand():
    """Four words of six and five are shared, three pairs... the longest common subsequence is the cat the mat."""
    answer, reference = "the cat sat on the mat", "the cat is the mat"
    assert rouge(answer, reference, "rouge1") == pytest.approx(2 * 4 / 11)
    assert rouge(answer, reference, "rouge2") == pytest.approx(2 * 2 / 9)
    assert rouge(answer, reference, "rougeL") == pytest.approx(2 * 4 / 11)
    assert rouge("mat the cat", "the cat mat", "rougeL") == pytest.approx(2 / 3)
    assert rouge("", "the", "rouge1") == rouge("a", "the", "rouge2") == 0.0


def test_the_beginning_of_the_source_is_what_a_summary_must_beat():
    """References have two words on average, so the first two of each source are compared."""
    given = written(("x", "a b c"), ("y", "d"))
    found = lead(["A, b and more", "e d"], given)
    assert found["words"] == 2
    assert found["rouge1"] == pytest.approx((2 * 2 / 5 + 2 * 1 / 3) / 2)
    text = report({"n": 2, "tokens": 6, "perplexity": 2.0, "lead": found})
    assert f"{found['rouge1']:.4f}, " in text
    assert "first 2 words of each source" in text


def test_distinct():
    found = scores(written(("a b a", "x"), ("a b", "x")), ["distinct1", "distinct2"])
    assert found == {"distinct1": pytest.approx(2 / 5), "distinct2": pytest.approx(2 / 3)}


def test_intervals_hold_the_score():
    given = written(*[("a" if place % 3 else "b", "a") for place in range(60)])
    found = scores(given, ["exact_match", "distinct1"], resamples=200)
    low, high = found["interval"]["exact_match"]
    assert low < found["exact_match"] < high
    assert high - low < 0.4
    assert "distinct1" not in found["interval"]


def test_bleu_is_that_of_sacrebleu():
    pytest.importorskip("sacrebleu")
    from sacrebleu import corpus_bleu, corpus_chrf

    answers = ["The cat sat on the mat .", "A dog is Here", "x y z w"]
    references = ["the cat sat on the mat.", "A dog is here now", "x y z w v"]
    found = scores(written(*zip(answers, references, strict=True)), ["bleu", "bleu_lowercase", "chrf"])
    assert found["bleu"] == corpus_bleu(answers, [references]).score
    assert found["bleu_lowercase"] == corpus_bleu(answers, [references], lowercase=True).score > found["bleu"]
    assert found["chrf"] == corpus_chrf(answers, [references]).score
    assert "tok:13a" in found["signature"]["bleu"]
    assert "case:lc" in found["signature"]["bleu_lowercase"]


def test_bleu_of_chinese_is_by_character():
    pytest.importorskip("sacrebleu")
    found = scores(written(("我们去学校上课", "我们去学校读书")), ["bleu"])
    assert "tok:zh" in found["signature"]["bleu"]
    assert found["bleu"] > 40.0


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert scores(written(("a", "a")), ["bleu", "exact_match"]) == {"exact_match": 1.0}
    with pytest.raises(MissingExtraError, match="extra 'eval'"):
        module.need("bleu")
    module.need("rouge1")
