"""Who may ask; what hostile clients get; replacing models under load; the end of a service."""

import asyncio
import gzip
import http.client
import shutil
import socket
import threading
import time
import zlib

import pytest

from bundles import write_small
from services import need_extra, running

need_extra()

from gatework.core import interrupt  # noqa: E402
from gatework.core.errors import ConfigError  # noqa: E402
from gatework.server import Limits, Settings, make_service  # noqa: E402
from gatework.server.gate import read_tokens  # noqa: E402
from gatework.server.registry import named  # noqa: E402

PATH = "/v1/models/classify/predict"
GOOD = {"text": "a great film"}


def test_tokens(small):
    with running([small["classify"]], tokens=("first-token", "second-token")) as service:
        for token in ("first-token", "second-token"):
            assert service.post(PATH, GOOD, headers={"Authorization": f"Bearer {token}"}).status == 200
        for headers in ({}, {"Authorization": "Bearer first-toke"}, {"Authorization": "Basic first-token"}):
            got = service.post(PATH, GOOD, headers=headers)
            assert (got.status, got.headers["www-authenticate"]) == (401, "Bearer")
        assert service.get("/v1/models").status == service.get("/metrics").status == 401
        assert service.get("/health/live").status == service.get("/health/ready").status == 200


def test_what_is_too_late_leaves_its_thread_to_others(small):
    """One worker: the second request is answered by the thread that the first one held."""
    limits, ended = Limits(seconds=0.2), threading.Event()

    def endless():
        try:
            while True:
                interrupt.check()
        finally:
            ended.set()

    async def ask(asking):
        with pytest.raises(TimeoutError):
            await asking.call(endless)
        return await asyncio.wait_for(asking.call(lambda: "answered"), 30)

    service = make_service([str(small["classify"])], limits, workers=1)
    try:
        assert asyncio.run(ask(service.asking)) == "answered"
        assert ended.is_set()
    finally:
        service.close()


def test_token_files(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# for the balancer\nabcdefgh\n\nijklmnop\n")
    assert read_tokens(path) == ("abcdefgh", "ijklmnop")
    path.write_text("abcdefgh\n", encoding="utf-8-sig")
    assert read_tokens(path) == ("abcdefgh",)
    for text, words in (("", "holds no token"), ("abcdefgh\nshort\n", ":2: a token"), ("has a blank\n", ":1: a token")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_tokens(path)


def test_pages_of_other_origins_may_not_ask(everything):
    own = f"127.0.0.1:{everything.port}"
    assert everything.post(PATH, GOOD, headers={"Origin": f"http://{own}"}).status == 200
    for other in ("http://evil.example", "http://[", "null", "\xff://"):
        assert everything.post(PATH, GOOD, headers={"Origin": other}).status == 403
    assert everything.post(PATH, GOOD, headers={"Host": "evil.example"}).status == 403
    assert everything.post(PATH, GOOD, headers={"Host": "localhost:1"}).status == 200
    for own in ("127.0.0.2:8000", "[::1]", "[0:0:0:0:0:0:0:1]:8000"):
        assert everything.post(PATH, GOOD, headers={"Host": own}).status == 200
    for other in ("127.0.0.1.evil.example", "10.0.0.1", "[::2]", "0.0.0.0"):
        assert everything.post(PATH, GOOD, headers={"Host": other}).status == 403


def test_packed_bodies(everything):
    plain = b'{"text": "a great film"}'
    want = everything.post(PATH, plain).json
    for name, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain)), ("identity", plain)):
        assert everything.post(PATH, packed, headers={"Content-Encoding": name}).json == want
    assert everything.post(PATH, plain, headers={"Content-Encoding": "br"}).status == 415
    assert everything.post(PATH, plain, headers={"Content-Encoding": "gzip"}).status == 400
    assert everything.post(PATH, gzip.compress(plain)[:-9], headers={"Content-Encoding": "gzip"}).status == 400
    bomb = gzip.compress(b"0" * (9 << 20))
    assert everything.post(PATH, bomb, headers={"Content-Encoding": "gzip"}).status == 413


