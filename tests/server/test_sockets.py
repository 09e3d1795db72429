"""WebSockets: as one types, running text, and a model that goes on from where it is."""

import json

import pytest

from bundles import write_small
from gatework.runtime import load
from services import need_extra, running

need_extra()

from websockets.exceptions import InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from gatework.server import Limits  # noqa: E402


def talk(service, name, query="", **options):
    return connect(f"ws://127.0.0.1:{service.port}/v1/models/{name}/stream{query}", **options)


def say(socket, **message):
    socket.send(json.dumps(message))
    return json.loads(socket.recv(timeout=20))


def test_an_answer_to_each_text(everything, small):
    model = load(small["classify"])
    with talk(everything, "classify") as socket:
        for text in ("a", "a great", "a great film"):
            assert say(socket, text=text)["answer"]["label"] == model.predict(text).label
        assert "error" in say(socket, text=3)
        assert "error" in say(socket, txt="a")
        socket.send("{")
        assert "no JSON" in json.loads(socket.recv(timeout=20))["error"]
        assert "answer" in say(socket, text="still there")


def test_running_text_is_tagged_as_it_comes(everything, small):
    text = "the cat sat . the dog ran . a cat\n" * 6
    with load(small["tag"]).stream() as stream:
        want = [answer.to_dict() for answer in stream.feed(text) + stream.end()]
    with talk(everything, "tag") as socket:
        got = []
        for at in range(0, len(text), 7):
            got += say(socket, text=text[at : at + 7])["answers"]
        last = say(socket, end=True)
        assert last["done"]
        assert json.loads(json.dumps(want)) == got + last["answers"]
        assert say(socket, text="a new one", end=True)["done"]


def test_a_language_model_remembers(everything, small):
    model = load(small["lm"])

    def heard(socket, **message):
        socket.send(json.dumps(message))
        pieces = []
        while "answer" not in (got := json.loads(socket.recv(timeout=20))):
            pieces.append(got["piece"])
        assert "".join(pieces) == got["answer"]["text"]
        return got["answer"]

    options = {"max_tokens": 9, "seed": 3}
    first = model.generate("the", **options)
    second = model.generate(" cat", state=first.state, **options)
    with talk(everything, "lm") as socket, talk(everything, "lm") as other:
        assert heard(socket, text="the", options=options)["text"] == first.text
        assert heard(other, text="dog", options=options)["text"] == model.generate("dog", **options).text
        assert heard(socket, text=" cat", options=options)["text"] == second.text
        assert say(socket, reset=True)["answer"]["text"] == ""
        assert heard(socket, text="the", options=options)["text"] == first.text


def refused(status, words, *where):
    """The answer that refuses a conversation."""
    with pytest.raises(InvalidStatus) as told:
        talk(*where).recv()
    answer = told.value.response
    assert answer.status_code == status
    assert words in json.loads(answer.body)["error"]
    return answer


def test_who_may_not(small):
    with running([small["classify"]], Limits(streams=1), tokens=("a-good-token",)) as service:
        refused(401, "needs a token", service, "classify")
        with talk(service, "classify", "?token=a-good-token") as socket:
            assert "answer" in say(socket, text="a")
            answer = refused(503, "1 streams are under way", service, "classify", "?token=a-good-token")
            assert answer.headers["retry-after"] == "1"
        refused(404, "not loaded", service, "nobody", "?token=a-good-token")


def test_where_there_is_none(everything):
    with pytest.raises(InvalidStatus) as told:
        connect(f"ws://127.0.0.1:{everything.port}/v1/models/classify/predict")
    assert told.value.response.status_code == 404
    assert "no conversation is held at /v1/models/classify/predict" in json.loads(told.value.response.body)["error"]
    plain = everything.get("/v1/models/lm/stream")  # what a proxy makes of a WebSocket that it does not know
    assert (plain.status, plain.headers["upgrade"]) == (426, "websocket")
    assert "is a WebSocket" in plain.error


def test_a_sequence_outlives_its_conversation(everything, small):
    text = "the cat sat . the dog ran . a cat\n" * 4
    with load(small["tag"]).stream() as stream:
        want = json.loads(json.dumps([answer.to_dict() for answer in stream.feed(text) + stream.end()]))
    with talk(everything, "tag", "?sequence=socket-1") as socket:
        got = say(socket, text=text[:40])["answers"]
    with talk(everything, "tag", "?sequence=socket-1") as socket:
        assert "options come with the first" in say(socket, text="x", options={"threshold": 0.5})["error"]
        got += say(socket, text=text[40:], end=True)["answers"]
    assert got == want
    refused(422, "Send whole texts", everything, "classify", "?sequence=1")


def test_a_classifier_reads_on_within_a_sequence(tmp_path):
    write_small(tmp_path / "forward.gw", input={"window": 64}, encoder={"bidirectional": False})
    model, pieces = load(tmp_path / "forward.gw"), ["a gre", "at film ", "with a dull plot"]
    with running([tmp_path / "forward.gw"]) as service:
        with talk(service, "forward") as socket:
            for piece in pieces:
                assert say(socket, text=piece)["answer"]["scores"] == pytest.approx(model.predict(piece).scores)
        so_far = ""
        for piece in pieces:  # each in a conversation of its own
            so_far += piece
            with talk(service, "forward", "?sequence=5") as socket:
                got = say(socket, text=piece)["answer"]["scores"]
                assert got == pytest.approx(model.predict(so_far).scores, abs=1e-6)
        with talk(service, "forward", "?sequence=5") as socket:
            assert say(socket, end=True)["done"]
            assert say(socket, text="great")["answer"]["scores"] == pytest.approx(model.predict("great").scores)
