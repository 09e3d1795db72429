"""A service that runs in a thread on a free port, and plain requests to it."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field

import pytest

import language_models
import seq2seqs
from bundles import write_small
from gatework.text.running import RunningCodec
from taggers import tag_codec, write_tagger

NEEDED = ("grpc", "starlette", "uvicorn", "httptools", "orjson", "prometheus_client", "websockets")


def need_extra():
    """Skip a module of tests where the extra `serve` is not installed."""
    for name in NEEDED:
        pytest.importorskip(name, reason=f"the extra `serve` is not installed: no {name}")


def write_bundles(folder):
    """Small bundles in a folder: their paths by kind."""
    paths = {name: folder / f"{name}.gw" for name in ("classify", "tag", "lm", "translate")}
    write_small(paths["classify"])
    write_tagger(paths["tag"], codec=tag_codec(window=32))
    language_models.write_model(paths["lm"])
    words = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "runs"])
    seq2seqs.write_model(paths["translate"], words)
    return paths


@dataclass
class Reply:
    status: int
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        assert set(self.json) == {"error"}, self.json
        return self.json["error"]


@dataclass
class Running:
    """A service under way."""

    service: object
    server: object
    port: int
    grpc_port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """One request on a connection of its own; a dict is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            data = json.dumps(body).encode() if isinstance(body, dict | list) else body
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, path, body, **options):
        return self.ask("POST", path, body, **options)

    def idle(self):
        """Wait until nothing of any request is held; it would never end if something were kept."""
        end = time.monotonic() + 20
        while self.service.bodies_held or self.service.asking.waiting:
            assert time.monotonic() < end, "something of a request is kept"
            time.sleep(0.01)

    def load(self, name):
        """Load a model again, as the protocol's door does."""
        loop = self.server.loop
        return asyncio.run_coroutine_threadsafe(self.service.registry.load(name), loop).result(timeout=30)

    def raw(self, data, timeout=30, close=False):
        """What comes back for bytes sent as they are, until the service closes or answers once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(data)
            if close:
                sock.shutdown(socket.SHUT_WR)
            got = b""
            while b"\r\n\r\n" not in got:
                part = sock.recv(65536)
                if not part:
                    break
                got += part
            return got


@contextlib.contextmanager
def running(models, limits=None, *, rpc=False, **options):
    """A service of bundles, until the end of the block."""
    from gatework.server import Limits, Settings, make_service
    from gatework.server.run import make_server, start_rpc, tidied

    limits = limits or Limits()
    service = make_service([str(model) for model in models], limits, **options)
    settings = Settings(drain=5, grpc_port=0 if rpc else None)
    server = make_server(service, limits, settings)
    ports = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    listening.setblocking(False)
    port = listening.getsockname()[1]

    async def main():
        server.loop = asyncio.get_running_loop()
        made, port = await start_rpc(service, settings)
        ports.append(port or 0)
        async with tidied(service):
            await server.serve(sockets=[listening])
        if made is not None:
            await made.stop(5)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield Running(service, server, port, ports[0])
    finally:
        server.stop()
        thread.join(timeout=30)
        service.close()
        listening.close()
        assert not thread.is_alive()
