"""Why a model answered: what tokens did for a label, by definition; pages and pictures of it."""

import json
import math
import re

import pytest

import language_models
import taggers
from bundles import write_small
from gatework.core.errors import ConfigError, DataError
from gatework.explain import explain, explanation_html, explanation_png, occlusion
from gatework.runtime import load

TEXT = "the plot of a <great> film 🎬, 伟大"


@pytest.fixture
def classifier(tmp_path):
    write_small(tmp_path / "c.gw", input={"ngrams": 2})
    return load(tmp_path / "c.gw")


@pytest.fixture
def language_model(tmp_path):
    language_models.write_model(tmp_path / "l.gw")
    return load(tmp_path / "l.gw")


@pytest.fixture
def tagger(tmp_path):
    taggers.write_tagger(tmp_path / "t.gw")
    return load(tmp_path / "t.gw")


def log_odds(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize("label", [None, "bad", "mixed"])
def test_a_weight_is_what_the_log_odds_lose_without_the_token(classifier, label):
    found = occlusion(classifier, TEXT, label=label)
    answer = classifier.predict(TEXT)
    assert found.label == (label or answer.label)
    assert found.score == pytest.approx(answer.scores[found.label], abs=1e-6)
    assert [TEXT[start:end] for start, end in found.offsets] == list(found.tokens)
    for (start, end), weight in zip(found.offsets, found.weights, strict=True):
        without = classifier.predict(TEXT[:start] + TEXT[end:]).scores[found.label]
        assert weight == pytest.approx(log_odds(found.score) - log_odds(without), abs=1e-4)


def test_two_labels_weigh_against_each_other(tmp_path):
    write_small(tmp_path / "c.gw", outputs=2, entries={"labels.json": b'["bad","good"]'},
                config_changes={"decode": {"multi_label": False, "temperature": 1.0, "prior": [0.5, 0.5]}})  # fmt: skip
    model = load(tmp_path / "c.gw")
    bad, good = (occlusion(model, "a dull film", label=label).weights for label in ("bad", "good"))
    assert bad == pytest.approx([-weight for weight in good], abs=1e-4)


def test_a_text_of_one_token_is_compared_with_nothing(classifier):
    found = occlusion(classifier, "great")
    prior = classifier.predict("").scores[found.label]
    assert found.weights == pytest.approx([log_odds(found.score) - log_odds(prior)], abs=1e-4)


def test_a_long_text_is_looked_at_to_the_limit(classifier):
    found = occlusion(classifier, "great film " * 20, limit=5)
    assert (len(found.tokens), found.left_out) == (5, 35)


def test_surprise_adds_up_to_the_score(language_model):
    found = explain(language_model, "the cat sat")
    assert sum(token["nats"] for token in found["tokens"]) == pytest.approx(
        -language_model.score("the cat sat", end=False).log_p, abs=1e-2
    )
    assert "".join(token["text"] for token in found["tokens"]) == "the cat sat"


def test_mistakes(classifier, tagger):
    with pytest.raises(ConfigError, match=r"label 'goood' is unknown\. .*good"):
        explain(classifier, "film", label="goood")
    with pytest.raises(ConfigError, match="a label is explained of classifiers"):
        explain(tagger, "Ann", label="x")
    with pytest.raises(ConfigError, match="occlusion is of classifiers; this model is of the task tag"):
        occlusion(tagger, "Ann")
    with pytest.raises(DataError, match="nothing to read"):
        explain(classifier, " ")
    with pytest.raises(DataError, match="must be a string"):
        explain(classifier, ["a"])
    with pytest.raises(ConfigError, match="at least 1"):
        explain(classifier, "a", limit=0)


@pytest.mark.parametrize("kind", ["classifier", "tagger", "language_model"])
def test_a_page_holds_all_of_it_and_asks_for_nothing(kind, request, tmp_path):
    text = "</script><b>the cat</b> 🎬 一只猫"
    found = explain(request.getfixturevalue(kind), text)
    page = explanation_html(found, tmp_path / "page.html", language="zh").read_text(encoding="utf-8")
    held = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert json.loads(held.group(1)) == json.loads(json.dumps(found))
    assert "<b>the" not in page
    assert not re.search(r"https?://", page.replace("http-equiv", ""))


@pytest.mark.parametrize("kind", ["classifier", "tagger", "language_model"])
@pytest.mark.filterwarnings("ignore:no installed font")
def test_a_picture(kind, request, tmp_path):
    pytest.importorskip("matplotlib")
    found = explain(request.getfixturevalue(kind), "the cat 猫 $x$")
    assert explanation_png(found, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    long = explain(request.getfixturevalue("language_model"), "the cat " * 20)
    with pytest.raises(DataError, match=r"at most 60 tokens, not 160. Write a \.html"):
        explanation_png(long, tmp_path / "b.png")
