"""`gatework find-lr`: the curve and a suggestion that lies on it."""

import json

from cli.reviews import TINY_SETTINGS


def test_curve_and_suggestion(gatework, reviews):
    done = gatework("find-lr", reviews / "train.tsv", *TINY_SETTINGS)
    assert done.status == 0, done.err
    *curve, last = done.lines
    rates = [float(line.split("\t")[0]) for line in curve]
    assert len(rates) > 10
    assert rates == sorted(rates)
    assert last.startswith("suggested: --set train.learning_rate=")
    assert rates[0] <= float(last.split("=")[1]) <= rates[-1]


def test_json(gatework, reviews):
    found = json.loads(gatework("find-lr", reviews / "train.tsv", "--json", *TINY_SETTINGS).out)
    assert all(len(pair) == 2 for pair in found["curve"])
    assert found["suggestion"] in [rate for rate, loss in found["curve"]]
