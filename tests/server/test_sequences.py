"""Sequences: state between requests, over every door; its isolation, its bounds, its end."""

import json
import queue
import shutil
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bundles import write_small
from gatework.runtime import load
from services import need_extra, running

need_extra()

import language_models  # noqa: E402
from gatework.server import Limits, messages  # noqa: E402
from gatework.server.wire import decode, encode  # noqa: E402

PIECES = ["the ", "cat sat", " on the mat\n", "the dog"]
RUNNING = ["the cat sat . the d", "og ran . a cat\nthe mat", " sat . ", "a dog"]


def ask(service, model, text, **parameters):
    """The outputs, or the reply where it failed."""
    one = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    reply = service.post(f"/v2/models/{model}/infer", {"inputs": [one], "parameters": parameters})
    return reply if reply.status != 200 else {out["name"]: out["data"] for out in reply.json["outputs"]}


def flags(pieces):
    """start and end of each piece."""
    last = len(pieces) - 1
    return [{"sequence_start": place == 0, "sequence_end": place == last} for place in range(len(pieces))]


def read(model, pieces):
    """log p of each piece after those before it."""
    state, found = None, []
    for piece in pieces:
        [one] = model.read([piece], state)
        state = [one.state]
        found.append(one.log_p)
    return found


def test_a_language_model_reads_on(everything, small):
    want = read(load(small["lm"]), PIECES)
    for identity in (5, "a name"):
        got = [
            ask(everything, "lm", piece, sequence_id=identity, **flag)["input_log_p"][0]
            for piece, flag in zip(PIECES, flags(PIECES), strict=True)
        ]
        assert got == pytest.approx(want, rel=1e-5)
        assert ask(everything, "lm", "x", sequence_id=identity).status == 409, "it has ended"


def test_what_it_writes_is_remembered(everything, small):
    model = load(small["lm"])
    options = {"max_tokens": 6, "seed": 3}
    first = model.generate("the", **options)
    second = model.generate(" cat", state=first.state, **options)
    assert ask(everything, "lm", "the", sequence_id=6, sequence_start=True, **options)["text"] == [first.text]
    assert ask(everything, "lm", " cat", sequence_id=6, sequence_end=True, **options)["text"] == [second.text]


def tagged(model, pieces):
    with model.stream() as stream:
        answers = [answer for piece in pieces for answer in stream.feed(piece)]
        return json.loads(json.dumps([answer.to_dict() for answer in answers + stream.end()]))


@pytest.fixture(name="forward", scope="module")
def forward_(tmp_path_factory):
    """A service of a classifier that reads forward alone, and its bundle."""
    path = tmp_path_factory.mktemp("forward") / "forward.gw"
    write_small(path, input={"window": 64}, encoder={"bidirectional": False})
    with running([path]) as service:
        yield service, path


def test_a_classifier_answers_for_the_text_so_far(forward):
    service, path = forward
    model, so_far = load(path), ""
    pieces = ["a gre", "at film, but the ", "plot was ", "dull"]
    for piece, flag in zip(pieces, flags(pieces), strict=True):
        so_far += piece
        found = ask(service, "forward", piece, sequence_id=4, **flag)
        assert json.loads(found["answer"][0])["scores"] == pytest.approx(model.predict(so_far).scores, abs=1e-6)
        assert found["label"] == [model.predict(so_far).label]
        assert len(found["scores"]) == len(model.labels)
    assert ask(service, "forward", "x", sequence_id=4).status == 409
    assert ask(service, "forward", "x", sequence_id=4, sequence_start=True, top_k=1).status == 400
    assert ask(service, "forward", "x", sequence_id=4, sequence_start=True, threshold=0.9)["label"]
    assert ask(service, "forward", "x", sequence_id=4, threshold=0.9).status == 422
    service.idle()


