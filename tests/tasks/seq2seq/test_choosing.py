"""Recall among candidates: ranks that are known, ties, draws, mistakes."""

from types import SimpleNamespace

import pytest

from gatework.core.errors import ConfigError, DataError
from gatework.tasks import TASKS
from gatework.tasks.seq2seq.choosing import CANDIDATES, DIALOGUES, recall
from gatework.text.pairs import Pair

PAIRS = [Pair(str(number), f"reply {number}", number) for number in range(40)]


class Scorer:
    """Ranks replies by a function of source and reply; longer ones have more tokens and as much less log p."""

    def __init__(self, worth):
        self.worth, self.asked = worth, []

    def score(self, pairs):
        self.asked += pairs
        found = [(len(reply), self.worth(source, reply)) for source, reply in pairs]
        return [SimpleNamespace(log_p=worth * tokens, tokens=tokens) for tokens, worth in found]


def right(source, reply):
    return -1.0 if reply == f"reply {source}" else -2.0


def test_the_given_reply_is_found_or_not():
    model = Scorer(right)
    found = recall(model, PAIRS)["recall"]
    assert found == {"recall@1": 1.0, "recall@2": 1.0, "recall@5": 1.0, "recall@10": 1.0, "candidates": 20, "n": 40}
    for first in range(0, len(model.asked), CANDIDATES):
        own = model.asked[first : first + CANDIDATES]
        assert len(set(own)) == CANDIDATES
        assert len({source for source, _ in own}) == 1
        assert own[0][1] == f"reply {own[0][0]}"
    assert recall(Scorer(lambda *_: -1.0), PAIRS)["recall"]["recall@10"] == 0.0, "ties are no knowledge"


def test_ranks_in_between():
    by_number = recall(Scorer(lambda _, reply: -float(reply.split()[1])), PAIRS, 40)["recall"]
    assert [by_number[f"recall@{k}"] for k in (1, 2, 5, 10)] == [1 / 40, 2 / 40, 5 / 40, 10 / 40]


def test_draws_are_the_same_each_time_and_not_too_many():
    many = [Pair(str(number), f"reply {number % 30}", number) for number in range(DIALOGUES + 100)]
    one, again, other = Scorer(right), Scorer(right), Scorer(right)
    assert recall(one, many, 5)["recall"]["n"] == DIALOGUES
    recall(again, many, 5)
    recall(other, many, 5, seed=1)
    assert one.asked == again.asked != other.asked


def test_few_replies():
    few = [Pair("a", "b", 1), Pair("c", "b", 2), Pair("d", "e", 3)]
    assert recall(Scorer(right), few) == {}
    assert recall(Scorer(right), few, 2)["recall"]["candidates"] == 2
    with pytest.raises(DataError, match="2 different replies are too few for 3 candidates"):
        recall(Scorer(right), few, 3)
    for odd in (1, -1, 2.0):
        with pytest.raises(ConfigError, match="candidates must be"):
            recall(Scorer(right), PAIRS, odd)


def test_the_task_reports_it():
    metrics = {"n": 40, "tokens": 80, **recall(Scorer(right), PAIRS, 6)}
    said = TASKS["reply"].report(metrics)
    assert "1.0000, 1.0000, 1.0000  of the given replies are among the first 1, 2, 5 of 6 candidates" in said
