"""Connections: requests that take the short way, those that must not, and both in turn on one connection."""

import contextlib
import json
import socket
import time
from itertools import pairwise

import pytest

from gatework.runtime import load
from services import need_extra, running

need_extra()

TEXT = "a great film"


def request(text=TEXT, path="/v1/models/classify/predict", version="1.1", **headers):
    body = json.dumps({"text": text}).encode()
    fields = {"Host": "localhost", "Content-Length": len(body)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


class Client:
    """A connection that is kept, and what came on it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.got = b""

    def send(self, *parts):
        for part in parts:
            self.socket.sendall(part)
            if len(parts) > 1:
                time.sleep(0.02)

    def answer(self):
        """Status and body of the next answer."""
        status, body = self.bytes()
        return status, json.loads(body)

    def bytes(self):
        """The same, the body as it came."""
        while b"\r\n\r\n" not in self.got:
            self._more()
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        status, *lines = head.decode().lower().split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines)
        size = int(self.headers["content-length"])
        while len(self.got) < size:
            self._more()
        body, self.got = self.got[:size], self.got[size:]
        return int(status.split()[1]), body

    def ended(self):
        """Whether the service closed it."""
        return self.socket.recv(1) == b""

    def _more(self):
        part = self.socket.recv(65536)
        assert part, self.got
        self.got += part


@pytest.fixture(name="short")
def short_(small):
    """A service, a client, and how many requests took the short way."""
    with running([small["classify"], small["translate"]]) as service:
        service.service.registry.get("classify").batcher._at_once = 1e9  # however busy the machine is
        service.service.registry.get("translate").batcher._at_once = 0.0
        taken = []
        answer_now = service.service.answer_now

        def counted(*given):
            found = answer_now(*given)
            if found is not None:
                taken.append(found)
            return found

        service.service.answer_now = counted
        client = Client(service.port)
        with contextlib.closing(client.socket):
            yield service, client, taken


def test_the_short_way_answers_as_the_long_one(short, small):
    service, client, taken = short
    want = {"answer": load(small["classify"]).predict(TEXT).to_dict()}
    for _ in range(3):
        client.send(request())
        assert client.answer() == (200, want)
        assert client.headers["content-type"] == "application/json"
        assert "date" in client.headers
    assert len(taken) == 3
    client.send(request(Expect="100-continue"))
    while b"\r\n\r\n" not in client.got:
        client._more()
    assert client.got.startswith(b"HTTP/1.1 100 ")
    client.got = client.got.partition(b"\r\n\r\n")[2]
    assert client.answer() == (200, want)
    assert len(taken) == 3
    text = service.get("/metrics").body.decode()
    assert 'gatework_requests_total{door="v1",model="classify",status="200"} 4.0' in text
    assert 'gatework_request_seconds_count{model="classify"} 4.0' in text
    assert service.get("/v2/models/classify/stats").json["model_stats"][0]["execution_count"] == 4
    service.idle()


def infer(text=TEXT, binary=True, model="classify", **headers):
    """A request of the protocol, the text as bytes or in JSON, and answers likewise."""
    raw = len(text.encode()).to_bytes(4, "little") + text.encode()
    one = {"name": "text", "datatype": "BYTES", "shape": [1]}
    one |= {"parameters": {"binary_data_size": len(raw)}} if binary else {"data": [text]}
    head = json.dumps({"id": "7", "inputs": [one], "parameters": {"binary_data_output": binary}}).encode()
    fields = {"Host": "localhost", "Content-Length": len(head) + binary * len(raw)}
    fields |= {"Inference-Header-Content-Length": len(head)} if binary else {}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\n{lines}\r\n".encode() + head + binary * raw


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
@pytest.mark.parametrize("packing", ["", "gzip", "deflate"])
def test_the_protocol_takes_the_short_way_too(short, packing, binary):
    service, client, taken = short
    packed = {"Accept_Encoding": packing} if packing else {}
    client.send(infer(binary=binary, **packed))
    got = client.bytes()
    assert len(taken) == 1
    before = service.get("/v2/models/classify/stats").json["model_stats"][0]["execution_count"]
    client.send(infer(binary=binary, Expect="100-continue", **packed))  # the same the long way
    while b"\r\n\r\n" not in client.got:
        client._more()
    client.got = client.got.partition(b"\r\n\r\n")[2]
    headers = client.headers
    assert client.bytes() == got
    assert {name: value for name, value in client.headers.items() if name != "date"} == {
        name: value for name, value in headers.items() if name != "date"
    }
    assert len(taken) == 1
    assert service.get("/v2/models/classify/stats").json["model_stats"][0]["execution_count"] == before + 1
    text = service.get("/metrics").body.decode()
    assert 'gatework_requests_total{door="v2",model="classify",status="200"} 2.0' in text
    service.idle()


def test_what_the_protocol_asks_the_long_way(short):
    service, client, taken = short
    client.send(infer("red cat runs", model="translate"))
    assert client.bytes()[0] == 200
    client.send(infer().replace(b'"id": "7"', b'"id": 77 '))
    assert client.answer() == (400, {"error": "id must be a string."})
    assert service.get("/v2/models/classify/stats").json["model_stats"][0]["inference_stats"]["fail"]["count"] == 0
    assert not taken


def test_requests_in_pieces(short):
    _, client, _ = short
    whole = request()
    head = whole.index(b"\r\n\r\n") + 4
    for places in ((5,), (head - 1,), (head,), (head + 3,), (9, head, head + 5), (len(whole) - 1,)):
        ends = [0, *places, len(whole)]
        client.send(*(whole[start:end] for start, end in pairwise(ends)))
        assert client.answer()[0] == 200, places


def test_bodies_in_chunks(short):
    _, client, _ = short
    body = json.dumps({"text": TEXT}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:])) + b"0\r\n\r\n"
    head = b"POST /v1/models/classify/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head + chunks)
    assert client.answer()[0] == 200
    client.send(head, chunks[:9], chunks[9:])
    assert client.answer()[0] == 200
    client.send(head + b"zz\r\n")
    assert client.socket.recv(100).startswith(b"HTTP/1.1 400")


UPGRADE = {"Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAARAAAAAAAIAAAAA"}


def test_a_wish_for_http_2_is_declined_and_the_request_answered(short):
    """Java's HttpClient and `curl --http2` send it with every request."""
    _, client, taken = short
    wished = request(Connection="Upgrade, HTTP2-Settings", **UPGRADE)
    head = wished.index(b"\r\n\r\n") + 4
    client.send(wished)
    assert client.answer()[0] == 200
    assert len(taken) == 1
    for places in ((5,), (head - 1,), (head,), (head + 3,)):
        ends = [0, *places, len(wished)]
        client.send(*(wished[start:end] for start, end in pairwise(ends)))
        assert client.answer()[0] == 200, places
    for path in ("/v1/models/classify/predict?x=1", "/v1/models/no/predict"):
        client.send(request(path=path, Connection="Upgrade, HTTP2-Settings", **UPGRADE) + request())
        assert client.answer()[0] == (404 if "no" in path else 200)
        assert client.answer()[0] == 200
    client.send(wished * 400)  # each once, however many
    for _ in range(400):
        assert client.answer()[0] == 200
    client.send(b"GET /health/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert client.answer() == (200, {"live": True})
    client.send(request(Connection="close, Upgrade, HTTP2-Settings", **UPGRADE))
    assert client.answer()[0] == 200
    assert client.ended()


def test_piled_up_requests_are_answered_in_order(short, small):
    _, client, taken = short
    texts = [f"film number {number}" for number in range(6)]
    slow = request("red cat", "/v1/models/translate/predict")
    client.send(request(texts[0]) + slow + b"".join(map(request, texts[1:])) + request(path="/v1/models/no/predict"))
    model = load(small["classify"])
    assert client.answer()[1] == {"answer": model.predict(texts[0]).to_dict()}
    assert "text" in client.answer()[1]["answer"]
    for text in texts[1:]:
        assert client.answer()[1] == {"answer": model.predict(text).to_dict()}
    assert client.answer()[0] == 404
    assert len(taken) == 1, "the first of the pile alone"
    for number, text in enumerate(texts, start=2):
        client.send(request(text))
        assert client.answer() == (200, {"answer": model.predict(text).to_dict()})
        assert len(taken) == number


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_that_is_to_end_ends(short, version):
    _, client, taken = short
    client.send(request(version=version, Connection="close"))
    assert client.answer()[0] == 200
    assert client.headers["connection"] == "close"
    assert client.ended()
    assert not taken


def test_mistakes_are_told_the_long_way(short):
    _, client, taken = short
    for data, status in (
        (request(path="/v1/models/classify/predict?x=1"), 200),
        (request(Host="evil.example"), 403),
        (request(Origin="http://evil.example"), 403),
        (request(3), 422),
        (request("x" * 100_001), 422),
        (request(Content_Encoding="gzip"), 400),
        (request(path="/v1/models/classify/generate"), 422),
        (request(path="/v2/models/classify/infer"), 400),
    ):
        client.send(data)
        assert client.answer()[0] == status, data[:200]
    assert not taken


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(small, monkeypatch):
    monkeypatch.setattr("gatework.server.run.KEEP_ALIVE", 2)
    with running([small["classify"]]) as service:
        client = Client(service.port)
        with contextlib.closing(client.socket):
            for wait in (1.2, 1.2, 0):  # the timer of the first request ends in between
                client.send(request())
                assert client.answer()[0] == 200
                time.sleep(wait)
            assert client.ended()


def test_a_websocket_after_requests_is_kept(small, monkeypatch):
    monkeypatch.setattr("gatework.server.run.KEEP_ALIVE", 1)
    with running([small["classify"]]) as service:
        client = Client(service.port)
        with contextlib.closing(client.socket):
            client.send(request())
            assert client.answer()[0] == 200
            client.send(
                b"GET /v1/models/classify/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            while b"\r\n\r\n" not in client.got:
                client._more()
            assert client.got.startswith(b"HTTP/1.1 101")
            client.socket.settimeout(1.6)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