def test_hostile_heads_and_bodies(small):
    limits = Limits(header_bytes=4096, header_seconds=0.5, body_seconds=0.5, body_bytes=10_000)
    with running([small["classify"]], limits) as service:
        head = b"POST %s HTTP/1.1\r\nhost: localhost\r\n" % PATH.encode()
        assert b" 400 " in service.raw(b"nonsense\r\n\r\n")
        assert b" 413 " in service.raw(head + b"content-length: 100000000\r\n\r\n")
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        assert b" 413 " in service.raw(head + b"transfer-encoding: chunked\r\n\r\n" + chunk * 3)
        assert b" 408 " in service.raw(head + b'content-length: 50\r\n\r\n{"text"')
        assert b" 431 " in service.raw(head + b"x: " + b"y" * 9000)
        assert b" 431 " in service.raw(head + b"x: " + b"y" * 9000 + b"\r\n\r\n"), "one that comes at once"
        assert service.raw(b"POST / HT") == b"", "a head that does not come"
        assert service.raw(b"") == b"", "nothing comes"
        for cut in (b'content-length: 50\r\n\r\n{"te', b"content-le"):
            assert b" 400 " in service.raw(head + cut, close=True), "the client closes its side"
        assert service.raw(b"", close=True) == b""
        assert service.post(PATH, GOOD).status == 200
        service.idle()


def test_who_sends_all_before_reading_learns_that_it_was_too_much(small):
    with running([small["classify"]], Limits(body_bytes=10_000)) as service:
        size, part = 20 << 20, b"x" * (1 << 20)
        for chunked in (False, True):
            client = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
            headers = {} if chunked else {"content-length": str(size)}
            client.request("POST", PATH, iter([part] * 20), headers, encode_chunked=chunked)
            answer = client.getresponse()
            assert answer.status == 413
            assert b"larger than 10,000 bytes" in answer.read()
            client.close()
        service.idle()


def test_a_client_that_sends_no_more_is_answered(everything):
    """Over the short way and over the long one, one request and two."""
    body = b'{"text": "a great film"}'
    for model, what, count in (("classify", "predict", 1), ("tag", "explain", 1), ("classify", "explain", 2)):
        path = f"/v1/models/{model}/{what}"
        request = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body))
        with socket.create_connection(("127.0.0.1", everything.port), timeout=30) as sock:
            sock.sendall((request + body) * count)
            sock.shutdown(socket.SHUT_WR)
            got = b""
            while part := sock.recv(65536):
                got += part
        assert got.count(b"HTTP/1.1 200") == count, "and the connection ends"
    everything.idle()


def test_connections_are_counted(small):
    with running([small["classify"]], Limits(connections=2)) as service:
        held = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(2)]
        try:
            time.sleep(0.2)
            got = service.get("/health/live")
            assert (got.status, got.headers["retry-after"]) == (503, "1")
        finally:
            for one in held:
                one.close()
        time.sleep(0.2)
        assert service.get("/health/live").status == 200


class Slow:
    """A model that takes its time."""

    def __init__(self, model, seconds):
        self._model, self._seconds = model, seconds
        self.batches = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def predict(self, text, **options):
        return self.predict_batch([text], **options)[0]

    def predict_batch(self, texts, **options):
        self.batches.append(len(texts))
        if "bug" in texts:
            raise RuntimeError("a bug")
        time.sleep(self._seconds)
        return self._model.predict_batch(texts, **options)


def slow_down(service, seconds):
    """Let the model of a service take so long for a call, on other threads."""
    batcher = service.service.registry.get("classify").batcher
    model = batcher._model._model if isinstance(batcher._model, Slow) else batcher._model
    batcher._model = model = Slow(model, seconds)
    batcher._at_once, batcher.together = -1.0, True
    return model


