"""The problems of `benchmarks.long_dependency` pose what they say, and a climb stops where it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.long_dependency import (
    CELLS,
    GRAPH,
    PROBLEMS,
    REBER,
    Plan,
    adding,
    climb,
    embedded_reber,
    gradients_at_start,
    table,
    temporal_order,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("lag", [10, 37])
def test_adding(lag, rng):
    drawn = adding(200, lag, rng)
    marks = drawn.x_BTI[:, :, 1]
    assert (marks.sum(1) == 2).all()
    assert (marks[:, : max(1, lag // 10)].sum(1) == 1).all()
    torch.testing.assert_close(drawn.target_B, (drawn.x_BTI[:, :, 0] * marks).sum(1))


@pytest.mark.parametrize("lag", [10, 45])
def test_temporal_order(lag, rng):
    drawn = temporal_order(200, lag, rng)
    symbols = drawn.x_BTI.argmax(2)
    places = (symbols < 2).nonzero()
    assert len(places) == 400
    first, second = symbols[symbols < 2].view(-1, 2).T
    assert (2 * first + second == drawn.target_B).all()
    assert set(drawn.target_B.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("lag", [10, 60])
def test_embedded_reber(lag, rng):
    drawn = embedded_reber(100, lag, rng)
    for x, length, target, following in zip(*drawn, strict=True):
        word = "".join(REBER[i] for i in x[:length].argmax(1))
        assert word[0] == "B"
        assert word[1] == REBER[target]
        assert lag <= length - 2 < lag + 8
        assert following[: length - 1].tolist() == [REBER.index(c) for c in word[1:]]
        assert (following[length - 1 :] == -100).all()
        state = 0
        for symbol in word[2:]:
            (state,) = {int(way[1]) for way in GRAPH[state].split() if way[0] == symbol}
        assert state == 0


def test_a_climb_stops_at_the_first_lag_it_fails():
    plan = Plan(lags=(4, 6, 8), steps=2, rates=(0.01, 0.001), seeds=(1,), every=1)
    result = climb("rnn", PROBLEMS[0], 1, plan)
    assert list(result.scores) == [4]
    assert result.reached(plan.solved)[0] == 0
    easy = climb("rnn", PROBLEMS[0], 1, Plan(lags=(4, 6), steps=2, rates=(0.01,), seeds=(1,), solved=0.0, every=1))
    assert list(easy.scores) == [4, 6]
    assert easy.steps == {4: 1, 6: 1}
    results = [result._replace(cell=cell, problem=problem.name) for cell in CELLS for problem in PROBLEMS]
    rows = table(results, plan).splitlines()
    assert len(rows) == 2 + len(PROBLEMS) * len(CELLS)
    assert "none" in rows[2]


def test_gradient_of_an_rnn_fades_faster_than_that_of_an_lstm():
    rnn, lstm = (gradients_at_start(cell, [1]) for cell in ("rnn", "lstm"))
    assert rnn[0] == lstm[0] == 0
    assert rnn[100] < lstm[100] - 2
