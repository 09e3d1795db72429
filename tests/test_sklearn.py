"""The scikit-learn estimator: its contract, pipelines, searches, pickling."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from gatework.core.errors import ConfigError, DataError
from gatework.sklearn import SequenceTagger, TextClassifier, TextsError

SMALL = {
    "dev": 0.2,
    "epochs": 6,
    "units": 8,
    "embedding": 8,
    "learning_rate": 0.02,
    "threads": 1,
    "random_state": 1,
    "options": {"train.max_batch": 8},
}


def _data(count=90):
    rng = np.random.default_rng(4)
    words = {"animal": ["cat", "dog", "heron"], "colour": ["red", "blue", "teal"], "number": ["one", "six", "ten"]}
    labels = [list(words)[index % 3] for index in range(count)]
    texts = [
        f"see {rng.choice(words[label])} here {rng.choice(['now', 'then'])} {rng.integers(99)}" for label in labels
    ]
    return texts, labels


@pytest.fixture(scope="module")
def data():
    return _data()


@pytest.fixture(scope="module")
def fitted(data):
    return TextClassifier(**SMALL).fit(*data)


def test_fit_predict_score(fitted, data):
    texts, labels = data
    answers = fitted.predict(texts)
    assert answers.shape == (len(texts),)
    assert set(answers) == set(labels)
    assert fitted.score(texts, labels) > 0.7
    assert fitted.classes_.tolist() == ["animal", "colour", "number"]
    assert "accuracy" in fitted.metrics_


def test_probabilities_go_with_classes(fitted, data):
    texts, _ = data
    p = fitted.predict_proba(texts)
    assert p.shape == (len(texts), 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert (fitted.classes_[p.argmax(axis=1)] == fitted.predict(texts)).all()


def test_same_seed_same_model(fitted, data):
    again = clone(fitted).fit(*data)
    np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))


def test_clone_and_parameters():
    one = TextClassifier(**{**SMALL, "options": {"model.pooling": ["max"]}})
    other = clone(one)
    assert other is not one
    assert other.get_params() == one.get_params()
    assert other.set_params(units=5).units == 5
    assert "units=8" in repr(one)
    with pytest.raises(ValueError, match="Invalid parameter 'unitz'"):
        one.set_params(unitz=3)


def test_options_reach_the_recipe(tmp_path):
    estimator = TextClassifier(units=np.int64(9), dev=0.3, random_state=7, options={"model.pooling": ["last"]})
    recipe = estimator._recipe(tmp_path / "train.jsonl")
    assert recipe.model.units == 9
    assert recipe.model.pooling == ("last",)
    assert recipe.data.dev == 0.3
    assert recipe.train.seed == 7
    assert TextClassifier()._recipe(tmp_path / "t").train == type(recipe.train)()


def test_pickled_by_the_bytes_of_the_bundle(fitted, data):
    texts, _ = data
    fitted.predict(texts[:1])  # opens the model, which must not be pickled
    blob = pickle.dumps(fitted)
    assert len(blob) < len(fitted.bundle_) + 5_000
    assert b"torch" not in blob
    again = pickle.loads(blob)
    np.testing.assert_array_equal(again.predict_proba(texts), fitted.predict_proba(texts))
    assert again.get_params() == fitted.get_params()


def test_the_bundle_is_a_file_anyone_can_open(fitted, data, tmp_path):
    import gatework

    path = tmp_path / "m.gw"
    path.write_bytes(fitted.bundle_)
    model = gatework.load(path)
    assert [model.predict(text).label for text in data[0][:6]] == fitted.predict(data[0][:6]).tolist()


def test_pipeline(data):
    texts, labels = data
    upper = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = Pipeline([("upper", upper), ("classify", TextClassifier(**SMALL))]).fit(texts, labels)
    assert pipeline.score(texts, labels) > 0.7


def test_cross_validation(data):
    scores = cross_val_score(TextClassifier(**SMALL), *data, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.6


def test_grid_search(data):
    search = GridSearchCV(TextClassifier(**SMALL), {"units": [4, 8]}, cv=2).fit(*data)
    assert search.best_params_["units"] in (4, 8)
    assert search.predict(data[0][:3]).shape == (3,)
    assert search.best_estimator_.score(*data) > 0.7


@pytest.mark.parametrize("kind", [int, bool, np.str_])
def test_labels_keep_their_type(kind):
    texts, _ = _data(40)
    names = {int: [3, 11], bool: [False, True], np.str_: ["yes ", "no\n"]}[kind]
    labels = np.array([names["cat" in text or "red" in text or "one" in text] for text in texts])
    estimator = TextClassifier(**{**SMALL, "epochs": 1}).fit(np.array(texts), labels)
    assert estimator.classes_.tolist() == sorted(names)
    assert estimator.predict(texts[:2]).dtype == labels.dtype


def test_texts_with_line_breaks_and_empty_ones_count(data):
    texts, labels = data
    odd = ["", "\n", "two\nlines\twith tab", *texts]
    estimator = TextClassifier(**{**SMALL, "epochs": 1}).fit(odd, ["animal", "colour", "number", *labels])
    assert len(estimator.predict(odd)) == len(odd)


def test_nothing_to_predict(fitted):
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["x"], "2 texts but 1 labels"),
        ("one string", ["x"], "X is one string"),
        (["a", 3], ["x", "y"], r"X\[1\] is of type int"),
        (["a", None], ["x", "y"], r"X\[1\] is of type NoneType"),
        (np.zeros((2, 2)), ["x", "y"], "X has 2 dimensions"),
        (["a", "b"], ["x", "x"], "every label is 'x'"),
        (["a", "b"], None, "requires y to be passed"),
        (["a", "b"], [0.5, 1.25], "Unknown label type"),
        (["a", "b"], np.array([1, "x"], dtype=object), "y mixes int and str"),
        (["a", "b"], [["x", "y"], ["x", "z"]], "y has 2 dimensions"),
        ([], [], "every label|no label|no texts"),
    ],
)
def test_bad_input(texts, labels, message):
    with pytest.raises(TextsError, match=message) as caught:
        TextClassifier().fit(texts, labels)
    assert isinstance(caught.value, ValueError)


def test_bad_options(data):
    with pytest.raises(ConfigError, match=r"unitss"):
        TextClassifier(options={"model.unitss": 3}).fit(*data)
    with pytest.raises(ConfigError, match="needs a section"):
        TextClassifier(options={"units": 3}).fit(*data)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        TextClassifier().predict(["a"])


# ── the tagger ──────────────────────────────────────────────────────────────────────────────────────────────────────

SMALL_TAGGER = SMALL | {
    "epochs": 15,
    "units": 16,
    "embedding": 16,
    "dropout": 0.1,
    "options": {"train.batch_tokens": 128},
}


def _tagged(count=80):
    rng = np.random.default_rng(5)
    X, y = [], []
    for _ in range(count):
        sign, kind = [("mr", "PER"), ("in", "LOC")][int(rng.integers(2))]
        name = [str(one) for one in rng.choice(["Ada", "Berlin", "Casey", "Dover"], 1 + int(rng.integers(2)))]
        X.append(["we", "saw", sign, *name, "."])
        y.append(["O", "O", "O", f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1), "O"])
    return X, y


@pytest.fixture(scope="module")
def tagger():
    return SequenceTagger(**SMALL_TAGGER).fit(*_tagged())


def test_tagger_learns_and_keeps_shapes(tagger):
    X, y = _tagged(20)
    got = tagger.predict(X)
    assert [len(row) for row in got] == [len(row) for row in y]
    assert {tag for row in got for tag in row} <= set(tagger.classes_) == {"B-LOC", "B-PER", "I-LOC", "I-PER", "O"}
    assert tagger.score(X, y) > 0.8
    assert tagger.predict_spans(X[:1])[0].spans[0].text.split()[0] == X[0][3]
    assert "f1" in tagger.metrics_
    assert tagger.predict([]) == []
    assert tagger.predict([[]]) == [[]], "no tokens, no tags"


def test_tagger_is_pickled_cloned_and_searched(tagger):
    X, y = _tagged(40)
    assert pickle.loads(pickle.dumps(tagger)).predict(X[:5]) == tagger.predict(X[:5])
    fresh = clone(tagger)
    assert fresh.get_params() == tagger.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    search = GridSearchCV(SequenceTagger(**SMALL_TAGGER | {"epochs": 1}), {"units": [4, 8]}, cv=2).fit(X, y)
    assert search.best_params_["units"] in (4, 8)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("text", [["O"]], "X is one string"),
        (["text"], [["O"]], r"X\[0\] is of type str"),
        ([["a", 1]], [["O", "O"]], r"X\[0\]\[1\] is of type int"),
        ([["a"]], None, "y is None"),
        ([["a"]], [["O"], ["O"]], "1 sentences but 2"),
        ([["a", "b"]], [["O"]], r"X\[0\] has 2 tokens, y\[0\] 1 tags"),
        ([[]], [[]], "no tokens"),
        ([["a"], ["b"]], [["O"], ["O"]], "every token has the one tag 'O'"),
    ],
)
def test_tagger_refuses(X, y, message):
    with pytest.raises(DataError, match=message):
        SequenceTagger(**SMALL_TAGGER).fit(X, y)