def at_once(service, bodies):
    """Replies to requests that are sent together."""
    replies = [None] * len(bodies)

    def ask(place):
        replies[place] = service.post(PATH, bodies[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return replies


def test_what_waits_is_answered_together(small):
    with running([small["classify"]], workers=1) as service:
        model = slow_down(service, 0.1)
        replies = at_once(service, [{"text": f"film {n}"} for n in range(20)])
        assert [reply.status for reply in replies] == [200] * 20
        assert sum(model.batches) == 20
        assert len(model.batches) < 10


def test_a_crash_in_one_request_harms_no_other(small, caplog):
    with running([small["classify"]], workers=1) as service:
        slow_down(service, 0.05)
        replies = at_once(service, [{"text": "bug" if n == 3 else f"film {n}"} for n in range(8)])
        assert [reply.status for reply in replies] == [500 if n == 3 else 200 for n in range(8)]
        assert "log says more" in replies[3].error
    assert "a bug" in caplog.text


def test_a_full_queue_and_a_slow_answer(small):
    with running([small["classify"]], Limits(queue=2, seconds=0.3), workers=1) as service:
        slow_down(service, 0.6)
        replies = at_once(service, [GOOD] * 6)
        statuses = sorted(reply.status for reply in replies)
        assert statuses == [429] * 4 + [503] * 2
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies)
        time.sleep(1.3)
        slow_down(service, 0)
        assert service.post(PATH, GOOD).status == 200


def test_replacing_a_model_drops_nothing(small, tmp_path):
    path = tmp_path / "classify.gw"
    shutil.copy(small["classify"], path)
    with running([path]) as service:
        first = service.post(PATH, GOOD).json["answer"]["score"]
        failed, seen, going = [], set(), threading.Event()

        def ask():
            while not going.is_set():
                reply = service.post(PATH, GOOD)
                if reply.status != 200:
                    failed.append(reply)
                else:
                    seen.add(reply.json["answer"]["score"])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for one in threads:
            one.start()
        for seed in range(1, 6):
            write_small(path, seed=seed)
            service.load("classify")
            time.sleep(0.05)
        going.set()
        for one in threads:
            one.join()
        assert failed == []
        assert len(seen) > 1
        assert service.post(PATH, GOOD).json["answer"]["score"] != first
        assert service.get("/v1/models/classify").json["version"] == "6"
        path.write_bytes(b"no bundle")
        with pytest.raises(Exception, match="was not loaded"):
            service.load("classify")
        assert service.post(PATH, GOOD).status == 200, "the old one stays"


def test_the_end_answers_what_was_asked(small):
    with running([small["classify"]], workers=1) as service:
        slow_down(service, 0.5)
        replies = []
        asking = threading.Thread(target=lambda: replies.append(service.post(PATH, GOOD)))
        asking.start()
        time.sleep(0.2)
        service.server.stop()
        asking.join()
        assert [reply.status for reply in replies] == [200]
        with pytest.raises(OSError):  # noqa: PT011 - refused, or reset
            service.get("/health/ready")


def test_names():
    assert named("some/where/spam.gw")[0] == "spam"
    assert named("better=some/where/spam.gw")[0] == "better"
    for bad in ("../x y.gw", "a b=x.gw", "-x.gw"):
        with pytest.raises(ConfigError, match="no name for a model"):
            named(bad)


def test_local_addresses():
    assert all(Settings(host=host).local for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"))
    assert not any(Settings(host=host).local for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"))


def test_one_who_leaves_a_stream_frees_it(small):
    request = b'{"prompt": "the", "options": {"max_tokens": 4000, "seed": 1}, "stream": true}'
    head = b"POST /v1/models/lm/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(request)
    with running([small["lm"]], Limits(streams=2)) as service:
        for _ in range(6):
            with socket.create_connection(("127.0.0.1", service.port), timeout=30) as leaving:
                leaving.sendall(head + request)
                assert leaving.recv(100).startswith(b"HTTP/1.1 200")
            end = time.monotonic() + 20
            while service.service.asking.full or b"gatework_streams 0.0" not in service.get("/metrics").body:
                assert time.monotonic() < end
                time.sleep(0.01)


def test_a_text_that_takes_too_long_is_given_up(small):
    body = {"prompt": "the", "options": {"max_tokens": 4096, "stop": "never written"}}
    with running([small["lm"]], Limits(seconds=0.05), workers=1) as service:
        replies = [service.post("/v1/models/lm/generate", body) for _ in range(3)]
        assert {reply.status for reply in replies} <= {200, 503}
        service.idle()
        short, end = {"prompt": "the", "options": {"max_tokens": 1}}, time.monotonic() + 20
        while service.post("/v1/models/lm/generate", short).status != 200:  # a busy machine takes its time
            assert time.monotonic() < end


def test_requests_may_follow_each_other_unasked(everything):
    body = b'{"text": "a great film"}'
    one = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)
    with socket.create_connection(("127.0.0.1", everything.port), timeout=30) as pipelined:
        pipelined.sendall(one * 5)
        got = b""
        while got.count(b"HTTP/1.1 200") < 5 or not got.endswith(b"}"):
            part = pipelined.recv(65536)
            assert part
            got += part
    assert got.count(b'"label"') == 5