def test_a_classifiers_state_is_fetched_and_put_back(forward):
    service, path = forward
    model, place = load(path), "/v2/models/forward/sequences/{}/state"
    ask(service, "forward", "a dull film", sequence_id="a", sequence_start=True)
    state = service.get(place.format("a")).body
    assert service.ask("PUT", place.format("b"), state).status == 200
    assert service.ask("PUT", place.format("c"), state[:-1]).status == 422
    for identity in "ab":
        found = ask(service, "forward", " great acting", sequence_id=identity)
        assert found["score"] == pytest.approx([model.predict("a dull film great acting").score], abs=1e-6)


def test_a_tagger_answers_what_is_due(everything, small):
    want = tagged(load(small["tag"]), RUNNING)
    got = []
    for piece, flag in zip(RUNNING, flags(RUNNING), strict=True):
        got += [json.loads(one) for one in ask(everything, "tag", piece, sequence_id="t", **flag)["answer"]]
    assert got == want


def test_many_sequences_at_once_share_nothing(everything, small):
    model = load(small["lm"])
    rng = np.random.default_rng(2)
    words = ["the", "cat", "sat", "on", "mat", "dog", "ran", "to", "a"]
    texts = [[" ".join(rng.choice(words, 3)) + " " for _ in range(6)] for _ in range(12)]

    def follow(number):
        return [
            ask(everything, "lm", piece, sequence_id=f"many-{number}", **flag)["input_log_p"][0]
            for piece, flag in zip(texts[number], flags(texts[number]), strict=True)
        ]

    with ThreadPoolExecutor(6) as pool:
        for number, got in enumerate(pool.map(follow, range(12))):
            assert got == pytest.approx(read(model, texts[number]), rel=1e-5)


def test_a_start_begins_again(everything, small):
    [want] = read(load(small["lm"]), ["the cat"])
    for _ in range(3):
        found = ask(everything, "lm", "the cat", sequence_id="again", sequence_start=True)
        assert found["input_log_p"] == pytest.approx([want], rel=1e-5)
    ask(everything, "lm", "", sequence_id="again", sequence_end=True)


def test_mistakes(everything):
    for parameters, status, words in (
        ({"sequence_id": 99}, 409, "Begin it with sequence_start"),
        ({"sequence_start": True}, 400, "need a sequence_id"),
        ({"sequence_id": 1.5, "sequence_start": True}, 400, "number or a string"),
        ({"sequence_id": 9, "sequence_start": 1}, 400, "true or false"),
        ({"sequence_id": "x" * 300, "sequence_start": True}, 400, "more than 256"),
        ({"sequence_id": 9, "sequence_start": True, "count": 2}, 422, "count"),
        ({"sequence_id": 9, "sequence_start": True, "max_tokens": "x"}, 422, "max_tokens"),
    ):
        reply = ask(everything, "lm", "a", **parameters)
        assert (reply.status, words in reply.error) == (status, True), reply.error
    for model in ("classify", "translate"):
        assert ask(everything, model, "a", sequence_id=9, sequence_start=True).status == 422
    assert ask(everything, "lm", "a", sequence_id=9).status == 409, "one that failed at its start is not there"
    ask(everything, "tag", "a", sequence_id=9, sequence_start=True)
    assert "go with the start" in ask(everything, "tag", "a", sequence_id=9, threshold=0.5).error
    assert "answer" in ask(everything, "tag", "a", sequence_id=9, sequence_end=True), "a mistake ends nothing"
    two = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}
    body = {"inputs": [two], "parameters": {"sequence_id": 9, "sequence_start": True}}
    assert "has one text" in everything.post("/v2/models/lm/infer", body).error


