"""The friendly door: every kind of model answers as the runtime does, and every mistake is told."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from gatework.runtime import load
from services import need_extra, running

need_extra()

from gatework.server import Limits  # noqa: E402

TEXTS = ["a great film", "", "the plot was dull 一只猫 \U0001f600"]


@pytest.mark.parametrize("kind", ["classify", "tag", "translate"])
def test_answers_are_those_of_the_runtime(everything, small, kind):
    model = load(small[kind])
    path = f"/v1/models/{kind}/predict"
    for text in TEXTS:
        assert everything.post(path, {"text": text}).json == {"answer": as_json(model.predict(text))}
    many = everything.post(path, {"texts": TEXTS}).json["answers"]
    for got, want in zip(many, model.predict_batch(TEXTS), strict=True):
        assert got.keys() == as_json(want).keys()
        assert {k: v for k, v in got.items() if isinstance(v, str)} == {
            k: v for k, v in as_json(want).items() if isinstance(v, str)
        }
    assert everything.post(path, {"texts": []}).json == {"answers": []}


def as_json(answer):
    return json.loads(json.dumps(answer.to_dict()))


def test_options_reach_the_model(everything, small):
    some = everything.post("/v1/models/classify/predict", {"text": "great", "options": {"top_k": 1}}).json["answer"]
    assert len(some["scores"]) == 1
    tagged = everything.post("/v1/models/tag/predict", {"text": "a b c", "options": {"allow": {"0": "O", "2-3": None}}})
    assert tagged.status == 200
    best = everything.post("/v1/models/translate/predict", {"text": "red cat", "options": {"count": 2}}).json["answer"]
    assert len(best["alternatives"]) == 1


def test_a_language_model_writes_scores_and_fills(everything, small):
    model = load(small["lm"])
    options = {"max_tokens": 12, "seed": 4}
    got = everything.post("/v1/models/lm/generate", {"prompt": "the cat", "options": options}).json["answer"]
    assert got == as_json(model.generate("the cat", **options))
    several = everything.post("/v1/models/lm/generate", {"prompt": "a", "options": {**options, "count": 3}}).json
    assert [one["text"] for one in several["answers"]] == [one.text for one in model.generate("a", **options, count=3)]
    [scored] = everything.post("/v1/models/lm/score", {"texts": ["the cat sat"]}).json["answers"]
    assert scored["log_p"] == pytest.approx(model.score("the cat sat").log_p)
    [pair] = everything.post("/v1/models/translate/score", {"pairs": [["red cat", "dog"]]}).json["answers"]
    assert pair["log_p"] == pytest.approx(load(small["translate"]).score([("red cat", "dog")])[0].log_p)


def test_a_stream_of_events_is_the_text(everything):
    body = {"prompt": "the", "options": {"max_tokens": 40, "seed": 7}}
    whole = everything.post("/v1/models/lm/generate", body).json["answer"]
    got = everything.post("/v1/models/lm/generate", {**body, "stream": True})
    assert got.headers["content-type"].startswith("text/event-stream")
    events = [dict(line.split(": ", 1) for line in one.split("\n")) for one in got.body.decode().split("\n\n") if one]
    assert events[-1]["event"] == "done"
    assert json.loads(events[-1]["data"]) == whole
    assert "".join(json.loads(one["data"])["text"] for one in events[:-1]) == whole["text"]
    assert len(events) > 2


MISTAKES = [
    ("classify/predict", b"{", 400, "no JSON"),
    ("classify/predict", b'{"text": NaN}', 400, "no JSON"),
    ("classify/predict", b'{"text": "\xff"}', 400, "no JSON"),
    ("classify/predict", b'{"text": "\\ud800"}', 400, "no JSON"),
    ("classify/predict", b"[" * 100_000, 400, "no JSON"),
    ("classify/predict", b'{"text":' + b'{"a":' * 5000, 400, "no JSON"),
    ("classify/predict", b"[]", 400, "must be a JSON object"),
    ("classify/predict", b"", 400, "no JSON"),
    ("classify/predict", {}, 422, 'give "text"'),
    ("classify/predict", {"text": "a", "texts": []}, 422, 'give "text"'),
    ("classify/predict", {"text": 1}, 422, "no string"),
    ("classify/predict", {"text": None}, 422, "no string"),
    ("classify/predict", {"text": ["a", 1]}, 422, "no string"),
    ("classify/predict", {"text": ["a"]}, 422, "not lists of tokens"),
    ("classify/predict", {"texts": "a"}, 422, "list of strings"),
    ("classify/predict", {"text": "a", "top_k": 1}, 422, "'top_k' is unknown"),
    ("classify/predict", {"text": "a", "options": []}, 422, "must be an object"),
    ("classify/predict", {"text": "a", "options": {"top_k": "x"}}, 422, "top_k must be a whole number"),
    ("classify/predict", {"text": "a", "options": {"top_k": 0}}, 422, "top_k must be at least 1"),
    ("classify/predict", {"text": "a", "options": {"threshold": "x"}}, 422, "threshold must be a number"),
    ("classify/predict", {"text": "a", "options": {"threshold": 2}}, 422, "threshold must be in"),
    ("classify/predict", {"text": "a", "options": {"beams": 2}}, 422, "no option"),
    ("tag/predict", {"text": "a", "options": {"allow": {"x": "O"}}}, 422, "no place"),
    ("tag/predict", {"text": "a", "options": {"allow": {"99": "O"}}}, 422, "no token"),
    ("tag/predict", {"text": "a", "options": {"top_k": 1000}}, 422, "up to 32"),
    ("translate/predict", {"text": "a", "options": {"beams": 1000}}, 422, "up to 32"),
    ("translate/predict", {"text": "a", "options": {"beams": "2"}}, 422, "whole number"),
    ("translate/predict", {"text": "a", "options": {"constraint": {"x": 1}}}, 422, "constraint"),
    ("lm/predict", {"text": "a"}, 422, "generate"),
    ("lm/generate", {"prompt": 3}, 422, "no string"),
    ("lm/generate", {"prompt": "a", "options": {"max_tokens": 10**9}}, 422, "up to 4,096"),
    ("lm/generate", {"prompt": "a", "options": {"temperature": "hot"}}, 422, "temperature"),
    ("lm/generate", {"prompt": "a", "options": {"temperature": "hot"}, "stream": True}, 422, "temperature"),
    ("lm/generate", {"prompt": ["a"]}, 422, "no string"),
    ("lm/fill", {"text": ["a ___"]}, 422, "no string"),
    ("lm/rewrite", {"text": ["a [[b]]"]}, 422, "no string"),
    ("lm/score", {"texts": [["a"]]}, 422, "string"),
    ("lm/generate", {"prompt": "a", "options": {"prompt": "x"}}, 422, "prompt is no option"),
    ("lm/generate", {"prompt": "a", "options": {"self": 1}}, 422, "self is no option"),
    ("lm/generate", {"prompt": "a", "options": {"state": "x"}}, 422, "state is no option"),
    ("lm/fill", {"text": "a ___", "options": {"backward": "x"}}, 422, "backward is no option"),
    ("lm/fill", {"text": "a ___", "options": {"gap": 3}}, 422, "gap must be a string"),
    ("classify/predict", {"text": "a", "options": {"text": "b"}}, 422, "text is no option"),
    ("lm/generate", {"prompt": "a", "stream": "yes"}, 422, "stream must be true or false"),
    ("classify/explain", {"text": ["a"]}, 422, "no string"),
    ("lm/generate", {"prompt": "a", "options": {"stop": 5}}, 422, "stop must be a string"),
    ("lm/generate", {"prompt": "a", "options": {"stop": True}}, 422, "stop must be a string"),
    ("lm/generate", {"prompt": "a", "options": {"stop": [""]}}, 422, "stop must be strings"),
    ("lm/generate", {"prompt": "a", "options": {"stop": {"a": 1}}}, 422, "stop must be a string"),
    ("classify/generate", {"prompt": "a"}, 422, "writes no text of its own"),
    ("classify/score", {"texts": ["a"]}, 422, "writes no text"),
    ("translate/score", {"texts": ["a"]}, 422, "'pairs'"),
    ("translate/score", {"pairs": [["a"]]}, 422, "pairs"),
    ("lm/fill", {"text": "no gap"}, 422, "gap"),
    ("nobody/predict", {"text": "a"}, 404, "not loaded"),
    ("classify/nothing", {"text": "a"}, 405, "Method Not Allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "words"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes(everything, path, body, status, words):
    got = everything.post(f"/v1/models/{path}", body)
    assert got.status == status, got.body
    assert words.replace("'pairs'", '"pairs"') in got.error
    assert everything.post("/v1/models/classify/predict", {"text": "a great film"}).status == 200


def test_limits_are_held(small):
    limits = Limits(body_bytes=2000, text_chars=100, batch=3)
    with running([small["classify"]], limits) as service:
        path = "/v1/models/classify/predict"
        assert service.post(path, {"text": "x" * 100}).status == 200
        assert "101 characters" in service.post(path, {"text": "x" * 101}).error
        assert service.post(path, {"texts": ["x"] * 3}).status == 200
        assert "at most 3" in service.post(path, {"texts": ["x"] * 4}).error
        large = service.post(path, b" " * 2001)
        assert (large.status, large.headers["connection"]) == (413, "close")


def test_what_is_there(everything):
    names = {one["name"]: one for one in everything.get("/v1/models").json["models"]}
    assert sorted(names) == ["classify", "lm", "tag", "translate"]
    assert names["classify"]["labels"] == ["bad", "good", "mixed"]
    one = everything.get("/v1/models/classify").json
    assert one["info"]["architecture"]["head"] == "per_sequence"
    assert "path" not in one["info"], "where files lie is nobody's business"
    assert everything.get("/v1/models/classify/predict").status == 405
    assert everything.get("/nothing").status == 404
    assert everything.get("/health/live").json == {"live": True}
    assert everything.get("/health/ready").json == {"ready": True}


def test_metrics_count(everything):
    def counted(name):
        lines = everything.get("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    name = 'gatework_requests_total{door="v1",model="classify",status="200"}'
    before = counted(name)
    for _ in range(3):
        everything.post("/v1/models/classify/predict", {"text": "a"})
    assert counted(name) == before + 3
    assert counted("gatework_models ") == 4
    assert counted('gatework_batch_texts_count{model="classify"}') >= 3
    everything.get("/v1/models/" + "x" * 50)
    assert "xxx" not in everything.get("/metrics").body.decode(), "names that are asked for make no labels"


def test_requests_at_once_get_their_own_answers(everything, small):
    model = load(small["translate"])
    texts = ["red cat", "dog runs", "blue", "green dog cat runs", "cat cat", "runs"] * 8
    want = [model.predict(text).text for text in texts]

    def ask(text):
        return everything.post("/v1/models/translate/predict", {"text": text}).json["answer"]["text"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, texts)) == want


def test_the_description_has_every_path(everything):
    page = everything.get("/openapi.json").json
    paths = {route.path.replace(":path}", "}") for route in everything.service.routes if hasattr(route, "methods")}
    own = {path for path in paths if path not in ("/", "/docs") and not path.startswith("/page/")}
    assert set(page["paths"]) == own, "all but the pages and their files"
    for path, calls in page["paths"].items():
        for method in calls:
            if "load" in path:
                continue  # the service is shared
            concrete = path.replace("{name}", "lm" if "generate" in path or "fill" in path else "classify")
            concrete = concrete.replace("{version}", "1").replace("{identity}", "7")
            got = everything.ask(method.upper(), concrete, {} if method == "post" else None)
            assert str(got.status) in calls[method]["responses"], (path, got.status)
