"""The n-gram baseline of language models, against its equations written out."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.rivals.kneser_ney import END, KneserNey, grams

VOCABULARY = 7
RNG = np.random.default_rng(4)
DOCUMENTS = [[*RNG.choice([3, 3, 3, 4, 4, 5, 6], size=int(RNG.integers(0, 12))).tolist(), END] for _ in range(30)]


def stream(documents):
    lengths = np.array([len(one) for one in documents])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.array([token for one in documents for token in one], dtype=np.int32)
    return SimpleNamespace(tokens=tokens, starts=starts, lengths_N=lengths)


def by_definition(documents, order, history, token):
    """p of a token after a history, by the book: counts in dictionaries, orders by recursion."""
    counts = Counter()
    for one in documents:
        padded = [END] * (order - 1) + one
        counts.update(tuple(padded[at : at + order]) for at in range(len(one)))
    tables = {order: counts}
    for lower in range(order - 1, 0, -1):
        tables[lower] = Counter(gram[1:] for gram in tables[lower + 1])

    def discount(table, count):
        n = [0, *(sum(c == times for c in table.values()) for times in (1, 2, 3, 4))]
        if not (n[1] and n[2] and n[3]):
            return 0.5 if count else 0.0
        y = n[1] / (n[1] + 2 * n[2])
        all_three = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        limited = [min(max(one, 0.0), place) for place, one in enumerate(all_three, start=1)]
        return [0.0, *limited][min(count, 3)]

    def p(history, token):
        n = len(history) + 1
        lower = 1.0 / (VOCABULARY - 1) if n == 1 else p(history[1:], token)
        table = tables[n]
        own = {gram: count for gram, count in table.items() if gram[:-1] == history}
        if not own:
            return lower
        left = sum(min(discount(table, count), count) for count in own.values())
        count = own.get((*history, token), 0)
        return (max(count - discount(table, count), 0.0) + left * lower) / sum(own.values())

    return p(tuple(history), token)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_definition(order):
    model = KneserNey(grams(stream(DOCUMENTS), order, carry=False), vocabulary=VOCABULARY)
    histories = RNG.integers(1, VOCABULARY, (3, order - 1))
    for history in histories.tolist():
        wanted = np.array([[*history, token] for token in range(1, VOCABULARY)])
        found = model.p(wanted)
        assert found.sum() == pytest.approx(1.0)
        for token, p in zip(range(1, VOCABULARY), found, strict=True):
            assert p == pytest.approx(by_definition(DOCUMENTS, order, history, token))


def test_documents_begin_with_ends_and_running_text_goes_on():
    made = stream([[3, END], [4, 5, END]])
    assert grams(made, 3, carry=False).tolist() == [
        [END, END, 3], [END, 3, END], [END, END, 4], [END, 4, 5], [4, 5, END],
    ]  # fmt: skip
    assert grams(made, 3, carry=True).tolist()[2:4] == [[3, END, 4], [END, 4, 5]]