def test_a_state_is_fetched_and_put_back(everything, small):
    def state(identity, model):
        return f"/v2/models/{model}/sequences/{identity}/state"

    for model, pieces in (("lm", PIECES), ("tag", RUNNING)):
        ask(everything, model, pieces[0], sequence_id="from", sequence_start=True)
        kept = everything.get(state("from", model))
        assert kept.status == 200
        direct = [ask(everything, model, piece, sequence_id="from")["answer"] for piece in pieces[1:]]
        assert everything.ask("PUT", state("to", model), kept.body).status == 200
        other = [ask(everything, model, piece, sequence_id="to") for piece in pieces[1:]]
        if model == "tag":
            assert [one["answer"] for one in other] == direct
        else:
            assert [one["input_log_p"][0] for one in other] == pytest.approx(
                read(load(small["lm"]), pieces)[1:], rel=1e-5
            )
        assert everything.ask("PUT", state("user%2F7%20a", model), kept.body).status == 200
        assert "answer" in ask(everything, model, pieces[1], sequence_id="user/7 a")
        for bad in (b"", b"x" * 50, kept.body[:-1], kept.body[:-5] + b"abcde"):
            assert everything.ask("PUT", state("bad", model), bad).status == 422
        assert everything.get(state("bad", model)).status == 404
        wrong = "tag" if model == "lm" else "lm"
        assert everything.ask("PUT", state("bad", wrong), kept.body).status == 422
        for identity in ("from", "to", "user/7 a"):
            path = state(urllib.parse.quote(identity, safe=""), model)
            assert everything.ask("DELETE", path).status == 200
            assert everything.ask("DELETE", path).status == 404
    assert everything.get(state("x", "classify")).status == 422


def test_a_state_expires(small):
    with running([small["lm"]], Limits(sequence_seconds=2.0)) as service:
        ask(service, "lm", "the", sequence_id=1, sequence_start=True)
        ask(service, "lm", "the", sequence_id=2, sequence_start=True)
        for _ in range(4):
            time.sleep(0.6)
            assert "text" in ask(service, "lm", " cat", sequence_id=2), "what is asked for stays"
        expired = ask(service, "lm", " cat", sequence_id=1)
        assert (expired.status, "not been asked for 2 seconds" in expired.error) == (409, True)
        assert b"gatework_sequences 1.0" in service.get("/metrics").body


def test_a_state_that_nobody_asks_for_frees_its_room(small):
    with running([small["lm"]], Limits(sequence_seconds=0.2)) as service:
        ask(service, "lm", "the", sequence_id=1, sequence_start=True)
        assert service.get("/v2/models/lm/sequences/1/state").status == 200
        until = time.monotonic() + 30
        while b"gatework_sequences 0.0" not in service.get("/metrics").body:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert b"gatework_state_bytes 0.0" in service.get("/metrics").body


def test_an_expired_state_is_not_given_out(small):
    with running([small["lm"]], Limits(sequence_seconds=60.0)) as service:
        ask(service, "lm", "the", sequence_id=1, sequence_start=True)
        [held] = service.service.sequences._held.values()
        held.used -= 61.0
        assert service.get("/v2/models/lm/sequences/1/state").status == 404
        assert not service.service.sequences.known(held.served, "1")


def test_states_have_a_budget(small):
    with running([small["lm"]], Limits(state_bytes=6000)) as service:
        statuses = []
        for number in range(1, 9):
            reply = ask(service, "lm", "the", sequence_id=number, sequence_start=True)
            statuses.append(200 if isinstance(reply, dict) else reply.status)
        assert statuses[0] == 200
        assert statuses[-1] == 503
        full = statuses.index(503)
        assert "text" in ask(service, "lm", "the", sequence_id=1), "none is taken from another"
        ask(service, "lm", "", sequence_id=1, sequence_end=True)
        assert "text" in ask(service, "lm", "the", sequence_id=full + 1, sequence_start=True)
        for number in range(2, full + 2):
            ask(service, "lm", "", sequence_id=number, sequence_end=True)
        text = service.get("/metrics").body
        assert b"gatework_state_bytes 0.0" in text
        assert b"gatework_sequences 0.0" in text


