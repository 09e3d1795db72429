"""The Open Inference Protocol over HTTP, byte by byte; `test_triton` has Triton's own clients."""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest

from gatework.runtime import load
from services import need_extra

need_extra()

TEXTS = ["a great film", "", "the plot was dull 一只猫"]
KINDS = ("classify", "tag", "translate", "lm")


def body(texts=("a great film",), **changes):
    """A request in JSON."""
    one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return {"inputs": [{**one, **changes}]}


def infer(service, model, request, **options):
    return service.post(f"/v2/models/{model}/infer", request, **options)


def outputs(reply):
    return {one["name"]: one["data"] for one in reply.json["outputs"]}


def test_answers_are_those_of_the_runtime(everything, small):
    models = {name: load(path) for name, path in small.items()}
    for text in TEXTS:
        found = outputs(infer(everything, "classify", body([text])))
        want = models["classify"].predict(text)
        assert found["label"] == [want.label]
        assert found["score"] == pytest.approx([want.score])
        assert found["scores"] == pytest.approx([want.scores[label] for label in models["classify"].labels])
        assert json.loads(found["answer"][0]) == json.loads(json.dumps(want.to_dict()))
        tagged = outputs(infer(everything, "tag", body([text])))
        assert json.loads(tagged["tags"][0]) == list(models["tag"].predict(text).tags)
        written = outputs(infer(everything, "translate", body([text])))
        assert written["text"] == [models["translate"].predict(text).text]
    options = {"max_tokens": 5, "seed": 2}
    found = outputs(infer(everything, "lm", {**body(["the cat"]), "parameters": options}))
    assert found["text"] == [models["lm"].generate("the cat", **options).text]
    assert found["input_log_p"] == pytest.approx([models["lm"].score("the cat", end=False).log_p], rel=1e-5)
    assert outputs(infer(everything, "lm", body(["the cat"])))["text"] == [""], "nothing is written unless asked"


def test_token_ids(everything, small, tmp_path):
    model = load(small["lm"])
    ids = model.codec.encode("the cat")
    tensor = {"name": "tokens", "datatype": "INT64", "shape": [1, len(ids) + 2], "data": [*ids.tolist(), 0, 0]}
    found = outputs(infer(everything, "lm", {"inputs": [tensor]}))
    assert found["input_log_p"] == pytest.approx([model.score("the cat", end=False).log_p], rel=1e-5)
    nested = {**tensor, "data": [[*ids.tolist(), 0, 0]]}
    assert outputs(infer(everything, "lm", {"inputs": [nested]}))["input_log_p"] == found["input_log_p"]
    for bad, words in (([10**6], "the model knows"), ([0, 5], "padding"), ([-1], "the model knows")):
        reply = infer(everything, "lm", {"inputs": [{**tensor, "shape": [1, len(bad)], "data": bad}]})
        assert (reply.status, words in reply.error) == (422, True)
    names = {name: [one["name"] for one in everything.get(f"/v2/models/{name}").json["inputs"]] for name in KINDS}
    assert names == {"classify": ["text"], "tag": ["text"], "translate": ["text", "tokens"], "lm": ["text", "tokens"]}
    translator = load(small["translate"])
    ids = translator.codec.source.encode("red cat runs").tolist()
    tensor = {"name": "tokens", "datatype": "INT64", "shape": [2, 4], "data": [*ids, 0, *ids[:2], 0, 0]}
    found = outputs(infer(everything, "translate", {"inputs": [tensor]}))
    assert found["text"] == [translator.predict(text).text for text in ("red cat runs", "red cat")]
    ending = {**tensor, "shape": [1, 4], "data": [*ids, 2]}
    assert "the end" in infer(everything, "translate", {"inputs": [ending]}).error


def test_what_models_tell(everything):
    assert everything.get("/v2").json["name"] == "gatework"
    for name in KINDS:
        told = everything.get(f"/v2/models/{name}").json
        assert told == everything.get(f"/v2/models/{name}/versions/1").json
        assert told["versions"] == ["1"]
        config = everything.get(f"/v2/models/{name}/config").json
        assert [one["name"] for one in config["output"]] == [one["name"] for one in told["outputs"]]
        found = infer(everything, name, body()).json["outputs"]
        for one, port in zip(found, told["outputs"], strict=True):
            assert (one["name"], one["datatype"]) == (port["name"], port["datatype"])
            assert len(one["shape"]) == len(port["shape"])
            assert all(size in (-1, got) for size, got in zip(port["shape"], one["shape"], strict=True))
    assert everything.get("/v2/models/classify/versions/2").status == 404
    assert everything.get("/v2/models/classify/versions/1/ready").json == {"name": "classify", "ready": True}
    before = everything.get("/v2/models/classify/stats").json["model_stats"][0]["inference_stats"]
    infer(everything, "classify", body())
    infer(everything, "classify", {})
    after = everything.get("/v2/models/classify/stats").json["model_stats"][0]["inference_stats"]
    assert after["success"]["count"] == before["success"]["count"] + 1


