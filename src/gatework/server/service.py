"""The service as an ASGI application: who may ask, what is asked, and what becomes of a failure.

What is asked most, `predict` and the protocol's `infer`, goes straight from here to the model, and what can be answered
at once not even through ASGI (see `connection`); Starlette routes the rest. Every failure ends in
`{"error": sentence}` with a status, and touches no other request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router, WebSocketRoute

from gatework.server.asking import Asking
from gatework.server.gate import Gate
from gatework.server.limits import Limits
from gatework.server.meters import CONTENT_TYPE, Meters
from gatework.server.openapi import description
from gatework.server.page import Page
from gatework.server.refusal import Refusal, refusal_of
from gatework.server.registry import Registry, Served
from gatework.server.requests import JSON, Bodies, Head, Headers, Receive, Scope, Send, drop_rest, head_of, parsed
from gatework.server.requests import send_bytes as answer
from gatework.server.requests import send_json as answer_json
from gatework.server.requests import send_refusal as refuse
from gatework.server.sequences import Sequences
from gatework.server.sockets import Sockets
from gatework.server.v1 import V1, predict, predict_now
from gatework.server.v2 import V2, infer, infer_now

log = logging.getLogger("gatework.server")

_NO_MODEL: tuple[Served | None, bool] = (None, False)
OPEN = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
"""Paths that need no token: whoever balances the load has none."""


def make_service(
    models: Sequence[str],
    limits: Limits | None = None,
    *,
    tokens: tuple[str, ...] = (),
    workers: int = 2,
    folder: Path | None = None,
    local: bool = True,
) -> Service:
    """A service of bundles, each `path` or `name=path`, loaded already.

    Args:
        tokens: bearer tokens of which a request needs one; none for no check.
        workers: threads that run models.
        folder: bundles in it may be loaded by name later.
        local: it will listen on this machine's own address alone.
    Raises: ConfigError, BundleError.
    """
    service = Service(limits or Limits(), Gate(tokens, local=local), workers=workers, folder=folder)
    service.registry.open_all(models)
    return service


class Service:
    """An ASGI application. `draining` makes it unready, and ends its streams; requests are still answered."""

    def __init__(self, limits: Limits, gate: Gate, *, workers: int, folder: Path | None) -> None:
        self.limits, self.gate, self.meters = limits, gate, Meters()
        self.registry = Registry(limits, self.meters, workers=workers, folder=folder)
        self.asking = Asking(self.registry, limits, self.meters)
        self.sequences = Sequences(self.asking, limits, self.meters)
        self.draining = False
        self._bodies = Bodies(limits)
        page = Page()
        self._open = frozenset((*OPEN, *page.paths))
        v1, sockets = V1(self.registry, self.asking), Sockets(self)
        name = "/v1/models/{name:path}"
        self._routes = Router(
            [
                *page.routes(),
                Route("/health/live", self._live),
                Route("/health/ready", self._ready),
                Route("/metrics", self._metrics),
                Route("/openapi.json", self._openapi),
                Route("/v1/models", v1.models),
                *(
                    Route(f"{name}/{what}", getattr(v1, what), methods=["POST"])
                    for what in ("generate", "score", "fill", "rewrite", "explain")
                ),
                Route(f"{name}/predict", self._predict, methods=["POST"]),
                WebSocketRoute(f"{name}/stream", sockets.stream),
                Route(name, v1.model),
                WebSocketRoute("/{path:path}", sockets.nowhere),
                *V2(self.registry, self.asking, self.sequences, lambda: not self.draining).routes(),
            ],
            redirect_slashes=False,
        )

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count bytes of a request while it is answered. Raises Refusal 503: there are too many."""
        self._bodies.hold(size)
        try:
            yield
        finally:
            self._bodies.free(size)

    @property
    def bodies_held(self) -> int:
        """Bytes of requests in memory."""
        return self._bodies.held

    @property
    def routes(self) -> Sequence[Any]:
        """What Starlette routes."""
        found: Sequence[Any] = self._routes.routes
        return found

    def quick(self, target: bytes) -> tuple[Served, bool] | None:
        """The model that a request's target asks to predict, and whether by the protocol, told by the bytes of the
        target."""
        return self.registry.quick.get(target.decode("latin-1"))

    def answer_now(
        self, asked: tuple[Served, bool], headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> tuple[bytes, Headers] | None:
        """The answer to a request for `predict` or for the protocol's `infer`, where it can be given without waiting
        for anything: its body and headers.

        None for all others, also for those that are to be refused: they have to be asked again as ASGI has it.
        """
        start, (served, protocol) = time.perf_counter(), asked
        try:
            head = head_of(headers)
            self.gate.check(head)
            if head.encoding or len(body) > self.limits.body_bytes or not self._bodies.fits(len(body)):
                return None
            found = (infer_now if protocol else predict_now)(self.limits, served, head, body)
        except Exception:
            return None
        if found is not None:
            self.meters.answered(served.name, "v2" if protocol else "v1", 200, time.perf_counter() - start)
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._routes(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, path, size = time.perf_counter(), scope["path"], 0
        served, protocol = self.registry.quick.get(path, _NO_MODEL) if scope["method"] == "POST" else _NO_MODEL
        status, texts, unread = 200, 0, False
        try:
            head = head_of(scope["headers"])
            if path not in self._open:
                self.gate.check(head)
            body = await self._bodies.read(receive, head)
            size, start = len(body), time.perf_counter()
            if served is None:
                status = await self._route(scope, head, body, receive, send)
            elif protocol:
                await answer(send, *await infer(self.asking, self.sequences, served, head, body))
            else:
                found, texts = await predict(self.asking, served, parsed(body))
                await answer_json(send, found)
        except Exception as error:
            refusal = _refusal(error, scope)
            status = refusal.status
            if status == 500:
                self.log_failure(scope["method"], path)
            unread = refusal.unread
            await refuse(send, refusal)
        except asyncio.CancelledError:
            if not self.draining:
                raise
            status = 503  # the time to end has passed; what is half answered is left so
            with suppress(RuntimeError):
                await refuse(send, Refusal(status, "The service has stopped."))
        finally:
            self._bodies.free(size)
        seconds = time.perf_counter() - start
        if served is not None and not protocol:
            served.tally.add(texts, seconds, failed=status != 200)
        self.meters.answered(served.name if served is not None else "", _door(path), status, seconds)
        if unread:
            await drop_rest(receive, send)

    async def _route(self, scope: Scope, head: Head, body: bytes, receive: Receive, send: Send) -> int:
        """Let Starlette find the handler; its status. The body, which is read, goes along in the scope's state."""
        status = 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        state = {**scope.get("state", {}), "head": head, "body": body, "json": partial(parsed, body)}
        # With an `app` in the scope, routing tells of its own failures by HTTPException.
        await self._routes({**scope, "state": state, "app": self}, receive, watched)
        return status

    def close(self) -> None:
        """Let go of the threads."""
        self.registry.close()

    def log_failure(self, method: str, path: str) -> None:
        """Write the exception that is being handled into the log."""
        log.exception("%s %s failed", method, path[:200])

    async def _live(self, request: Request) -> Response:
        return Response(b'{"live":true}', media_type="application/json")

    async def _ready(self, request: Request) -> Response:
        ready = not self.draining
        return Response(b'{"ready":%s}' % (b"true" if ready else b"false"), 200 if ready else 503, None, JSON.decode())

    async def _metrics(self, request: Request) -> Response:
        return Response(self.meters.text(), media_type=CONTENT_TYPE.decode())

    async def _openapi(self, request: Request) -> Response:
        return Response(description(self.limits), media_type="application/json")

    async def _predict(self, request: Request) -> Response:
        """A model that is not there; the others are answered before any routing."""
        self.registry.get(request.path_params["name"])
        raise Refusal(404, "no such path")


def _refusal(error: Exception, scope: Scope) -> Refusal:
    if isinstance(error, HTTPException):
        allow = (error.headers or {}).get("Allow", "")
        return Refusal(error.status_code, f"{error.detail}: {scope['method']} {scope['path'][:200]}", allow=allow)
    return refusal_of(error)


def _door(path: str) -> str:
    return path[1:3] if path[:4] in ("/v1/", "/v2/") else "other"