def test_a_sequence_keeps_the_model_it_began_with(small, tmp_path):
    path = tmp_path / "lm.gw"
    shutil.copy(small["lm"], path)
    want = read(load(small["lm"]), PIECES)
    with running([path]) as service:
        got = [ask(service, "lm", PIECES[0], sequence_id=1, sequence_start=True)["input_log_p"][0]]
        language_models.write_model(path, seed=9)
        service.load("lm")
        fresh = ask(service, "lm", PIECES[0], sequence_id=2, sequence_start=True)["input_log_p"][0]
        assert fresh != pytest.approx(want[0])
        got += [ask(service, "lm", piece, sequence_id=1)["input_log_p"][0] for piece in PIECES[1:]]
    assert got == pytest.approx(want, rel=1e-5)


def test_requests_of_a_sequence_run_in_turn(small):
    with running([small["tag"]]) as service:
        ask(service, "tag", "", sequence_id=1, sequence_start=True)
        threads = [threading.Thread(target=ask, args=(service, "tag", "the cat . "), kwargs={"sequence_id": 1})
                   for _ in range(12)]  # fmt: skip
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        last = ask(service, "tag", "end", sequence_id=1, sequence_end=True)
        assert json.loads(last["answer"][-1])["tokens"][-1]["end"] == 12 * len("the cat . ") + 3


def test_over_grpc(everything, small):
    import grpc

    want = read(load(small["lm"]), PIECES)
    with grpc.insecure_channel(f"127.0.0.1:{everything.grpc_port}") as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for kind, identity in (("int64_param", 71), ("string_param", "by name"), ("uint64_param", 72)):
            got = []
            for piece, flag in zip(PIECES, flags(PIECES), strict=True):
                contents = {"bytes_contents": [piece.encode()]}
                one = {"name": "text", "datatype": "BYTES", "shape": [1], "contents": contents}
                parameters = {name: {"bool_param": value} for name, value in flag.items()}
                parameters["sequence_id"] = {kind: identity}
                request = {"model_name": "lm", "inputs": [one], "parameters": parameters}
                request["outputs"] = [{"name": "input_log_p"}]
                found = decode(messages.INFERRED, infer(encode(messages.INFER, request), timeout=30))
                got.append(np.frombuffer(found["raw_output_contents"][0], "<f4")[0])
            assert got == pytest.approx(want, rel=1e-5)


def triton(name):
    return pytest.importorskip(name, reason="tritonclient is not installed", exc_type=ImportError)


@pytest.mark.parametrize("identity", [81, "by name"])
def test_tritons_clients(everything, small, identity):
    http, grpc = triton("tritonclient.http"), triton("tritonclient.grpc")
    want = read(load(small["lm"]), PIECES)

    def given(client, piece):
        tensor = client.InferInput("text", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([piece], dtype=object))
        return [tensor]

    for client, port in ((http, everything.port), (grpc, everything.grpc_port)):
        with client.InferenceServerClient(f"127.0.0.1:{port}") as service:
            got = [
                service.infer("lm", given(client, piece), sequence_id=identity, **flag).as_numpy("input_log_p")[0]
                for piece, flag in zip(PIECES, flags(PIECES), strict=True)
            ]
        assert got == pytest.approx(want, rel=1e-5)
    answers = queue.Queue()
    with grpc.InferenceServerClient(f"127.0.0.1:{everything.grpc_port}") as service:
        service.start_stream(lambda result, error: answers.put((result, error)))
        for piece, flag in zip(PIECES, flags(PIECES), strict=True):
            service.async_stream_infer("lm", given(grpc, piece), sequence_id=identity, **flag)
        got = [answers.get(timeout=30)[0].as_numpy("input_log_p")[0] for _ in PIECES]
        service.stop_stream()
    assert got == pytest.approx(want, rel=1e-5)


def test_nothing_leaks_between_models(small, tmp_path):
    write_small(tmp_path / "other.gw", seed=4)
    with running([small["lm"], small["tag"]]) as service:
        ask(service, "lm", "the", sequence_id=1, sequence_start=True)
        assert ask(service, "tag", "the", sequence_id=1).status == 409