def binary(texts, *, outputs=(), extra=b"", **parameters):
    """A request whose tensor stands behind the JSON; the length of the JSON, and all of it."""
    raw = b"".join(struct.pack("<I", len(one.encode())) + one.encode() for one in texts)
    one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "parameters": {"binary_data_size": len(raw)}}
    request = {"id": "x7", "inputs": [one], "parameters": parameters, "outputs": list(outputs)}
    head = json.dumps(request).encode()
    return len(head), head + raw + extra


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_binary_tensors(everything, encoding):
    want = outputs(infer(everything, "classify", body(TEXTS)))
    length, data = binary(TEXTS, binary_data_output=True)
    pack = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    unpack = {"": bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}[encoding]
    headers = {"Inference-Header-Content-Length": str(length)}
    headers |= {"Content-Encoding": encoding, "Accept-Encoding": encoding} if encoding else {}
    reply = infer(everything, "classify", pack(data), headers=headers)
    assert reply.status == 200
    plain, end = unpack(reply.body), int(reply.headers["inference-header-content-length"])
    told = json.loads(plain[:end])
    assert told["id"] == "x7"
    sizes = {one["name"]: one["parameters"]["binary_data_size"] for one in told["outputs"]}
    assert sum(sizes.values()) == len(plain) - end
    at = end + sizes["label"]
    np.testing.assert_allclose(np.frombuffer(plain[at : at + sizes["score"]], "<f4"), want["score"])
    assert all("data" not in one for one in told["outputs"])


def test_each_output_may_be_bytes_or_not(everything):
    asked = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "label"}]
    length, data = binary(["a"], outputs=asked)
    reply = infer(everything, "classify", data, headers={"Inference-Header-Content-Length": str(length)})
    end = int(reply.headers["inference-header-content-length"])
    told = json.loads(reply.body[:end])["outputs"]
    assert [one["name"] for one in told] == ["score", "label"]
    assert len(reply.body) - end == 4
    assert "data" in told[1]


def lengths(length, data):
    return {"headers": {"Inference-Header-Content-Length": length}, "request": data}


def test_malformed_requests(everything):
    length, data = binary(["a"])
    cases = [
        ({"request": {}}, "inputs must be a list"),
        ({"request": {"inputs": []}}, "takes one input"),
        ({"request": {"inputs": ["text"]}}, "object with a name"),
        ({"request": {**body(), "parameters": []}}, "parameters must be"),
        ({"request": {**body(), "outputs": 3}}, "outputs must be"),
        ({"request": {**body(), "outputs": [{"name": "x"}]}}, "'x' is unknown"),
        ({"request": {**body(), "outputs": [{"name": "label"}] * 2}}, "asked for twice"),
        ({"request": {"inputs": body()["inputs"] * 2}}, "given twice"),
        ({"request": {**body(), "id": 3}}, "id must be"),
        ({"request": body(name="x")}, "'x' is unknown"),
        ({"request": body(datatype="FP32", data=[1.0])}, "must be BYTES"),
        ({"request": body(datatype="BF16")}, "not read"),
        ({"request": body(datatype=["BYTES"])}, "not read"),
        ({"request": body(shape=[2])}, "takes 2 values, got 1"),
        ({"request": body(shape=[-1])}, "a size that is none"),
        ({"request": body(shape=["1"])}, "a size that is none"),
        ({"request": body(shape=[1 << 40, 0])}, "a size that is none"),
        ({"request": body(shape=[1 << 20, 1 << 20])}, "too large"),
        ({"request": body(shape=[1] * 9)}, "shape must be"),
        ({"request": body(shape=None)}, "shape must be"),
        ({"request": body(data=[1])}, "strings"),
        ({"request": body(data={"a": 1})}, "strings"),
        ({"request": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1]}]}}, "neither data nor"),
        ({"request": body(parameters={"shared_memory_region": "x"})}, "shared memory"),
        (lengths(str(len(data) + 1), data), "no length within"),
        (lengths("-3", data), "no length within"),
        (lengths("9" * 30, data), "no length within"),
        (lengths(str(length - 1), data), "no JSON"),
        (lengths(str(length), data + b"x"), "belong to no input"),
        (lengths(str(length), data[:-1]), "no length within"),
    ]
    for size in (2, 0, 4_000_000_000):
        wrong = data[:length] + struct.pack("<I", size) + b"a"
        cases.append((lengths(str(length), wrong), "elements with their lengths"))
    bad_utf8 = data[:-1] + b"\xff"
    cases.append((lengths(str(length), bad_utf8), "not UTF-8"))
    for case, words in cases:
        reply = infer(everything, "classify", **case)
        assert reply.status == 400, (case, reply.body)
        assert words in reply.error, (case, reply.error)
    many = infer(everything, "classify", body(["a"] * 257))
    assert (many.status, "at most 256" in many.error) == (422, True)
    assert infer(everything, "nobody", body()).status == 404
    assert infer(everything, "classify", {**body(), "parameters": {"threshold": "x"}}).status == 422
    assert infer(everything, "classify", {**body(), "parameters": {"sequence_id": 0, "priority": 3}}).status == 200


def test_random_bytes_break_nothing(everything):
    rng = np.random.default_rng(5)
    length, data = binary(["a great film"], binary_data_output=True)
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            changed[place] = rng.integers(256)
        cut = bytes(changed[: rng.integers(0, len(changed) + 1)]) if rng.random() < 0.3 else bytes(changed)
        size = length if rng.random() < 0.8 else int(rng.integers(0, 2 * length))
        reply = infer(everything, "classify", cut, headers={"Inference-Header-Content-Length": str(size)})
        assert reply.status in (200, 400, 422), (reply.status, reply.body, cut)
    everything.idle()


def test_loading_and_unloading(small, tmp_path):
    import shutil

    from services import running

    for name in ("classify", "tag"):
        shutil.copy(small[name], tmp_path / f"{name}.gw")
    (tmp_path / "broken.gw").write_bytes(b"x")
    with running([small["classify"]], folder=tmp_path) as service:

        def states():
            return {one["name"]: one["state"] for one in service.post("/v2/repository/index", {}).json}

        assert states() == {"broken": "UNAVAILABLE", "classify": "READY", "tag": "UNAVAILABLE"}
        assert service.post("/v2/repository/models/tag/load", {}).status == 200
        assert infer(service, "tag", body()).status == 200
        assert service.post("/v2/repository/models/tag/unload", b"").status == 200
        assert infer(service, "tag", body()).status == 404
        assert service.post("/v2/repository/models/tag/unload", b"").status == 404
        broken = service.post("/v2/repository/models/broken/load", {})
        assert (broken.status, "was not loaded" in broken.error) == (400, True)
        for name in ("nobody", "../classify", "%2e%2e/classify"):
            assert service.post(f"/v2/repository/models/{name}/load", {}).status == 404
        shutil.copy(small["lm"], tmp_path / "my model.gw")
        odd = service.post("/v2/repository/models/my%20model/load", {})
        assert (odd.status, "Rename its file" in odd.error) == (404, True)
        known = {one["name"]: one["reason"] for one in service.post("/v2/repository/index", {}).json}
        assert "Rename its file" in known["my model"]
        nobody = service.post("/v2/repository/models/nobody/load", {}).error
        assert nobody.endswith("Known: broken, classify, tag."), "those of the folder too"
        own = {"parameters": {"config": "{}", "file:1/model.gw": "eA=="}}
        assert "not taken" in service.post("/v2/repository/models/tag/load", own).error
        assert [one["name"] for one in service.post("/v2/repository/index", {"ready": True}).json] == ["classify"]


def test_one_of_very_many_that_is_not_there(small):
    from services import running

    with running([f"m{number}={small['lm']}" for number in range(30)]) as service:
        error = service.get("/v1/models/nobody").error
        assert error.count(",") == 19
        assert error.endswith(" and 10 more.")


def test_a_model_may_have_the_name_of_an_action(small):
    from services import running

    with running([f"predict={small['classify']}", f"stream={small['lm']}"]) as service:
        for name in ("predict", "stream"):
            assert service.get(f"/v1/models/{name}").json["name"] == name
        assert service.post("/v1/models/predict/predict", {"text": "a"}).status == 200
        assert service.get("/v1/models/predict/predict").status == 405


def test_a_method_that_is_not_there_names_those_that_are(everything):
    for method, path, allowed in (
        ("POST", "/health/live", {"GET", "HEAD"}),
        ("GET", "/v1/models/classify/predict", {"POST"}),
        ("GET", "/v2/models/classify/infer", {"POST"}),
        ("POST", "/v2/models/lm/sequences/1/state", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PUT", "/v2/repository/models/lm/load", {"POST"}),
    ):
        reply = everything.ask(method, path)
        assert (reply.status, set(reply.headers["allow"].split(", "))) == (405, allowed), path


def test_settings_of_a_model_that_is_not_there(everything):
    assert everything.get("/v2/models/nobody/trace/setting").status == 404
    assert everything.post("/v2/models/lm/trace/setting", {"trace_level": ["OFF"]}).json == {"trace_level": ["OFF"]}
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    assert everything.post("/v2/logging", deep).body == deep, "deeper than JSON is written here"
    assert everything.post("/v2/logging", b"[]").status == 400
